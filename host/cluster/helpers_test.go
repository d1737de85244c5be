package cluster

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

// repo returns the Cluster of a repo whose key is derived from b.
func repo(t *testing.T, b byte) *Cluster {
	t.Helper()
	f, err := Open(filepath.Join(t.TempDir(), "cluster"), keyOf(b))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func founder(t *testing.T) *Cluster {
	t.Helper()
	f := repo(t, 1)
	if err := f.Init(start); err != nil {
		t.Fatal(err)
	}
	return f
}

// join makes m a member by an invitation of admin.
func join(t tester, m, admin *Cluster, role job.Role, now time.Time) {
	t.Helper()
	secret, err := admin.Invite(Invitation{Role: role}, now)
	if err != nil {
		t.Fatal(err)
	}
	c, err := admin.Redeem(secret, m.did, now)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Adopt(admin.ID(), c, now); err != nil {
		t.Fatal(err)
	}
}

// exchange admits the credentials and applies the revocations of two repos of a cluster to each other, as package
// host does.
func exchange(a, b *Cluster, now time.Time) {
	for range 2 {
		a.Admit(b.did, b.Own(), now)
		notices, _ := b.Notices()
		a.ApplyNotices(notices, now)
		a, b = b, a
	}
}

// foreign returns a credential of another cluster.
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

// self returns a membership that a member has issued to itself, with its own membership as the delegation.
func self(t *testing.T, cluster job.DID, f *Cluster) Credential {
	m := job.Membership{Cluster: cluster, Member: f.did, Role: job.RoleMember, Issued: start.UnixMilli(), Expires: start.UnixMilli() + 1000}
	b, err := m.Sign(f.self)
	if err != nil {
		t.Fatal(err)
	}
	return Credential{b, f.Own().Membership}
}

// repoIn returns another member of f's cluster.
func repoIn(t *testing.T, b byte, f *Cluster) *Cluster {
	t.Helper()
	m := repo(t, b)
	join(t, m, f, "", start)
	return m
}
