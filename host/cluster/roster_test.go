package cluster

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ipfs-liftoff/liftoff/job"
)

func TestRevoke(t *testing.T) {
	f := founder(t)
	a, b := repoIn(t, 2, f), repoIn(t, 3, f)
	exchange(a, b, start)
	exchange(f, a, start)
	if _, err := a.Revoke(b.did, start); err == nil {
		t.Error("a member can revoke")
	}
	if _, err := f.Revoke(f.did, start); err == nil {
		t.Error("the founder can revoke itself")
	}
	later := start.Add(time.Hour)
	notices, err := f.Revoke(b.did, later)
	if err != nil || len(notices) != 1 {
		t.Fatal(notices, err)
	}
	if fresh, err := a.ApplyNotices(notices, later); !fresh || err != nil {
		t.Errorf("%v, %v", fresh, err)
	}
	if fresh, err := a.ApplyNotices(notices, later); fresh || err != nil {
		t.Errorf("replayed: %v, %v", fresh, err)
	}
	if _, err := a.Check(b.did, later); !errors.Is(err, ErrRevoked) {
		t.Errorf("%v", err)
	}
	if _, err := a.Admit(b.did, b.Own(), later); !errors.Is(err, ErrRevoked) {
		t.Errorf("%v", err)
	}
	// It is still revoked after a restart.
	again, err := Open(a.dir, a.self)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := again.Check(b.did, later); !errors.Is(err, ErrRevoked) {
		t.Errorf("after a restart: %v", err)
	}
	// Invited again, even by an issuer whose clock is behind.
	join(t, b, f, "", later.Add(-time.Minute))
	if _, err := a.Admit(b.did, b.Own(), later); err != nil {
		t.Errorf("invited again: %v", err)
	}
	// The old revocation does not end the new membership.
	if fresh, _ := a.ApplyNotices(notices, later); fresh {
		t.Error("a replayed revocation counts as new")
	}
	if _, err := a.Check(b.did, later); err != nil {
		t.Error(err)
	}
}

func TestForgedNotices(t *testing.T) {
	f := founder(t)
	a, b := repoIn(t, 2, f), repoIn(t, 3, f)
	exchange(a, b, start)
	sign := func(key ed25519.PrivateKey, r job.Revocation, delegation []byte) Notice {
		env, err := r.Sign(key)
		if err != nil {
			t.Fatal(err)
		}
		return Notice{env, delegation}
	}
	r := job.Revocation{Cluster: f.id, Member: b.did, Seq: 1, Issued: start.UnixMilli()}
	future, other := r, r
	future.Issued = start.Add(time.Hour).UnixMilli()
	other.Cluster = didOf(keyOf(50))
	for name, n := range map[string]Notice{
		"by a member":                   sign(a.self, r, nil),
		"by a member, as if an admin":   sign(a.self, r, a.Own().Membership),
		"by another admin's delegation": sign(a.self, r, f.Own().Membership),
		"from the future":               sign(f.key, future, nil),
		"of another cluster":            sign(f.key, other, nil),
		"useless delegation":            sign(f.key, r, f.Own().Membership),
		"garbage":                       {Revocation: []byte("garbage")},
	} {
		if fresh, err := a.ApplyNotices([]Notice{n}, start); fresh || err == nil {
			t.Errorf("%s: %v, %v", name, fresh, err)
		}
	}
	if _, err := a.Check(b.did, start); err != nil {
		t.Error(err)
	}
	// No admin can fill the memory of other members.
	admin := repo(t, 4)
	join(t, admin, f, job.RoleAdmin, start)
	refused := 0
	for i := range maxPerIssuer + 10 {
		seed := keyOf(9)
		seed = ed25519.NewKeyFromSeed(append([]byte(fmt.Sprintf("%032d", i))[:ed25519.SeedSize:ed25519.SeedSize], seed[:0]...))
		n := job.Revocation{Cluster: f.id, Member: didOf(seed), Seq: uint64(i), Issued: start.UnixMilli()}
		if _, err := applyInMemory(a, sign(admin.self, n, admin.Own().Membership)); err != nil {
			refused++
		}
	}
	if refused != 10 {
		t.Errorf("%d of %d were refused", refused, maxPerIssuer+10)
	}
}

// applyInMemory is ApplyNotices without the disk.
func applyInMemory(f *Cluster, n Notice) (bool, error) {
	v, err := n.read(f.id)
	if err != nil {
		return false, err
	}
	return f.roster.add(v, start)
}

// TestOrder applies the same notices, of the founder and of an admin that is revoked in between, in any order and any
// number of times: all rosters converge.
func TestOrder(t *testing.T) {
	f, admin := founder(t), repo(t, 2)
	join(t, admin, f, job.RoleAdmin, start)
	now := start.Add(time.Hour)
	var all []Notice
	revoke := func(by *Cluster, member byte) {
		n, err := by.Revoke(didOf(keyOf(member)), now)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, n...)
		now = now.Add(time.Second)
	}
	revoke(f, 20)
	revoke(admin, 20)
	revoke(admin, 21)
	revoke(f, 21)
	revoke(admin, 22)
	revoke(admin, 22)
	f.ApplyNotices(all, now)
	revoke(f, 2)
	twice := func(issued time.Duration) Notice { // an issuer that uses a number twice
		b, err := job.Revocation{Cluster: f.id, Member: didOf(keyOf(23)), Seq: 7, Issued: start.Add(issued).UnixMilli()}.Sign(f.key)
		if err != nil {
			t.Fatal(err)
		}
		return Notice{Revocation: b}
	}
	all = append(all, twice(0), twice(time.Second), twice(time.Minute))
	f.ApplyNotices(all, now)
	_, want := f.Notices()
	rapid.Check(t, func(t *rapid.T) {
		r := newRoster(f.id)
		order := append(rapid.Permutation(all).Draw(t, "order"), rapid.SliceOfN(rapid.SampledFrom(all), 0, 10).Draw(t, "again")...)
		for _, n := range order {
			v, err := n.read(f.id)
			if err != nil {
				t.Fatal(err)
			}
			r.add(v, now)
		}
		if got := r.digest(); got != want {
			t.Fatalf("%d notices: got digest %x, want %x", len(r.notices), got, want)
		}
	})
}
