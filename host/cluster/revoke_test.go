package cluster

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ipfs-liftoff/liftoff/job"
)

// TestRevokedAdminStaysAway lets a revoked admin keep signing, with the dates that its delegation allows, until
// nothing that it can sign is valid any more.
func TestRevokedAdminStaysAway(t *testing.T) {
	f, admin := founder(t), repo(t, 2)
	join(t, admin, f, job.RoleAdmin, start)
	if _, err := f.Revoke(admin.did, start.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	spy := didOf(keyOf(66))
	const day = 24 * time.Hour
	for age := time.Duration(0); age <= 200*day; age += 10 * day {
		now := start.Add(age)
		if _, err := f.Revoke(didOf(keyOf(67)), now); err != nil { // removes expired notices
			t.Fatal(err)
		}
		for issued := time.Duration(0); issued <= min(age, MembershipLife); issued += day {
			from := start.Add(issued).UnixMilli()
			m := job.Membership{Cluster: f.id, Member: spy, Role: job.RoleMember, Issued: from, Expires: from + job.MaxMembershipLife}
			b, err := m.Sign(admin.self)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.Admit(spy, Credential{b, admin.Own().Membership}, now); err == nil {
				t.Fatalf("after %s: a membership that the revoked admin dated to day %d is valid", age, issued/day)
			}
		}
	}
}

// TestRevokeAhead revokes a member that an admin with a clock ahead has admitted.
func TestRevokeAhead(t *testing.T) {
	f, admin, m := founder(t), repo(t, 2), repo(t, 3)
	join(t, admin, f, job.RoleAdmin, start)
	join(t, m, admin, "", start.Add(Skew-time.Second))
	if _, err := f.Admit(m.did, m.Own(), start); err != nil {
		t.Fatal(err)
	}
	notices, err := f.Revoke(m.did, start.Add(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Check(m.did, start.Add(time.Second)); !errors.Is(err, ErrRevoked) {
		t.Errorf("still a member: %v", err)
	}
	admin.ApplyNotices(notices, start.Add(time.Second))
	if _, err := admin.Check(m.did, start.Add(time.Second)); !errors.Is(err, ErrRevoked) {
		t.Errorf("still a member at another repo: %v", err)
	}
	// The same with a revocation, an invitation and a revocation within a millisecond.
	now := start.Add(time.Hour)
	x := repo(t, 4)
	for range 3 {
		join(t, x, f, "", now)
		if _, err := f.Check(x.did, now); err != nil {
			t.Error(err)
		}
		if _, err := f.Revoke(x.did, now); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Check(x.did, now); !errors.Is(err, ErrRevoked) {
			t.Errorf("revoked, invited, revoked: %v", err)
		}
	}
}

// TestInheritedRevocations revokes an admin that has revoked two members: one stays revoked; the other was invited
// again since, and stays a member.
func TestInheritedRevocations(t *testing.T) {
	f, admin, away, back := founder(t), repo(t, 2), repo(t, 3), repo(t, 4)
	join(t, admin, f, job.RoleAdmin, start)
	at := func(minutes time.Duration) time.Time { return start.Add(minutes * time.Minute) }
	for _, m := range []*Cluster{away, back} {
		join(t, m, f, "", start)
		if _, err := admin.Revoke(m.did, at(1)); err != nil {
			t.Fatal(err)
		}
	}
	exchange(f, admin, at(2))
	join(t, back, f, "", at(3))
	if _, err := f.Revoke(admin.did, at(4)); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Check(back.did, at(5)); err != nil {
		t.Errorf("the member that was invited again: %v", err)
	}
	if _, err := f.Check(away.did, at(5)); !errors.Is(err, ErrRevoked) {
		t.Errorf("the member that was not invited again: %v", err)
	}
}

// TestInvitationOfTheRevoked revokes one of several members that used the same invitation, here or at another repo:
// it cannot rejoin with its own key or a new one.
func TestInvitationOfTheRevoked(t *testing.T) {
	for name, revoke := range map[string]func(f *Cluster, m job.DID){
		"here": func(f *Cluster, m job.DID) {
			if _, err := f.Revoke(m, start); err != nil {
				t.Fatal(err)
			}
		},
		"elsewhere": func(f *Cluster, m job.DID) {
			admin := repo(t, 5)
			join(t, admin, f, job.RoleAdmin, start)
			notices, err := admin.Revoke(m, start)
			if err != nil {
				t.Fatal(err)
			}
			if fresh, err := f.ApplyNotices(notices, start); !fresh || err != nil {
				t.Fatal(fresh, err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := founder(t)
			secret, err := f.Invite(Invitation{Uses: 10}, start)
			if err != nil {
				t.Fatal(err)
			}
			other, err := f.Invite(Invitation{Uses: 10}, start)
			if err != nil {
				t.Fatal(err)
			}
			first, second := didOf(keyOf(20)), didOf(keyOf(21))
			for _, m := range []job.DID{first, second} {
				if _, err := f.Redeem(secret, m, start); err != nil {
					t.Fatal(err)
				}
			}
			if f, err = Open(f.dir, f.self); err != nil { // the invitation of a member is kept over restarts
				t.Fatal(err)
			}
			revoke(f, first)
			for _, m := range []job.DID{first, didOf(keyOf(22))} {
				if _, err := f.Redeem(secret, m, start); !errors.Is(err, ErrInvitation) {
					t.Errorf("%s: %v", m, err)
				}
			}
			if _, err := f.Check(second, start); err != nil {
				t.Errorf("another member of the same invitation: %v", err)
			}
			if _, err := f.Redeem(other, didOf(keyOf(23)), start); err != nil {
				t.Errorf("another invitation: %v", err)
			}
		})
	}
}

// TestAnswerLost redeems a secret for one use twice: the member that did not get the answer gets it again. No other
// node does, and the member itself does not after it was revoked.
func TestAnswerLost(t *testing.T) {
	f := founder(t)
	secret, err := f.Invite(Invitation{}, start)
	if err != nil {
		t.Fatal(err)
	}
	m := didOf(keyOf(20))
	first, err := f.Redeem(secret, m, start)
	if err != nil {
		t.Fatal(err)
	}
	if f, err = Open(f.dir, f.self); err != nil {
		t.Fatal(err)
	}
	if again, err := f.Redeem(secret, m, start.Add(time.Minute)); err != nil || !again.Equal(first) {
		t.Errorf("%v", err)
	}
	if _, err := f.Redeem(secret, didOf(keyOf(21)), start); !errors.Is(err, ErrInvitation) {
		t.Errorf("another node: %v", err)
	}
	if _, err := f.Revoke(m, start.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Redeem(secret, m, start.Add(time.Hour)); !errors.Is(err, ErrInvitation) {
		t.Errorf("revoked: %v", err)
	}
}

// TestApplyMany applies the revocations that a repo has missed in one write, and writes nothing when there is nothing
// new.
func TestApplyMany(t *testing.T) {
	f := founder(t)
	m := repoIn(t, 2, f)
	for i := range byte(20) {
		if _, err := f.Revoke(didOf(keyOf(100+i)), start); err != nil {
			t.Fatal(err)
		}
	}
	all, want := f.Notices()
	mixed := append([]Notice{{Revocation: []byte("garbage")}}, all...)
	if fresh, err := m.ApplyNotices(mixed, start); !fresh || err == nil {
		t.Errorf("%v, %v", fresh, err)
	}
	if _, got := m.Notices(); got != want {
		t.Errorf("%x, want %x", got, want)
	}
	if err := os.Remove(filepath.Join(m.dir, rosterFile)); err != nil {
		t.Fatal(err)
	}
	if fresh, err := m.ApplyNotices(all, start); fresh || err != nil {
		t.Errorf("again: %v, %v", fresh, err)
	}
	if _, err := os.Stat(filepath.Join(m.dir, rosterFile)); err == nil {
		t.Error("an unchanged roster was written")
	}
}

// TestSlowDisk checks a membership while a change is being written.
func TestSlowDisk(t *testing.T) {
	f := founder(t)
	m := repoIn(t, 2, f)
	f.writeMu.Lock()
	defer f.writeMu.Unlock()
	err := f.change(func(*state) error {
		if _, err := f.Admit(m.did, m.Own(), start); err != nil {
			return err
		}
		_, err := f.Check(m.did, start)
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
