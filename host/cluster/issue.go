package cluster

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/ipfs-liftoff/liftoff/job"
)

// Invitation configures an invitation.
type Invitation struct {
	Role    job.Role      // "": RoleMember; RoleAdmin needs the cluster's key
	Uses    int           // number of nodes that may join with it; 0: one
	Expires time.Duration // from now; 0: DefaultInvitation
}

// invite is an invitation that this repo has issued.
type invite struct {
	Role    job.Role  `json:"role"`
	Uses    int       `json:"uses"` // remaining
	Expires time.Time `json:"expires"`
}

// ErrInvitation is the error for a secret that is not valid: unknown, used up, or expired. The error does not reveal
// which.
var ErrInvitation = errors.New("invitation is unknown, used up or expired")

const maxUses = 10_000

// Invite creates an invitation and returns its secret; only a hash of the secret is stored.
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
		return secret, fmt.Errorf("invitation: want 1 to %d uses and a lifetime of at most %s", maxUses, MembershipLife)
	}
	f.writeMu.Lock()
	defer f.writeMu.Unlock()
	if secret, err = newSecret(); err != nil {
		return secret, fmt.Errorf("create invitation: %w", err)
	}
	err = f.change(func(s *state) error {
		if err := s.checkAdmin(now); err != nil {
			return err
		}
		if i.Role == job.RoleAdmin && s.key == nil {
			return errors.New("only the repo with the cluster's key can invite an admin")
		}
		maps.DeleteFunc(s.invites, func(_ string, i invite) bool { return now.After(i.Expires) })
		if len(s.invites) >= maxInvites {
			return fmt.Errorf("create invitation: %d invitations are neither used up nor expired, want at most %d", len(s.invites), maxInvites)
		}
		s.invites[hashOf(secret)] = invite{i.Role, i.Uses, now.Add(i.Expires).UTC()}
		return nil
	})
	return secret, err
}

// Redeem issues a credential to member for a secret. The use of the secret is on disk before Redeem returns. A member
// that has used the secret before gets the same credential again, as the answer may have been lost. The error is
// ErrInvitation for any secret that is not valid.
func (f *Cluster) Redeem(secret [16]byte, member job.DID, now time.Time) (c Credential, err error) {
	f.writeMu.Lock()
	defer f.writeMu.Unlock()
	h := hashOf(secret)
	if old, ok := f.roster.members[member]; ok && old.invitation == h && f.roster.checkValid(old, now) == nil {
		return old.Credential, nil
	}
	i, ok := f.invites[h]
	if !ok || now.After(i.Expires) {
		return c, ErrInvitation
	}
	err = f.change(func(s *state) error {
		if err := s.checkAdmin(now); err != nil {
			return err
		}
		got, err := s.issue(member, i.Role, now)
		if err != nil {
			return err
		}
		c, got.invitation = got.Credential, h
		if i.Uses--; i.Uses > 0 {
			s.invites[h] = i
		} else {
			delete(s.invites, h)
		}
		return s.storeMember(got, now)
	})
	return c, err
}

// Due reports whether this repo's membership ends within RenewBefore.
func (f *Cluster) Due(now time.Time) bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.id != "" && now.Add(RenewBefore).UnixMilli() >= f.own.m.Expires
}

// Renew issues a new membership of the same role to a member whose membership ends within RenewBefore. Only the
// cluster's key renews admins. The repo with the cluster's key renews itself.
func (f *Cluster) Renew(member job.DID, now time.Time) (c Credential, err error) {
	f.writeMu.Lock()
	defer f.writeMu.Unlock()
	old, ok := f.roster.members[member]
	if !ok {
		return c, fmt.Errorf("%s is not a member", member)
	}
	err = f.change(func(s *state) error {
		if err := s.checkAdmin(now); err != nil {
			return err
		}
		err := s.roster.checkValid(old, now)
		switch m := old.m; {
		case err != nil && (member != s.did || s.key == nil || errors.Is(err, ErrRevoked)):
			return err
		case now.Add(RenewBefore).UnixMilli() < m.Expires:
			return fmt.Errorf("membership lasts until %s: renew it in its last 30 days", time.UnixMilli(m.Expires).UTC().Format(time.DateOnly))
		case m.Role == job.RoleAdmin && s.key == nil:
			return errors.New("only the repo with the cluster's key can renew an admin")
		case member == s.did && s.key == nil:
			return errors.New("an admin cannot renew its own membership")
		}
		got, err := s.issue(member, old.m.Role, now)
		if err != nil {
			return err
		}
		c = got.Credential
		if member == s.did {
			s.own = got
		}
		return s.storeMember(got, now)
	})
	return c, err
}

// Revoke ends the membership of a member, and those that it issued if it is an admin. It returns the revocations to
// send to other members. A revoked member can be invited again, but not with the invitation that it used: that
// invitation is closed, because a removed member knows its secret.
func (f *Cluster) Revoke(member job.DID, now time.Time) (all []Notice, err error) {
	if _, err := member.Key(); err != nil {
		return nil, err
	}
	f.writeMu.Lock()
	defer f.writeMu.Unlock()
	err = f.change(func(s *state) error {
		if err := s.checkAdmin(now); err != nil {
			return err
		}
		if member == s.did {
			return errors.New("an admin cannot revoke its own membership")
		}
		admin := s.roster.members[member].m.Role == job.RoleAdmin
		if admin && s.key == nil {
			return errors.New("only the repo with the cluster's key can revoke an admin")
		}
		// The clock of the membership's issuer may have been ahead.
		until := map[job.DID]int64{member: max(now.UnixMilli(), s.roster.members[member].m.Issued)}
		for k, n := range s.roster.notices {
			if admin && k.issuer == member {
				// The revocations by a revoked admin become void, so they are issued again by the cluster's key. They
				// end no more than before: a member that was invited again later stays a member.
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
			v.Issued = max(v.Issued, n.Issued) // the new revocation replaces it
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

// applyNotice adds a revocation, and closes the invitation that the member used.
func (s *state) applyNotice(n verifiedNotice, now time.Time) (fresh bool, err error) {
	if fresh, err = s.roster.add(n, now); fresh {
		delete(s.invites, s.roster.members[n.Member].invitation)
	}
	return fresh, err
}

// errUnchanged keeps change from writing a roster that is on disk already.
var errUnchanged = errors.New("roster needs no change")

// ApplyNotices adds revocations that a peer has sent. It reports whether any of them is new and should be sent on;
// the error says why some of them are not valid.
func (f *Cluster) ApplyNotices(all []Notice, now time.Time) (fresh bool, err error) {
	id := f.ID()
	if id == "" {
		return false, ErrNoCluster
	}
	var errs []error
	read := make([]verifiedNotice, 0, len(all))
	for _, n := range all { // without the lock: signature checks are slow
		if v, err := n.read(id); err != nil {
			errs = append(errs, err)
		} else {
			read = append(read, v)
		}
	}
	f.writeMu.Lock()
	defer f.writeMu.Unlock()
	if f.id != id {
		return false, ErrNoCluster
	}
	read = slices.DeleteFunc(read, func(n verifiedNotice) bool { return !f.roster.isNews(n) })
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

// Notices returns the valid revocations, and a digest that is equal for equal sets.
func (f *Cluster) Notices() ([]Notice, [32]byte) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	all := make([]Notice, 0, len(f.roster.notices))
	for _, n := range f.roster.sorted() {
		all = append(all, n.Notice)
	}
	return all, f.roster.digest()
}
