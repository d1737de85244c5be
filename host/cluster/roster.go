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

// Notice is a revocation as it travels: the envelope of a job.Revocation, and, if an
// admin issued it, the envelope of the admin's membership.
type Notice struct {
	Revocation []byte
	Delegation []byte // empty if the cluster's key issued Revocation
}

// Bounds of what is remembered of others, so that no admin can fill a disk.
const (
	maxMembers   = 4096
	maxNotices   = 1024
	maxPerIssuer = 512
)

// revocationLife is how long a revocation is kept: then every membership that it can have
// ended has expired. One of the cluster's key may be of an admin, whose delegation lasts as
// long as a membership, and so does what the admin's key signs on its last day.
func revocationLife(v job.Revocation) time.Duration {
	if v.Issuer == v.Cluster {
		return 2*(MembershipLife+Skew) + Skew
	}
	return MembershipLife + 2*Skew
}

// roster is the members and revocations of one cluster that were seen. What it comes to
// does not depend on the order in which they were seen.
type roster struct {
	cluster job.DID
	members map[job.DID]shown
	notices map[noticeKey]notice
	ended   map[job.DID]ended // what the notices come to, of each member: index makes it
}

type noticeKey struct{ member, issuer job.DID }

// ended is until when the memberships of somebody have ended, in ms; -1: they have not.
type ended struct {
	byCluster   int64
	byAnyIssuer int64 // by the cluster's key or an admin
}

// notice is one whose signatures were checked.
type notice struct {
	Notice
	job.Revocation
	d job.Membership // the delegation; zero if the cluster's key issued it
}

func newRoster(cluster job.DID) roster {
	return roster{cluster: cluster, members: map[job.DID]shown{}, notices: map[noticeKey]notice{}}
}

// index makes ended of the notices: it is looked at for every stream and every block.
func (r *roster) index() {
	all := make(map[job.DID]ended, len(r.notices))
	for k, n := range r.notices {
		e, ok := all[k.member]
		if !ok {
			e = ended{-1, -1}
		}
		e.byAnyIssuer = max(e.byAnyIssuer, n.Issued)
		if k.issuer == r.cluster {
			e.byCluster = n.Issued
		}
		all[k.member] = e
	}
	r.ended = all
}

// check returns what c proves at now. Its member is not compared with anybody.
func (r *roster) check(c Credential, now time.Time) (shown, error) {
	s, err := c.read(r.cluster)
	if err == nil {
		err = r.holds(s, now)
	}
	return s, err
}

// holds reports why s proves nothing at now.
func (r *roster) holds(s shown, now time.Time) error {
	if err := current(s.m, now); err != nil {
		return err
	}
	if err := r.revoked(s.m); err != nil {
		return err
	}
	if s.m.Issuer != r.cluster {
		if err := r.revoked(s.d); err != nil {
			return fmt.Errorf("who issued the membership: %w", err)
		}
	}
	return nil
}

// ErrRevoked says that a member was sent away.
var ErrRevoked = errors.New("the membership was revoked")

// revoked reports whether m was.
func (r *roster) revoked(m job.Membership) error {
	e, ok := r.ended[m.Member]
	if !ok || e.byAnyIssuer < m.Issued {
		return nil
	}
	if m.Role == job.RoleAdmin && e.byCluster < m.Issued {
		return nil // only the cluster's key revokes an admin
	}
	return ErrRevoked
}

// read checks what n is by itself: its signature, and that its issuer may.
func (n Notice) read(cluster job.DID) (notice, error) {
	v, err := job.DecodeRevocation(n.Revocation)
	switch {
	case err != nil:
		return notice{}, err
	case v.Cluster != cluster:
		return notice{}, fmt.Errorf("a revocation of another cluster, %s", v.Cluster)
	case v.Issuer == cluster && len(n.Delegation) > 0:
		return notice{}, errors.New("revocation: a delegation that nothing needs")
	case v.Issuer == cluster:
		return notice{Notice: n, Revocation: v}, nil
	}
	d, err := readDelegation(n.Delegation, cluster, v.Issuer, v.Issued)
	if err != nil {
		return notice{}, fmt.Errorf("revocation: %w", err)
	}
	return notice{n, v, d}, nil
}

// news reports whether n says more than what its issuer has said of the member so far: it
// has the larger number or, if an issuer gave one twice, the larger bytes, so that all come
// to the same.
func (r *roster) isNews(n notice) bool {
	old, ok := r.notices[noticeKey{n.Member, n.Issuer}]
	return !ok || cmp.Or(cmp.Compare(n.Seq, old.Seq), bytes.Compare(n.Notice.Revocation, old.Notice.Revocation)) > 0
}

// add takes a notice in and reports whether it says anything new. One whose work is done
// is no error.
func (r *roster) add(n notice, now time.Time) (bool, error) {
	switch {
	case n.Issued > now.Add(Skew).UnixMilli():
		return false, errors.New("a revocation from the future: is the clock right?")
	case expired(n.Revocation, now), !r.isNews(n):
		return false, nil
	}
	if n.Issuer != r.cluster {
		if err := r.revoked(n.d); err != nil {
			return false, fmt.Errorf("revocation: %w", err)
		}
	}
	r.expire(now)
	k := noticeKey{n.Member, n.Issuer}
	if err := r.room(k); err != nil {
		return false, err
	}
	r.notices[k] = n
	r.index()
	r.purge()
	r.index()
	return true, nil
}

func (r *roster) room(k noticeKey) error {
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
		return fmt.Errorf("revocation: %s issued too many", k.issuer)
	}
	return nil
}

// purge drops what admins said that are none any more.
func (r *roster) purge() {
	maps.DeleteFunc(r.notices, func(k noticeKey, n notice) bool {
		return k.issuer != r.cluster && r.revoked(n.d) != nil
	})
}

// expire drops what holds no more.
func (r *roster) expire(now time.Time) {
	maps.DeleteFunc(r.notices, func(_ noticeKey, n notice) bool { return expired(n.Revocation, now) })
}

func expired(v job.Revocation, now time.Time) bool {
	return now.Sub(time.UnixMilli(v.Issued)) > revocationLife(v)
}

// sorted returns the notices in an order that depends on nothing but them.
func (r *roster) sorted() []notice {
	return slices.SortedFunc(maps.Values(r.notices), func(a, b notice) int {
		return cmp.Or(cmp.Compare(a.Member, b.Member), cmp.Compare(a.Issuer, b.Issuer), bytes.Compare(a.Notice.Revocation, b.Notice.Revocation))
	})
}

// digest is equal for equal notices.
func (r *roster) digest() [32]byte {
	h := sha256.New()
	for _, n := range r.sorted() {
		h.Write([]byte(job.CIDOf(n.Notice.Revocation).KeyString()))
	}
	return [32]byte(h.Sum(nil))
}
