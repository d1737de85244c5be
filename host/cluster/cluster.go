// Package cluster says who may use whom. A cluster is a key: who holds a membership that the
// key signed, or that one of its admins signed, is inside.
//
// It is data and signatures: it knows no network and reads no clock. What it must
// remember lies in one folder of the repo, in small files that people can read.
//
// A Cluster is what one repo knows: which cluster it belongs to, its own credential, the
// members and the revocations that it has seen, and the invitations that it has made.
package cluster

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/ipfs-liftoff/liftoff/job"
)

// Cluster is a repo's view of the cluster it belongs to, if any. Its methods may be called
// from several goroutines; what they change is on disk when they return.
type Cluster struct {
	dir  string
	self ed25519.PrivateKey // the repo's
	me   job.DID

	changing sync.Mutex // held while something changes and is written; who has it reads without mu

	mu      sync.RWMutex       // never held while anything is written or verified: all look here who a peer is
	id      job.DID            // "": none
	key     ed25519.PrivateKey // the cluster's; nil: held elsewhere
	own     shown
	roster  roster
	invites map[string]invite // by hashOf the secret
}

// Durations of the cluster.
const (
	MembershipLife = job.MaxMembershipLife * time.Millisecond
	// RenewBefore is how long before its end a membership may be renewed.
	RenewBefore = 30 * 24 * time.Hour
	// DefaultInvitation is how long an invitation is open.
	DefaultInvitation = 24 * time.Hour
)

const maxInvites = 1024

// Member is a row of the roster.
type Member struct {
	DID     job.DID   `json:"did"`
	Role    job.Role  `json:"role"`
	Issuer  job.DID   `json:"issuer"`
	Issued  time.Time `json:"issued"`
	Expires time.Time `json:"expires"`
	Why     string    `json:"why,omitempty"` // it is no member any more; "": it is one
}

// ID returns the cluster's did:key, "" for a repo that belongs to none.
func (f *Cluster) ID() job.DID {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.id
}

// Own returns the repo's credential; the zero Credential if it has none.
func (f *Cluster) Own() Credential {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.own.Credential
}

// Init makes a new cluster, whose key stays in this repo, and the repo its first admin.
// A repo belongs to at most one.
func (f *Cluster) Init(now time.Time) error {
	f.changing.Lock()
	defer f.changing.Unlock()
	if f.id != "" {
		return fmt.Errorf("this repo belongs to the cluster %s already", f.id)
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return fmt.Errorf("make a cluster: %w", err)
	}
	if err := f.keepKey(key); err != nil {
		return err
	}
	return f.change(func(s *state) error {
		s.key, s.id = key, didOf(key)
		s.roster = newRoster(s.id)
		return s.issueOwn(now)
	})
}

// issueOwn gives the holder of the cluster's key a membership as its admin.
func (s *state) issueOwn(now time.Time) error {
	c, err := s.issue(s.me, job.RoleAdmin, now)
	if err != nil {
		return err
	}
	s.own, s.roster.members[s.me] = c, c
	return nil
}

// issue signs a membership, by the cluster's key if it is here, else by this repo's.
func (s *state) issue(member job.DID, role job.Role, now time.Time) (shown, error) {
	issued := now.UnixMilli()
	for k, n := range s.roster.notices {
		if k.member == member {
			issued = max(issued, n.Issued+1) // whoever revoked it may have had another clock
		}
	}
	m := job.Membership{
		Cluster: s.id, Member: member, Role: role,
		Issued: issued, Expires: issued + job.MaxMembershipLife,
	}
	key := s.key
	if key == nil {
		key = s.self
	}
	b, err := m.Sign(key)
	if err != nil {
		return shown{}, err
	}
	c := Credential{Membership: b}
	if s.key == nil {
		c.Delegation = s.own.Membership
	}
	got, err := s.roster.check(c, now)
	if err != nil {
		return shown{}, fmt.Errorf("issue a membership: %w", err)
	}
	return got, nil
}

// admin reports why this repo cannot issue anything.
func (s *state) admin(now time.Time) error {
	if s.id == "" {
		return ErrNoCluster
	}
	if s.key != nil {
		return nil
	}
	if err := s.roster.holds(s.own, now); err != nil {
		return fmt.Errorf("this repo is no member of the cluster: %w", err)
	}
	if s.own.m.Role != job.RoleAdmin {
		return errors.New("this repo is no admin of the cluster: `liftoff cluster ls` says who is")
	}
	return nil
}

// Check returns the role of who was admitted before, at now. The error says why it is no
// member.
func (f *Cluster) Check(d job.DID, now time.Time) (job.Role, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.id == "" {
		return "", ErrNoCluster
	}
	s, ok := f.roster.members[d]
	if d == f.me {
		s, ok = f.own, true
	}
	if !ok {
		return "", fmt.Errorf("%s has not shown a membership", d)
	}
	if err := f.roster.holds(s, now); err != nil {
		return "", err
	}
	return s.m.Role, nil
}

// Admit checks the credential that d shows and remembers it.
func (f *Cluster) Admit(d job.DID, c Credential, now time.Time) (job.Role, error) {
	f.mu.RLock()
	id := f.id
	known, ok := f.roster.members[d]
	same := ok && known.Equal(c) && f.roster.holds(known, now) == nil
	f.mu.RUnlock()
	switch {
	case id == "":
		return "", ErrNoCluster
	case same:
		return known.m.Role, nil
	}
	got, err := c.read(id)
	if err != nil {
		return "", err
	}
	if got.m.Member != d {
		return "", fmt.Errorf("%s shows the membership of %s", d, got.m.Member)
	}
	f.changing.Lock()
	defer f.changing.Unlock()
	if f.id != id {
		return "", ErrNoCluster
	}
	if err := f.roster.holds(got, now); err != nil {
		return "", err
	}
	old, ok := f.roster.members[d]
	if ok && old.m.Expires >= got.m.Expires && f.roster.holds(old, now) == nil {
		return got.m.Role, nil
	}
	return got.m.Role, f.change(func(s *state) error { return s.remember(got, now) })
}

// remember keeps a member, in place of one that is none any more if there are many.
func (s *state) remember(c shown, now time.Time) error {
	old, ok := s.roster.members[c.m.Member]
	if c.by == "" {
		c.by = old.by
	}
	if !ok && len(s.roster.members) >= maxMembers {
		maps.DeleteFunc(s.roster.members, func(_ job.DID, old shown) bool { return s.roster.holds(old, now) != nil })
		if len(s.roster.members) >= maxMembers {
			return fmt.Errorf("the cluster has %d members, at most %d", len(s.roster.members), maxMembers)
		}
	}
	s.roster.members[c.m.Member] = c
	return nil
}

// Credential returns what d showed, if it holds at now.
func (f *Cluster) Credential(d job.DID, now time.Time) (Credential, bool) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	s, ok := f.roster.members[d]
	return s.Credential, ok && f.roster.holds(s, now) == nil
}

// Members returns who was seen, by DID, with those that are no members any more.
func (f *Cluster) Members(now time.Time) []Member {
	f.mu.RLock()
	defer f.mu.RUnlock()
	all := make([]Member, 0, len(f.roster.members))
	for _, d := range slices.Sorted(maps.Keys(f.roster.members)) {
		s := f.roster.members[d]
		row := Member{
			DID: d, Role: s.m.Role, Issuer: s.m.Issuer,
			Issued: time.UnixMilli(s.m.Issued).UTC(), Expires: time.UnixMilli(s.m.Expires).UTC(),
		}
		if err := f.roster.holds(s, now); err != nil {
			row.Why = err.Error()
		}
		all = append(all, row)
	}
	return all
}

// Adopt makes c this repo's credential: it joins the cluster, or its membership is renewed.
func (f *Cluster) Adopt(id job.DID, c Credential, now time.Time) error {
	f.changing.Lock()
	defer f.changing.Unlock()
	if f.id != "" && f.id != id {
		return fmt.Errorf("this repo belongs to the cluster %s already", f.id)
	}
	r := f.roster
	if f.id == "" {
		r = newRoster(id)
	}
	own, err := r.check(c, now)
	if err == nil && own.m.Member != f.me {
		err = fmt.Errorf("a membership of %s", own.m.Member)
	}
	if err != nil {
		return fmt.Errorf("join the cluster: %w", err)
	}
	if f.id == "" {
		if err := f.forgetKey(); err != nil {
			return fmt.Errorf("join the cluster: %w", err)
		}
	}
	return f.change(func(s *state) error {
		s.id, s.roster, s.own = id, r.clone(), own
		s.roster.members[s.me] = own
		return nil
	})
}

// Leave forgets the cluster: membership, members, invitations. The repo that holds the
// cluster's key cannot.
func (f *Cluster) Leave() error {
	f.changing.Lock()
	defer f.changing.Unlock()
	if f.key != nil {
		return errors.New("this repo holds the key of the cluster: without it nobody could renew its admins")
	}
	return f.change(func(s *state) error {
		s.id, s.own, s.roster, s.invites = "", shown{}, newRoster(""), map[string]invite{}
		return nil
	})
}

func didOf(key ed25519.PrivateKey) job.DID { return job.DIDOf(key.Public().(ed25519.PublicKey)) }
