package cluster

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/ipfs-liftoff/liftoff/job"
)

// Notice is a revocation on the wire: the envelope of a job.Revocation, and, if an admin issued it, the envelope of
// the admin's membership.
type Notice struct {
	Revocation []byte
	Delegation []byte // empty if the cluster's key issued Revocation
}

// Limits of the roster, so that no admin can fill a disk.
const (
	maxMembers   = 4096
	maxNotices   = 1024
	maxPerIssuer = 512
)

// revocationLife is how long a revocation is kept: after that every membership that it can have ended has expired. A
// revocation by the cluster's key may be of an admin. The admin's delegation lasts as long as a membership, and a
// membership that it signs on its last day lasts as long again.
func revocationLife(v job.Revocation) time.Duration {
	if v.Issuer == v.Cluster {
		return 2*(MembershipLife+Skew) + Skew
	}
	return MembershipLife + 2*Skew
}

// roster is the known members and revocations of one cluster. Its content does not depend on the order in which they
// arrived.
type roster struct {
	cluster job.DID
	members map[job.DID]verified
	notices map[noticeKey]verifiedNotice
	cutoffs map[job.DID]cutoff // the effect of the notices on each member; index computes it
}

type noticeKey struct{ member, issuer job.DID }

// cutoff is the issue time, in ms, up to which memberships of one member are revoked; -1: none are.
type cutoff struct {
	byCluster   int64
	byAnyIssuer int64 // by the cluster's key or an admin
}

// verifiedNotice is a Notice with valid signatures.
type verifiedNotice struct {
	Notice
	job.Revocation
	d job.Membership // the delegation; zero if the cluster's key issued the notice
}

func newRoster(cluster job.DID) roster {
	return roster{cluster: cluster, members: map[job.DID]verified{}, notices: map[noticeKey]verifiedNotice{}}
}

// index computes cutoffs from the notices: it is read for every stream and every block.
func (r *roster) index() {
	all := make(map[job.DID]cutoff, len(r.notices))
	for k, n := range r.notices {
		e, ok := all[k.member]
		if !ok {
			e = cutoff{-1, -1}
		}
		e.byAnyIssuer = max(e.byAnyIssuer, n.Issued)
		if k.issuer == r.cluster {
			e.byCluster = n.Issued
		}
		all[k.member] = e
	}
	r.cutoffs = all
}

// check returns the content of c if it is valid at now. The caller compares the member.
func (r *roster) check(c Credential, now time.Time) (verified, error) {
	s, err := c.read(r.cluster)
	if err == nil {
		err = r.checkValid(s, now)
	}
	return s, err
}

// checkValid returns an error if s is not valid at now.
func (r *roster) checkValid(s verified, now time.Time) error {
	if err := checkTime(s.m, now); err != nil {
		return err
	}
	if err := r.revoked(s.m); err != nil {
		return err
	}
	if s.m.Issuer != r.cluster {
		if err := r.revoked(s.d); err != nil {
			return fmt.Errorf("admin that issued the membership: %w", err)
		}
	}
	return nil
}

// ErrRevoked reports that a membership was revoked.
var ErrRevoked = errors.New("membership was revoked")

// revoked returns ErrRevoked if m was revoked.
func (r *roster) revoked(m job.Membership) error {
	e, ok := r.cutoffs[m.Member]
	if !ok || e.byAnyIssuer < m.Issued {
		return nil
	}
	if m.Role == job.RoleAdmin && e.byCluster < m.Issued {
		return nil // only the cluster's key revokes an admin
	}
	return ErrRevoked
}

// read checks n by itself: its signature, and its issuer's authority.
func (n Notice) read(cluster job.DID) (verifiedNotice, error) {
	v, err := job.DecodeRevocation(n.Revocation)
	switch {
	case err != nil:
		return verifiedNotice{}, err
	case v.Cluster != cluster:
		return verifiedNotice{}, fmt.Errorf("revocation: issued for another cluster, %s", v.Cluster)
	case v.Issuer == cluster && len(n.Delegation) > 0:
		return verifiedNotice{}, errors.New("revocation: issued with the cluster's key, but has a delegation")
	case v.Issuer == cluster:
		return verifiedNotice{Notice: n, Revocation: v}, nil
	}
	d, err := readDelegation(n.Delegation, cluster, v.Issuer, v.Issued)
	if err != nil {
		return verifiedNotice{}, fmt.Errorf("read revocation: %w", err)
	}
	return verifiedNotice{n, v, d}, nil
}

// isNews reports whether n replaces its issuer's last notice on the member. The larger sequence number wins. If an
// issuer used a number twice, the larger bytes win, so that all rosters converge.
func (r *roster) isNews(n verifiedNotice) bool {
	old, ok := r.notices[noticeKey{n.Member, n.Issuer}]
	return !ok || cmp.Or(cmp.Compare(n.Seq, old.Seq), bytes.Compare(n.Notice.Revocation, old.Notice.Revocation)) > 0
}

// add adds a notice and reports whether it is new. An expired notice is not an error.
func (r *roster) add(n verifiedNotice, now time.Time) (bool, error) {
	switch {
	case n.Issued > now.Add(Skew).UnixMilli():
		return false, errors.New("revocation: issued in the future: check the clocks of both machines")
	case expired(n.Revocation, now), !r.isNews(n):
		return false, nil
	}
	if n.Issuer != r.cluster {
		if err := r.revoked(n.d); err != nil {
			return false, fmt.Errorf("admin that issued the revocation: %w", err)
		}
	}
	r.expire(now)
	k := noticeKey{n.Member, n.Issuer}
	if err := r.checkLimit(k); err != nil {
		return false, err
	}
	r.notices[k] = n
	r.index()
	r.purge()
	r.index()
	return true, nil
}

func (r *roster) checkLimit(k noticeKey) error {
	if _, ok := r.notices[k]; ok || k.issuer == r.cluster {
		return nil
	}
	of := 0
	for o := range r.notices {
		if o.issuer == k.issuer {
			of++
		}
	}
	if len(r.notices) >= maxNotices || of >= maxPerIssuer {
		return fmt.Errorf("store revocation: too many revocations by %s or in all", k.issuer)
	}
	return nil
}

// purge removes the notices of former admins.
func (r *roster) purge() {
	maps.DeleteFunc(r.notices, func(k noticeKey, n verifiedNotice) bool {
		return k.issuer != r.cluster && r.revoked(n.d) != nil
	})
}

// expire removes expired notices.
func (r *roster) expire(now time.Time) {
	maps.DeleteFunc(r.notices, func(_ noticeKey, n verifiedNotice) bool { return expired(n.Revocation, now) })
}

func expired(v job.Revocation, now time.Time) bool {
	return now.Sub(time.UnixMilli(v.Issued)) > revocationLife(v)
}

// sorted returns the notices in an order that depends only on the notices.
func (r *roster) sorted() []verifiedNotice {
	return slices.SortedFunc(maps.Values(r.notices), func(a, b verifiedNotice) int {
		return cmp.Or(cmp.Compare(a.Member, b.Member), cmp.Compare(a.Issuer, b.Issuer), bytes.Compare(a.Notice.Revocation, b.Notice.Revocation))
	})
}

// digest returns a hash that is equal for equal sets of notices.
func (r *roster) digest() [32]byte {
	h := sha256.New()
	for _, n := range r.sorted() {
		h.Write([]byte(job.CIDOf(n.Notice.Revocation).KeyString()))
	}
	return [32]byte(h.Sum(nil))
}
