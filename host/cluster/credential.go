package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/ipfs-liftoff/liftoff/job"
)

// Credential is what a member shows: the envelope of its job.Membership, and, if an
// admin issued that, the envelope of the admin's own.
type Credential struct {
	Membership []byte
	Delegation []byte // empty if the cluster's key issued Membership
}

// Equal reports whether c and d are the same bytes.
func (c Credential) Equal(d Credential) bool {
	return bytes.Equal(c.Membership, d.Membership) && bytes.Equal(c.Delegation, d.Delegation)
}

// Clocks of two machines may differ by Skew.
const Skew = 5 * time.Minute

// shown is a credential whose signatures were checked.
type shown struct {
	Credential
	m job.Membership
	d job.Membership // the delegation; zero if the cluster's key issued m
	// by is the invitation of this repo's that the member came by, by the hash of its
	// secret; "": another way.
	by string
}

// read checks the signatures and that each issuer may, by what is in c alone: neither
// whether it has expired nor what was revoked.
func (c Credential) read(cluster job.DID) (shown, error) {
	m, err := job.DecodeMembership(c.Membership)
	if err != nil {
		return shown{}, err
	}
	if m.Cluster != cluster {
		return shown{}, fmt.Errorf("a membership of another cluster, %s", m.Cluster)
	}
	if m.Issuer == cluster {
		if len(c.Delegation) > 0 {
			return shown{}, errors.New("a delegation that nothing needs")
		}
		return shown{Credential: c, m: m}, nil
	}
	d, err := readDelegation(c.Delegation, cluster, m.Issuer, m.Issued)
	return shown{Credential: c, m: m, d: d}, err
}

// readDelegation checks that issuer was an admin of cluster at the time at, in ms.
func readDelegation(b []byte, cluster, issuer job.DID, at int64) (job.Membership, error) {
	if len(b) == 0 {
		return job.Membership{}, fmt.Errorf("%s is not shown to be an admin", issuer)
	}
	d, err := job.DecodeMembership(b)
	if err != nil {
		return d, fmt.Errorf("delegation: %w", err)
	}
	switch {
	case d.Cluster != cluster || d.Issuer != cluster || d.Role != job.RoleAdmin || d.Member != issuer:
		return d, fmt.Errorf("%s is not shown to be an admin of the cluster", issuer)
	case at < d.Issued-Skew.Milliseconds() || at > d.Expires:
		return d, fmt.Errorf("%s was no admin then", issuer)
	}
	return d, nil
}

// current reports why m does not hold at now.
func current(m job.Membership, now time.Time) error {
	switch ms := now.UnixMilli(); {
	case ms < m.Issued-Skew.Milliseconds():
		return errors.New("the membership begins in the future: is the clock right?")
	case ms > m.Expires:
		return fmt.Errorf("the membership expired at %s", time.UnixMilli(m.Expires).UTC().Format(time.RFC3339))
	}
	return nil
}
