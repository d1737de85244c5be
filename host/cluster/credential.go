package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/ipfs-liftoff/liftoff/job"
)

// Credential is what a member presents: the envelope of its job.Membership, and, if an admin issued it, the envelope
// of the admin's own membership.
type Credential struct {
	Membership []byte
	Delegation []byte // empty if the cluster's key issued Membership
}

// Equal reports whether c and d are the same bytes.
func (c Credential) Equal(d Credential) bool {
	return bytes.Equal(c.Membership, d.Membership) && bytes.Equal(c.Delegation, d.Delegation)
}

// Skew is the tolerated difference of two machines' clocks.
const Skew = 5 * time.Minute

// verified is a credential with valid signatures.
type verified struct {
	Credential
	m job.Membership
	d job.Membership // the delegation; zero if the cluster's key issued m
	// invitation is the one of this repo that the member used, as the hash of its secret; "": the member joined
	// another way.
	invitation string
}

// read checks the signatures and each issuer's authority, by c alone. It checks neither expiry nor revocations.
func (c Credential) read(cluster job.DID) (verified, error) {
	m, err := job.DecodeMembership(c.Membership)
	if err != nil {
		return verified{}, err
	}
	if m.Cluster != cluster {
		return verified{}, fmt.Errorf("membership: issued for another cluster, %s", m.Cluster)
	}
	if m.Issuer == cluster {
		if len(c.Delegation) > 0 {
			return verified{}, errors.New("membership: issued with the cluster's key, but has a delegation")
		}
		return verified{Credential: c, m: m}, nil
	}
	d, err := readDelegation(c.Delegation, cluster, m.Issuer, m.Issued)
	return verified{Credential: c, m: m, d: d}, err
}

// readDelegation checks that issuer was an admin of cluster at the time at, in ms.
func readDelegation(b []byte, cluster, issuer job.DID, at int64) (job.Membership, error) {
	if len(b) == 0 {
		return job.Membership{}, fmt.Errorf("delegation: missing for the issuer %s", issuer)
	}
	d, err := job.DecodeMembership(b)
	if err != nil {
		return d, fmt.Errorf("decode delegation: %w", err)
	}
	switch {
	case d.Cluster != cluster || d.Issuer != cluster || d.Role != job.RoleAdmin || d.Member != issuer:
		return d, fmt.Errorf("delegation: does not make %s an admin of the cluster", issuer)
	case at < d.Issued-Skew.Milliseconds() || at > d.Expires:
		return d, fmt.Errorf("delegation: issuer %s was not an admin at the time of issue", issuer)
	}
	return d, nil
}

// checkTime returns an error if m is not valid at now.
func checkTime(m job.Membership, now time.Time) error {
	switch ms := now.UnixMilli(); {
	case ms < m.Issued-Skew.Milliseconds():
		return errors.New("membership was issued in the future: check the clocks of both machines")
	case ms > m.Expires:
		return fmt.Errorf("membership expired at %s", time.UnixMilli(m.Expires).UTC().Format(time.RFC3339))
	}
	return nil
}
