// Package fence says who may use whom. A fence is a key: who holds a membership that the
// key signed, or that one of its admins signed, is inside.
//
// It is data and signatures: it knows no network and reads no clock. What it must
// remember lies in one folder of the repo, in small files that people can read.
//
// A Fence is what one repo knows: which fence it belongs to, its own credential, the
// members and the revocations that it has seen, and the invitations that it has made.
package fence

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

// Fence is a repo's view of the fence it belongs to, if any. Its methods may be called
// from several goroutines; what they change is on disk when they return.
type Fence struct {
	dir  string
	self ed25519.PrivateKey // the repo's
	me   job.DID

	changing sync.Mutex // held while something changes and is written; who has it reads without mu

	mu      sync.RWMutex       // never held while anything is written or verified: all look here who a peer is
	id      job.DID            // "": none
	key     ed25519.PrivateKey // the fence's; nil: held elsewhere
	own     shown
	roster  roster
	invites map[string]invite // by hashOf the secret
}

// Durations of the fence.
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

// ID returns the fence's did:key, "" for a repo that belongs to none.
func (f *Fence) ID() job.DID {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.id
}

// Own returns the repo's credential; the zero Credential if it has none.
func (f *Fence) Own() Credential {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.own.Credential
}

// Init makes a new fence, whose key stays in this repo, and the repo its first admin.
// A repo belongs to at most one.
func (f *Fence) Init(now time.Time) error {
	f.changing.Lock()
	defer f.changing.Unlock()
	if f.id != "" {
		return fmt.Errorf("this repo belongs to the fence %s already", f.id)
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return fmt.Errorf("make a fence: %w", err)
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

// issueOwn gives the holder of the fence's key a membership as its admin.
func (s *state) issueOwn(now time.Time) error {
	c, err := s.issue(s.me, job.RoleAdmin, now)
	if err != nil {
		return err
	}
	s.own, s.roster.members[s.me] = c, c
	return nil
}

// issue signs a membership, by the fence's key if it is here, else by this repo's.
func (s *state) issue(member job.DID, role job.Role, now time.Time) (shown, error) {
	issued := now.UnixMilli()
	for k, n := range s.roster.notices {
		if k.member == member {
			issued = max(issued, n.Issued+1) // whoever revoked it may have had another clock
		}
	}
	m := job.Membership{
		Fence: s.id, Member: member, Role: role,
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
		return ErrNoFence
	}
	if s.key != nil {
		return nil
	}
	if err := s.roster.holds(s.own, now); err != nil {
		return fmt.Errorf("this repo is no member of the fence: %w", err)
	}
	if s.own.m.Role != job.RoleAdmin {
		return errors.New("this repo is no admin of the fence: `liftoff fence ls` says who is")
	}
	return nil
}

// Check returns the role of who was admitted before, at now. The error says why it is no
// member.
func (f *Fence) Check(d job.DID, now time.Time) (job.Role, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.id == "" {
		return "", ErrNoFence
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
func (f *Fence) Admit(d job.DID, c Credential, now time.Time) (job.Role, error) {
	f.mu.RLock()
	id := f.id
	known, ok := f.roster.members[d]
	same := ok && known.Equal(c) && f.roster.holds(known, now) == nil
	f.mu.RUnlock()
	switch {
	case id == "":
		return "", ErrNoFence
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
		return "", ErrNoFence
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
			return fmt.Errorf("the fence has %d members, at most %d", len(s.roster.members), maxMembers)
		}
	}
	s.roster.members[c.m.Member] = c
	return nil
}

// Credential returns what d showed, if it holds at now.
func (f *Fence) Credential(d job.DID, now time.Time) (Credential, bool) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	s, ok := f.roster.members[d]
	return s.Credential, ok && f.roster.holds(s, now) == nil
}

// Members returns who was seen, by DID, with those that are no members any more.
func (f *Fence) Members(now time.Time) []Member {
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

// Adopt makes c this repo's credential: it joins the fence, or its membership is renewed.
func (f *Fence) Adopt(id job.DID, c Credential, now time.Time) error {
	f.changing.Lock()
	defer f.changing.Unlock()
	if f.id != "" && f.id != id {
		return fmt.Errorf("this repo belongs to the fence %s already", f.id)
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
		return fmt.Errorf("join the fence: %w", err)
	}
	if f.id == "" {
		if err := f.forgetKey(); err != nil {
			return fmt.Errorf("join the fence: %w", err)
		}
	}
	return f.change(func(s *state) error {
		s.id, s.roster, s.own = id, r.clone(), own
		s.roster.members[s.me] = own
		return nil
	})
}

// Leave forgets the fence: membership, members, invitations. The repo that holds the
// fence's key cannot.
func (f *Fence) Leave() error {
	f.changing.Lock()
	defer f.changing.Unlock()
	if f.key != nil {
		return errors.New("this repo holds the key of the fence: without it nobody could renew its admins")
	}
	return f.change(func(s *state) error {
		s.id, s.own, s.roster, s.invites = "", shown{}, newRoster(""), map[string]invite{}
		return nil
	})
}

func didOf(key ed25519.PrivateKey) job.DID { return job.DIDOf(key.Public().(ed25519.PublicKey)) }
