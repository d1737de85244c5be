// Package cluster decides which nodes are members of a cluster. A cluster is a key: a node is a member if it holds a
// membership signed by that key or by one of the cluster's admins.
//
// The package is data and signatures: it uses no network and reads no clock. Its state is in one folder of the repo,
// in small text files.
//
// A Cluster is the state of one repo: the cluster that it belongs to, its own credential, the members and revocations
// that it has received, and the invitations that it has issued.
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

// Cluster is a repo's state of the cluster that it belongs to, if any. Its methods may be called concurrently; their
// changes are on disk when they return.
type Cluster struct {
	dir  string
	self ed25519.PrivateKey // the repo's key
	did  job.DID

	writeMu sync.Mutex // held while a change is computed and written; its holder reads without mu

	mu      sync.RWMutex       // never held during a write or a signature check: every stream's authorization reads below it
	id      job.DID            // "": no cluster
	key     ed25519.PrivateKey // the cluster's key; nil: another repo holds it
	own     verified
	roster  roster
	invites map[string]invite // by hashOf of the secret
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

// Member is an entry of the roster.
type Member struct {
	DID     job.DID   `json:"did"`
	Role    job.Role  `json:"role"`
	Issuer  job.DID   `json:"issuer"`
	Issued  time.Time `json:"issued"`
	Expires time.Time `json:"expires"`
	Why     string    `json:"why,omitempty"` // why it is not a member any more; "": it is one
}

// ID returns the cluster's did:key, "" for a repo without a cluster.
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

// Init creates a new cluster. The cluster's key stays in this repo, which becomes the first admin. A repo belongs to
// at most one cluster.
func (f *Cluster) Init(now time.Time) error {
	f.writeMu.Lock()
	defer f.writeMu.Unlock()
	if f.id != "" {
		return fmt.Errorf("this repo already belongs to the cluster %s; use a new repo (LIFTOFF_PATH) for another one", f.id)
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return fmt.Errorf("create cluster: %w", err)
	}
	if err := f.writeKey(key); err != nil {
		return err
	}
	return f.change(func(s *state) error {
		s.key, s.id = key, didOf(key)
		s.roster = newRoster(s.id)
		return s.issueOwn(now)
	})
}

// issueOwn issues an admin membership to the holder of the cluster's key.
func (s *state) issueOwn(now time.Time) error {
	c, err := s.issue(s.did, job.RoleAdmin, now)
	if err != nil {
		return err
	}
	s.own, s.roster.members[s.did] = c, c
	return nil
}

// issue signs a membership with the cluster's key if it is here, otherwise with this repo's key.
func (s *state) issue(member job.DID, role job.Role, now time.Time) (verified, error) {
	issued := now.UnixMilli()
	for k, n := range s.roster.notices {
		if k.member == member {
			issued = max(issued, n.Issued+1) // the clock of the revocation's issuer may be ahead
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
		return verified{}, err
	}
	c := Credential{Membership: b}
	if s.key == nil {
		c.Delegation = s.own.Membership
	}
	got, err := s.roster.check(c, now)
	if err != nil {
		return verified{}, fmt.Errorf("issue membership to %s: %w", m.Member, err)
	}
	return got, nil
}

// CheckAdmin returns an error if this repo may not issue memberships and revocations at now.
func (f *Cluster) CheckAdmin(now time.Time) error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	s := state{f.self, f.key, f.did, f.id, f.own, f.roster, f.invites}
	return s.checkAdmin(now)
}

// checkAdmin returns an error if this repo may not issue memberships and revocations.
func (s *state) checkAdmin(now time.Time) error {
	if s.id == "" {
		return ErrNoCluster
	}
	if s.key != nil {
		return nil
	}
	if err := s.roster.checkValid(s.own, now); err != nil {
		return fmt.Errorf("this repo's membership is not valid: %w", err)
	}
	if s.own.m.Role != job.RoleAdmin {
		return errors.New("this repo is not an admin of the cluster: list the admins with `liftoff cluster ls`")
	}
	return nil
}

// Check returns the role at now of a member that was admitted before. The error says why d is not a member.
func (f *Cluster) Check(d job.DID, now time.Time) (job.Role, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.id == "" {
		return "", ErrNoCluster
	}
	s, ok := f.roster.members[d]
	if d == f.did {
		s, ok = f.own, true
	}
	if !ok {
		return "", fmt.Errorf("%s has not presented a membership to this node", d)
	}
	if err := f.roster.checkValid(s, now); err != nil {
		return "", err
	}
	return s.m.Role, nil
}

// Admit checks the credential that d presents and stores it.
func (f *Cluster) Admit(d job.DID, c Credential, now time.Time) (job.Role, error) {
	f.mu.RLock()
	id := f.id
	known, ok := f.roster.members[d]
	same := ok && known.Equal(c) && f.roster.checkValid(known, now) == nil
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
		return "", fmt.Errorf("%s presented the membership of another key, %s", d, got.m.Member)
	}
	f.writeMu.Lock()
	defer f.writeMu.Unlock()
	if f.id != id {
		return "", ErrNoCluster
	}
	if err := f.roster.checkValid(got, now); err != nil {
		return "", err
	}
	old, ok := f.roster.members[d]
	if ok && old.m.Expires >= got.m.Expires && f.roster.checkValid(old, now) == nil {
		return got.m.Role, nil
	}
	return got.m.Role, f.change(func(s *state) error { return s.storeMember(got, now) })
}

// storeMember stores a member. When the roster is full, it first removes former members.
func (s *state) storeMember(c verified, now time.Time) error {
	old, ok := s.roster.members[c.m.Member]
	if c.invitation == "" {
		c.invitation = old.invitation
	}
	if !ok && len(s.roster.members) >= maxMembers {
		maps.DeleteFunc(s.roster.members, func(_ job.DID, old verified) bool { return s.roster.checkValid(old, now) != nil })
		if len(s.roster.members) >= maxMembers {
			return fmt.Errorf("roster: cluster has %d members already, want at most %d", len(s.roster.members), maxMembers)
		}
	}
	s.roster.members[c.m.Member] = c
	return nil
}

// Credential returns the stored credential of d, and whether it is valid at now.
func (f *Cluster) Credential(d job.DID, now time.Time) (Credential, bool) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	s, ok := f.roster.members[d]
	return s.Credential, ok && f.roster.checkValid(s, now) == nil
}

// Members returns the known members, sorted by DID, including former members.
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
		if err := f.roster.checkValid(s, now); err != nil {
			row.Why = err.Error()
		}
		all = append(all, row)
	}
	return all
}

// Adopt makes c this repo's credential: the repo joins the cluster, or its membership is renewed.
func (f *Cluster) Adopt(id job.DID, c Credential, now time.Time) error {
	f.writeMu.Lock()
	defer f.writeMu.Unlock()
	if f.id != "" && f.id != id {
		return fmt.Errorf("this repo already belongs to the cluster %s; use a new repo (LIFTOFF_PATH) for another one", f.id)
	}
	r := f.roster
	if f.id == "" {
		r = newRoster(id)
	}
	own, err := r.check(c, now)
	if err == nil && own.m.Member != f.did {
		err = fmt.Errorf("got the membership of another key, %s", own.m.Member)
	}
	if err != nil {
		return fmt.Errorf("new membership: %w", err)
	}
	if f.id == "" {
		if err := f.deleteKey(); err != nil {
			return fmt.Errorf("delete key of an earlier cluster: %w", err)
		}
	}
	return f.change(func(s *state) error {
		s.id, s.roster, s.own = id, r.clone(), own
		s.roster.members[s.did] = own
		return nil
	})
}

// Leave deletes the state of the cluster: membership, members, invitations. It is an error in the repo that holds the
// cluster's key.
func (f *Cluster) Leave() error {
	f.writeMu.Lock()
	defer f.writeMu.Unlock()
	if f.key != nil {
		return errors.New("cannot leave the cluster: this repo holds its key, which is needed to renew its admins")
	}
	return f.change(func(s *state) error {
		s.id, s.own, s.roster, s.invites = "", verified{}, newRoster(""), map[string]invite{}
		return nil
	})
}

func didOf(key ed25519.PrivateKey) job.DID { return job.DIDOf(key.Public().(ed25519.PublicKey)) }
