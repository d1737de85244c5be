package cluster

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/ipfs-liftoff/liftoff/job"
)

// Invitation says whom a token lets in.
type Invitation struct {
	Role    job.Role      // "": RoleMember; RoleAdmin needs the cluster's key
	Uses    int           // how many may join by it; 0: one
	Expires time.Duration // from now; 0: DefaultInvitation
}

// invite is an invitation that was made here.
type invite struct {
	Role    job.Role  `json:"role"`
	Uses    int       `json:"uses"` // left
	Expires time.Time `json:"expires"`
}

// ErrInvitation says that a secret opens nothing: it was never given out, was used up,
// or came too late. Which of them is not told.
var ErrInvitation = errors.New("the invitation is unknown, used up or expired")

const maxUses = 10_000

// Invite makes an invitation and returns its secret, of which only a hash is kept.
func (f *Cluster) Invite(i Invitation, now time.Time) (secret [16]byte, err error) {
	if i.Role == "" {
		i.Role = job.RoleMember
	}
	if i.Uses == 0 {
		i.Uses = 1
	}
	if i.Expires == 0 {
		i.Expires = DefaultInvitation
	}
	if i.Uses < 0 || i.Uses > maxUses || i.Expires < 0 || i.Expires > MembershipLife {
		return secret, fmt.Errorf("an invitation has 1 to %d uses and lasts at most %s", maxUses, MembershipLife)
	}
	f.changing.Lock()
	defer f.changing.Unlock()
	if secret, err = newSecret(); err != nil {
		return secret, fmt.Errorf("make an invitation: %w", err)
	}
	err = f.change(func(s *state) error {
		if err := s.admin(now); err != nil {
			return err
		}
		if i.Role == job.RoleAdmin && s.key == nil {
			return errors.New("only the repo that holds the cluster's key can invite an admin")
		}
		maps.DeleteFunc(s.invites, func(_ string, i invite) bool { return now.After(i.Expires) })
		if len(s.invites) >= maxInvites {
			return fmt.Errorf("%d invitations are open, at most %d", len(s.invites), maxInvites)
		}
		s.invites[hashOf(secret)] = invite{i.Role, i.Uses, now.Add(i.Expires).UTC()}
		return nil
	})
	return secret, err
}

// Redeem gives member a credential for a secret, whose use is on disk before it returns. Who
// has used it gets the same credential again, as the answer may have been lost.
// The error is ErrInvitation for any secret that opens nothing.
func (f *Cluster) Redeem(secret [16]byte, member job.DID, now time.Time) (c Credential, err error) {
	f.changing.Lock()
	defer f.changing.Unlock()
	h := hashOf(secret)
	if old, ok := f.roster.members[member]; ok && old.by == h && f.roster.holds(old, now) == nil {
		return old.Credential, nil
	}
	i, ok := f.invites[h]
	if !ok || now.After(i.Expires) {
		return c, ErrInvitation
	}
	err = f.change(func(s *state) error {
		if err := s.admin(now); err != nil {
			return err
		}
		got, err := s.issue(member, i.Role, now)
		if err != nil {
			return err
		}
		c, got.by = got.Credential, h
		if i.Uses--; i.Uses > 0 {
			s.invites[h] = i
		} else {
			delete(s.invites, h)
		}
		return s.remember(got, now)
	})
	return c, err
}

// Due reports whether this repo's membership ends within RenewBefore.
func (f *Cluster) Due(now time.Time) bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.id != "" && now.Add(RenewBefore).UnixMilli() >= f.own.m.Expires
}

// Renew gives a member whose membership ends within RenewBefore a new one of the same
// role. Admins are renewed by the cluster's key alone. The repo that holds the cluster's key
// renews itself by it.
func (f *Cluster) Renew(member job.DID, now time.Time) (c Credential, err error) {
	f.changing.Lock()
	defer f.changing.Unlock()
	old, ok := f.roster.members[member]
	if !ok {
		return c, fmt.Errorf("%s is no member", member)
	}
	err = f.change(func(s *state) error {
		if err := s.admin(now); err != nil {
			return err
		}
		err := s.roster.holds(old, now)
		switch m := old.m; {
		case err != nil && (member != s.me || s.key == nil || errors.Is(err, ErrRevoked)):
			return err
		case now.Add(RenewBefore).UnixMilli() < m.Expires:
			return fmt.Errorf("the membership lasts until %s: renew it in its last 30 days", time.UnixMilli(m.Expires).UTC().Format(time.DateOnly))
		case m.Role == job.RoleAdmin && s.key == nil:
			return errors.New("only the repo that holds the cluster's key renews an admin")
		case member == s.me && s.key == nil:
			return errors.New("another admin renews this one")
		}
		got, err := s.issue(member, old.m.Role, now)
		if err != nil {
			return err
		}
		c = got.Credential
		if member == s.me {
			s.own = got
		}
		return s.remember(got, now)
	})
	return c, err
}

// Revoke ends the membership of a member, and, of an admin, those that it issued. It
// returns what is to be told to the others. Who was revoked can be invited again, but not
// by the invitation that it came by: that lets nobody in any more, as its secret is known
// to somebody who was sent away.
func (f *Cluster) Revoke(member job.DID, now time.Time) (all []Notice, err error) {
	if _, err := member.Key(); err != nil {
		return nil, err
	}
	f.changing.Lock()
	defer f.changing.Unlock()
	err = f.change(func(s *state) error {
		if err := s.admin(now); err != nil {
			return err
		}
		if member == s.me {
			return errors.New("an admin does not revoke itself")
		}
		admin := s.roster.members[member].m.Role == job.RoleAdmin
		if admin && s.key == nil {
			return errors.New("only the repo that holds the cluster's key revokes an admin")
		}
		// Whoever issued the membership may have had a clock that was ahead.
		until := map[job.DID]int64{member: max(now.UnixMilli(), s.roster.members[member].m.Issued)}
		for k, n := range s.roster.notices {
			if admin && k.issuer == member {
				// What a revoked admin has revoked would be void: it stays, in the cluster's name,
				// and ends no more than it did: who was invited again since is a member.
				until[k.member] = max(until[k.member], n.Issued)
			}
		}
		for d, issued := range until {
			n, err := s.revoke(d, issued, now)
			if err != nil {
				return err
			}
			all = append(all, n)
		}
		return nil
	})
	return all, err
}

// revoke ends the memberships of member that were issued up to a time, in ms.
func (s *state) revoke(member job.DID, issued int64, now time.Time) (Notice, error) {
	key, delegation := s.key, []byte(nil)
	if key == nil {
		key, delegation = s.self, s.own.Membership
	}
	v := job.Revocation{Cluster: s.id, Member: member, Seq: uint64(now.UnixMilli()), Issued: issued}
	for _, n := range s.roster.notices {
		if n.Issuer != didOf(key) {
			continue
		}
		v.Seq = max(v.Seq, n.Seq+1)
		if n.Member == member {
			v.Issued = max(v.Issued, n.Issued) // this one takes its place
		}
	}
	b, err := v.Sign(key)
	if err != nil {
		return Notice{}, err
	}
	n, err := Notice{b, delegation}.read(s.id)
	if err == nil {
		_, err = s.applyNotice(n, now)
	}
	return n.Notice, err
}

// heed takes in a revocation, and ends the invitation that the member came by.
func (s *state) applyNotice(n notice, now time.Time) (fresh bool, err error) {
	if fresh, err = s.roster.add(n, now); fresh {
		delete(s.invites, s.roster.members[n.Member].by)
	}
	return fresh, err
}

// errNoNews keeps change from writing what is on disk already.
var errUnchanged = errors.New("nothing new")

// Heed takes in revocations that a peer passed on. It reports whether they say anything
// new, and so are to be passed on; the error says why some of them do not hold.
func (f *Cluster) ApplyNotices(all []Notice, now time.Time) (fresh bool, err error) {
	id := f.ID()
	if id == "" {
		return false, ErrNoCluster
	}
	var errs []error
	read := make([]notice, 0, len(all))
	for _, n := range all { // without the lock: signatures take time
		if v, err := n.read(id); err != nil {
			errs = append(errs, err)
		} else {
			read = append(read, v)
		}
	}
	f.changing.Lock()
	defer f.changing.Unlock()
	if f.id != id {
		return false, ErrNoCluster
	}
	read = slices.DeleteFunc(read, func(n notice) bool { return !f.roster.isNews(n) })
	if len(read) == 0 {
		return false, errors.Join(errs...)
	}
	err = f.change(func(s *state) error { // one write for all
		for _, n := range read {
			news, err := s.applyNotice(n, now)
			fresh = fresh || news
			errs = append(errs, err)
		}
		if !fresh {
			return errUnchanged
		}
		return nil
	})
	if err == errUnchanged {
		err = nil
	}
	return fresh && err == nil, errors.Join(append(errs, err)...)
}

// Notices returns the revocations that hold, and a digest that is equal for equal ones.
func (f *Cluster) Notices() ([]Notice, [32]byte) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	all := make([]Notice, 0, len(f.roster.notices))
	for _, n := range f.roster.sorted() {
		all = append(all, n.Notice)
	}
	return all, f.roster.digest()
}
