package cluster

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ipfs-liftoff/liftoff/job"
)

func TestInviteAndAdmit(t *testing.T) {
	f, m, other := founder(t), repo(t, 2), repo(t, 3)
	if role, err := f.Check(f.did, start); role != job.RoleAdmin || err != nil {
		t.Errorf("founder: got role %q, %v", role, err)
	}
	if err := f.Init(start); err == nil {
		t.Error("Init created a second cluster")
	}
	join(t, m, f, "", start)
	join(t, other, f, "", start)
	if _, err := m.Check(other.did, start); err == nil {
		t.Error("member is known before it presented a membership")
	}
	if role, err := m.Admit(other.did, other.Own(), start); role != job.RoleMember || err != nil {
		t.Errorf("%q, %v", role, err)
	}
	if role, err := m.Check(other.did, start); role != job.RoleMember || err != nil {
		t.Errorf("%q, %v", role, err)
	}
	for name, c := range map[string]Credential{
		"another member's":   f.Own(),
		"none":               {},
		"garbage":            {Membership: []byte("x")},
		"with a delegation":  {Membership: other.Own().Membership, Delegation: f.Own().Membership},
		"one byte changed":   {Membership: append(bytes.Clone(other.Own().Membership[:100]), append([]byte{0}, other.Own().Membership[101:]...)...)},
		"of another cluster": foreign(t, other.did),
		"signed by itself":   self(t, f.id, other),
	} {
		if _, err := m.Admit(other.did, c, start); err == nil {
			t.Errorf("%s: admitted", name)
		}
	}
	for _, late := range []time.Time{start.Add(MembershipLife + time.Second), start.Add(-Skew - time.Second)} {
		if _, err := m.Check(other.did, late); err == nil {
			t.Errorf("still a member at %s", late)
		}
	}
	if _, err := m.Invite(Invitation{}, start); err == nil {
		t.Error("a member can invite")
	}
	if _, err := repo(t, 9).Invite(Invitation{}, start); !errors.Is(err, ErrNoCluster) {
		t.Errorf("without a cluster: %v", err)
	}
	if err := repo(t, 9).Adopt(f.id, m.Own(), start); err == nil {
		t.Error("the membership of another repo was adopted")
	}
}

func TestInvitationsEnd(t *testing.T) {
	f := founder(t)
	secret, err := f.Invite(Invitation{Uses: 2, Expires: time.Hour}, start)
	if err != nil {
		t.Fatal(err)
	}
	reopened, err := Open(f.dir, f.self)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []error{nil, nil, ErrInvitation} {
		if _, err := reopened.Redeem(secret, didOf(keyOf(byte(10+i))), start); !errors.Is(err, want) {
			t.Errorf("use %d: %v", i, err)
		}
	}
	// A kill after the last use restores none.
	if reopened, err = Open(f.dir, f.self); err != nil {
		t.Fatal(err)
	}
	if _, err := reopened.Redeem(secret, didOf(keyOf(13)), start); !errors.Is(err, ErrInvitation) {
		t.Errorf("after a restart: %v", err)
	}
	if secret, err = f.Invite(Invitation{Expires: time.Hour}, start); err != nil {
		t.Fatal(err)
	}
	wrong := secret
	wrong[15] ^= 1
	if _, err := f.Redeem(wrong, didOf(keyOf(14)), start); !errors.Is(err, ErrInvitation) {
		t.Errorf("a wrong secret: %v", err)
	}
	if _, err := f.Redeem(secret, didOf(keyOf(14)), start.Add(2*time.Hour)); !errors.Is(err, ErrInvitation) {
		t.Errorf("too late: %v", err)
	}
	b, err := os.ReadFile(filepath.Join(f.dir, rosterFile))
	if err != nil || bytes.Contains(b, secret[:]) {
		t.Errorf("secret is on disk, %v", err)
	}
	for _, i := range []Invitation{{Uses: -1}, {Uses: maxUses + 1}, {Expires: -1}, {Expires: MembershipLife + 1}, {Role: "root"}} {
		secret, err := f.Invite(i, start)
		if err == nil {
			_, err = f.Redeem(secret, didOf(keyOf(15)), start)
		}
		if err == nil {
			t.Errorf("%+v: created", i)
		}
	}
}

func TestAdmins(t *testing.T) {
	f, admin, m := founder(t), repo(t, 2), repo(t, 3)
	join(t, admin, f, job.RoleAdmin, start)
	if _, err := admin.Invite(Invitation{Role: job.RoleAdmin}, start); err == nil {
		t.Error("an admin can invite an admin")
	}
	join(t, m, admin, "", start)
	if len(m.Own().Delegation) == 0 {
		t.Error("membership without a delegation")
	}
	if role, err := f.Admit(m.did, m.Own(), start); role != job.RoleMember || err != nil {
		t.Errorf("%q, %v", role, err)
	}
	without := m.Own()
	without.Delegation = nil
	if _, err := repoIn(t, 5, f).Admit(m.did, without, start); err == nil {
		t.Error("admitted without the delegation")
	}
	if _, err := admin.Revoke(f.did, start); err == nil {
		admin.Admit(f.did, f.Own(), start)
		if _, err := admin.Revoke(f.did, start); err == nil {
			t.Error("an admin can revoke the founder")
		}
	}
	exchange(f, admin, start)
	if _, err := f.Check(f.did, start); err != nil {
		t.Errorf("founder is not a member any more: %v", err)
	}
	// Revoking an admin ends the memberships that it issued.
	if _, err := f.Revoke(admin.did, start.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	for _, d := range []job.DID{admin.did, m.did} {
		if _, err := f.Check(d, start.Add(time.Minute)); !errors.Is(err, ErrRevoked) {
			t.Errorf("%s: %v", d, err)
		}
	}
	exchange(f, admin, start.Add(time.Minute))
	if _, err := admin.Invite(Invitation{}, start.Add(time.Minute)); err == nil {
		t.Error("a revoked admin can invite")
	}
}

func TestRenew(t *testing.T) {
	f := founder(t)
	m := repoIn(t, 2, f)
	if m.Due(start) {
		t.Error("due on the first day")
	}
	if _, err := f.Renew(m.did, start.Add(24*time.Hour)); err == nil {
		t.Error("renewed on the second day")
	}
	soon := start.Add(MembershipLife - RenewBefore + time.Hour)
	if !m.Due(soon) {
		t.Error("not due in the last thirty days")
	}
	c, err := f.Renew(m.did, soon)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Adopt(f.id, c, soon); err != nil {
		t.Fatal(err)
	}
	if m.Due(soon) {
		t.Error("due after it was renewed")
	}
	late := soon.Add(MembershipLife + time.Hour)
	if _, err := f.Renew(m.did, late); err == nil {
		t.Error("renewed after its end")
	}
	// The repo with the cluster's key renews itself after expiry.
	if _, err := f.Renew(f.did, late); err != nil {
		t.Error(err)
	}
	if _, err := f.Check(f.did, late); err != nil {
		t.Error(err)
	}
	// An admin renews a member, but not itself.
	admin, n := repo(t, 4), repo(t, 5)
	join(t, admin, f, job.RoleAdmin, late)
	join(t, n, f, "", late)
	exchange(admin, n, late)
	soon = late.Add(MembershipLife - RenewBefore + time.Hour)
	if _, err := admin.Renew(n.did, soon); err != nil {
		t.Error(err)
	}
	if _, err := admin.Renew(admin.did, soon); err == nil {
		t.Error("an admin can renew itself")
	}
	if _, err := f.Revoke(n.did, soon); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Renew(n.did, soon); err == nil {
		t.Error("a revoked member was renewed")
	}
}

func TestLeave(t *testing.T) {
	f := founder(t)
	m := repoIn(t, 2, f)
	if err := m.Leave(); err != nil || m.ID() != "" {
		t.Errorf("%s, %v", m.ID(), err)
	}
	again, err := Open(m.dir, m.self)
	if err != nil || again.ID() != "" {
		t.Errorf("%s, %v", again.ID(), err)
	}
	join(t, again, f, "", start)
	if err := f.Leave(); err == nil {
		t.Error("the repo with the cluster's key can leave")
	}
}
