package fence

import (
	"bytes"
	"crypto/ed25519"
	"path/filepath"
	"testing"
	"time"

	"github.com/ipfs-liftoff/liftoff/job"
)

var start = time.UnixMilli(1_700_000_000_000)

func keyOf(b byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{b}, ed25519.SeedSize))
}

type tester interface {
	Fatal(...any)
	Helper()
}

// repo returns the Fence of a repo whose key is made of b.
func repo(t *testing.T, b byte) *Fence {
	t.Helper()
	f, err := Open(filepath.Join(t.TempDir(), "fence"), keyOf(b))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func founder(t *testing.T) *Fence {
	t.Helper()
	f := repo(t, 1)
	if err := f.Init(start); err != nil {
		t.Fatal(err)
	}
	return f
}

// join lets m into the fence by an invitation of admin.
func join(t tester, m, admin *Fence, role job.Role, now time.Time) {
	t.Helper()
	secret, err := admin.Invite(Invitation{Role: role}, now)
	if err != nil {
		t.Fatal(err)
	}
	c, err := admin.Redeem(secret, m.me, now)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Adopt(admin.ID(), c, now); err != nil {
		t.Fatal(err)
	}
}

// meet lets two repos of a fence show each other what they have, as hosts do.
func meet(a, b *Fence, now time.Time) {
	for range 2 {
		a.Admit(b.me, b.Own(), now)
		notices, _ := b.Notices()
		a.Heed(notices, now)
		a, b = b, a
	}
}

// foreign returns a credential of another fence.
func foreign(t *testing.T, member job.DID) Credential {
	f := repo(t, 77)
	if err := f.Init(start); err != nil {
		t.Fatal(err)
	}
	secret, err := f.Invite(Invitation{}, start)
	if err != nil {
		t.Fatal(err)
	}
	c, err := f.Redeem(secret, member, start)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// self returns a membership that a member has issued to itself, with its own membership
// as the delegation.
func self(t *testing.T, fence job.DID, f *Fence) Credential {
	m := job.Membership{Fence: fence, Member: f.me, Role: job.RoleMember, Issued: start.UnixMilli(), Expires: start.UnixMilli() + 1000}
	b, err := m.Sign(f.self)
	if err != nil {
		t.Fatal(err)
	}
	return Credential{b, f.Own().Membership}
}

// repoIn returns a further member of f's fence.
func repoIn(t *testing.T, b byte, f *Fence) *Fence {
	t.Helper()
	m := repo(t, b)
	join(t, m, f, "", start)
	return m
}
