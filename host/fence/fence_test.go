package fence

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

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

func TestInviteAndAdmit(t *testing.T) {
	f, m, other := founder(t), repo(t, 2), repo(t, 3)
	if role, err := f.Check(f.me, start); role != job.RoleAdmin || err != nil {
		t.Errorf("the founder is %q, %v", role, err)
	}
	if err := f.Init(start); err == nil {
		t.Error("a second fence is made")
	}
	join(t, m, f, "", start)
	join(t, other, f, "", start)
	if _, err := m.Check(other.me, start); err == nil {
		t.Error("a member is known before it showed anything")
	}
	if role, err := m.Admit(other.me, other.Own(), start); role != job.RoleMember || err != nil {
		t.Errorf("%q, %v", role, err)
	}
	if role, err := m.Check(other.me, start); role != job.RoleMember || err != nil {
		t.Errorf("%q, %v", role, err)
	}
	for name, c := range map[string]Credential{
		"another's":           f.Own(),
		"none":                {},
		"garbage":             {Membership: []byte("x")},
		"with a delegation":   {Membership: other.Own().Membership, Delegation: f.Own().Membership},
		"a byte changed":      {Membership: append(bytes.Clone(other.Own().Membership[:100]), append([]byte{0}, other.Own().Membership[101:]...)...)},
		"of another fence":    foreign(t, other.me),
		"signed by the other": self(t, f.id, other),
	} {
		if _, err := m.Admit(other.me, c, start); err == nil {
			t.Errorf("%s is admitted", name)
		}
	}
	for _, late := range []time.Time{start.Add(MembershipLife + time.Second), start.Add(-Skew - time.Second)} {
		if _, err := m.Check(other.me, late); err == nil {
			t.Errorf("still a member at %s", late)
		}
	}
	if _, err := m.Invite(Invitation{}, start); err == nil {
		t.Error("a member invites")
	}
	if _, err := repo(t, 9).Invite(Invitation{}, start); !errors.Is(err, ErrNoFence) {
		t.Errorf("without a fence: %v", err)
	}
	if err := repo(t, 9).Adopt(f.id, m.Own(), start); err == nil {
		t.Error("another's membership is adopted")
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
	// A kill after the last use gives none back.
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
		t.Errorf("the secret is on disk, %v", err)
	}
	for _, i := range []Invitation{{Uses: -1}, {Uses: maxUses + 1}, {Expires: -1}, {Expires: MembershipLife + 1}, {Role: "root"}} {
		secret, err := f.Invite(i, start)
		if err == nil {
			_, err = f.Redeem(secret, didOf(keyOf(15)), start)
		}
		if err == nil {
			t.Errorf("%+v is made", i)
		}
	}
}

func TestAdmins(t *testing.T) {
	f, admin, m := founder(t), repo(t, 2), repo(t, 3)
	join(t, admin, f, job.RoleAdmin, start)
	if _, err := admin.Invite(Invitation{Role: job.RoleAdmin}, start); err == nil {
		t.Error("an admin invites an admin")
	}
	join(t, m, admin, "", start)
	if len(m.Own().Delegation) == 0 {
		t.Error("the membership comes without a delegation")
	}
	if role, err := f.Admit(m.me, m.Own(), start); role != job.RoleMember || err != nil {
		t.Errorf("%q, %v", role, err)
	}
	without := m.Own()
	without.Delegation = nil
	if _, err := repoIn(t, 5, f).Admit(m.me, without, start); err == nil {
		t.Error("admitted without the delegation")
	}
	if _, err := admin.Revoke(f.me, start); err == nil {
		admin.Admit(f.me, f.Own(), start)
		if _, err := admin.Revoke(f.me, start); err == nil {
			t.Error("an admin revokes the founder")
		}
	}
	meet(f, admin, start)
	if _, err := f.Check(f.me, start); err != nil {
		t.Errorf("the founder is none any more: %v", err)
	}
	// Revoking an admin ends what it issued.
	if _, err := f.Revoke(admin.me, start.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	for _, d := range []job.DID{admin.me, m.me} {
		if _, err := f.Check(d, start.Add(time.Minute)); !errors.Is(err, ErrRevoked) {
			t.Errorf("%s: %v", d, err)
		}
	}
	meet(f, admin, start.Add(time.Minute))
	if _, err := admin.Invite(Invitation{}, start.Add(time.Minute)); err == nil {
		t.Error("a revoked admin invites")
	}
}

// repoIn returns a further member of f's fence.
func repoIn(t *testing.T, b byte, f *Fence) *Fence {
	t.Helper()
	m := repo(t, b)
	join(t, m, f, "", start)
	return m
}

func TestRevoke(t *testing.T) {
	f := founder(t)
	a, b := repoIn(t, 2, f), repoIn(t, 3, f)
	meet(a, b, start)
	meet(f, a, start)
	if _, err := a.Revoke(b.me, start); err == nil {
		t.Error("a member revokes")
	}
	if _, err := f.Revoke(f.me, start); err == nil {
		t.Error("the founder revokes itself")
	}
	later := start.Add(time.Hour)
	notices, err := f.Revoke(b.me, later)
	if err != nil || len(notices) != 1 {
		t.Fatal(notices, err)
	}
	if fresh, err := a.Heed(notices, later); !fresh || err != nil {
		t.Errorf("%v, %v", fresh, err)
	}
	if fresh, err := a.Heed(notices, later); fresh || err != nil {
		t.Errorf("replayed: %v, %v", fresh, err)
	}
	if _, err := a.Check(b.me, later); !errors.Is(err, ErrRevoked) {
		t.Errorf("%v", err)
	}
	if _, err := a.Admit(b.me, b.Own(), later); !errors.Is(err, ErrRevoked) {
		t.Errorf("%v", err)
	}
	// It is still revoked after a restart.
	again, err := Open(a.dir, a.self)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := again.Check(b.me, later); !errors.Is(err, ErrRevoked) {
		t.Errorf("after a restart: %v", err)
	}
	// Invited again, even by who has an earlier clock.
	join(t, b, f, "", later.Add(-time.Minute))
	if _, err := a.Admit(b.me, b.Own(), later); err != nil {
		t.Errorf("invited again: %v", err)
	}
	// The old revocation does not hurt the new membership.
	if fresh, _ := a.Heed(notices, later); fresh {
		t.Error("a replayed revocation is news")
	}
	if _, err := a.Check(b.me, later); err != nil {
		t.Error(err)
	}
}

func TestForgedNotices(t *testing.T) {
	f := founder(t)
	a, b := repoIn(t, 2, f), repoIn(t, 3, f)
	meet(a, b, start)
	sign := func(key ed25519.PrivateKey, r job.Revocation, delegation []byte) Notice {
		env, err := r.Sign(key)
		if err != nil {
			t.Fatal(err)
		}
		return Notice{env, delegation}
	}
	r := job.Revocation{Fence: f.id, Member: b.me, Seq: 1, Issued: start.UnixMilli()}
	future, other := r, r
	future.Issued = start.Add(time.Hour).UnixMilli()
	other.Fence = didOf(keyOf(50))
	for name, n := range map[string]Notice{
		"by a member":                 sign(a.self, r, nil),
		"by a member, as if an admin": sign(a.self, r, a.Own().Membership),
		"by another's delegation":     sign(a.self, r, f.Own().Membership),
		"from the future":             sign(f.key, future, nil),
		"of another fence":            sign(f.key, other, nil),
		"useless delegation":          sign(f.key, r, f.Own().Membership),
		"garbage":                     {Revocation: []byte("garbage")},
	} {
		if fresh, err := a.Heed([]Notice{n}, start); fresh || err == nil {
			t.Errorf("%s: %v, %v", name, fresh, err)
		}
	}
	if _, err := a.Check(b.me, start); err != nil {
		t.Error(err)
	}
	// No admin can fill the memory of others.
	admin := repo(t, 4)
	join(t, admin, f, job.RoleAdmin, start)
	refused := 0
	for i := range maxPerIssuer + 10 {
		seed := keyOf(9)
		seed = ed25519.NewKeyFromSeed(append([]byte(fmt.Sprintf("%032d", i))[:ed25519.SeedSize:ed25519.SeedSize], seed[:0]...))
		n := job.Revocation{Fence: f.id, Member: didOf(seed), Seq: uint64(i), Issued: start.UnixMilli()}
		if _, err := heedInMemory(a, sign(admin.self, n, admin.Own().Membership)); err != nil {
			refused++
		}
	}
	if refused != 10 {
		t.Errorf("%d of %d were refused", refused, maxPerIssuer+10)
	}
}

// heedInMemory is Heed without the disk.
func heedInMemory(f *Fence, n Notice) (bool, error) {
	v, err := n.read(f.id)
	if err != nil {
		return false, err
	}
	return f.roster.add(v, start)
}

func TestRenew(t *testing.T) {
	f := founder(t)
	m := repoIn(t, 2, f)
	if m.Due(start) {
		t.Error("due on the first day")
	}
	if _, err := f.Renew(m.me, start.Add(24*time.Hour)); err == nil {
		t.Error("renewed on the second day")
	}
	soon := start.Add(MembershipLife - RenewBefore + time.Hour)
	if !m.Due(soon) {
		t.Error("not due in the last thirty days")
	}
	c, err := f.Renew(m.me, soon)
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
	if _, err := f.Renew(m.me, late); err == nil {
		t.Error("renewed after its end")
	}
	// The holder of the fence's key brings itself back.
	if _, err := f.Renew(f.me, late); err != nil {
		t.Error(err)
	}
	if _, err := f.Check(f.me, late); err != nil {
		t.Error(err)
	}
	// An admin renews a member, and not itself.
	admin, n := repo(t, 4), repo(t, 5)
	join(t, admin, f, job.RoleAdmin, late)
	join(t, n, f, "", late)
	meet(admin, n, late)
	soon = late.Add(MembershipLife - RenewBefore + time.Hour)
	if _, err := admin.Renew(n.me, soon); err != nil {
		t.Error(err)
	}
	if _, err := admin.Renew(admin.me, soon); err == nil {
		t.Error("an admin renews itself")
	}
	if _, err := f.Revoke(n.me, soon); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Renew(n.me, soon); err == nil {
		t.Error("a revoked member is renewed")
	}
}

// TestOrder hands the same notices, of the founder and of an admin that is revoked
// somewhere in between, to repos in any order, any number of times: all come to the same.
func TestOrder(t *testing.T) {
	f, admin := founder(t), repo(t, 2)
	join(t, admin, f, job.RoleAdmin, start)
	now := start.Add(time.Hour)
	var all []Notice
	revoke := func(by *Fence, member byte) {
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
	f.Heed(all, now)
	revoke(f, 2)
	twice := func(issued time.Duration) Notice { // an issuer that gives a number twice
		b, err := job.Revocation{Fence: f.id, Member: didOf(keyOf(23)), Seq: 7, Issued: start.Add(issued).UnixMilli()}.Sign(f.key)
		if err != nil {
			t.Fatal(err)
		}
		return Notice{Revocation: b}
	}
	all = append(all, twice(0), twice(time.Second), twice(time.Minute))
	f.Heed(all, now)
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
			t.Fatalf("%d notices come to %x, want %x", len(r.notices), got, want)
		}
	})
}

func TestToken(t *testing.T) {
	want := Token{
		Fence: didOf(keyOf(1)), Peer: didOf(keyOf(2)), Secret: [16]byte([]byte("0123456789abcdef")),
		Addrs: []string{"/ip4/192.0.2.1/tcp/4017", "/dns4/example.com/udp/4017/quic-v1"},
	}
	line := want.String()
	if strings.ContainsAny(line, " \n\t'\"$&;|<>*") {
		t.Errorf("not a line to copy into a shell: %s", line)
	}
	got, err := ParseToken(" " + line + "\n")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	for i := range line {
		b := []byte(line)
		b[i] ^= 1
		if _, err := ParseToken(string(b)); err == nil {
			t.Errorf("byte %d changed is accepted", i)
		}
		if _, err := ParseToken(line[:i]); err == nil {
			t.Errorf("the first %d bytes are accepted", i)
		}
	}
	for _, bad := range []Token{
		{want.Fence, want.Peer, want.Secret, nil},
		{want.Fence, want.Peer, want.Secret, []string{"example.com"}},
		{want.Fence, want.Peer, want.Secret, make([]string, maxTokenAddrs+1)},
		{"did:key:z6Mk", want.Peer, want.Secret, want.Addrs},
	} {
		if _, err := ParseToken(bad.String()); err == nil {
			t.Errorf("%s is accepted", bad)
		}
	}
	if _, err := ParseToken(strings.Repeat("x", maxToken+1)); err == nil {
		t.Error("a long token is accepted")
	}
}

// TestDamaged changes bytes of the files: what is read then is never somebody else's
// truth.
func TestDamaged(t *testing.T) {
	f := founder(t)
	m := repoIn(t, 2, f)
	meet(f, m, start)
	if _, err := f.Revoke(m.me, start); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{keyFile, rosterFile} {
		path := filepath.Join(f.dir, name)
		good, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(good); i += 1 + len(good)/200 {
			b := bytes.Clone(good)
			b[i] ^= 4
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := Open(f.dir, f.self)
			if err != nil {
				continue
			}
			if _, err := got.Check(m.me, start); err == nil {
				t.Errorf("%s, byte %d: the revoked member is one", name, i)
			}
		}
		if err := os.WriteFile(path, good, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Open(f.dir, f.self); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(f.dir, keyOf(99)); err == nil {
		t.Error("another repo's fence is opened")
	}
	info, err := os.Stat(filepath.Join(f.dir, keyFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// TestKilledInInit is a repo that was killed between the two files of a new fence: it has
// none, and can make or join one.
func TestKilledInInit(t *testing.T) {
	f := founder(t)
	for name, next := range map[string]func(m *Fence) error{
		"makes one": func(m *Fence) error { return m.Init(start) },
		"joins one": func(m *Fence) error { join(t, m, f, "", start); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			m := repo(t, 2)
			if err := m.Init(start); err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(filepath.Join(m.dir, rosterFile)); err != nil {
				t.Fatal(err)
			}
			m, err := Open(m.dir, m.self)
			if err != nil || m.ID() != "" {
				t.Fatal(m, err)
			}
			if err := next(m); err != nil {
				t.Fatal(err)
			}
			again, err := Open(m.dir, m.self)
			if err != nil || again.ID() != m.ID() {
				t.Errorf("it is not read again: %v", err)
			}
		})
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
		t.Error("who holds the key leaves")
	}
}

func FuzzParseToken(f *testing.F) {
	t := Token{didOf(keyOf(1)), didOf(keyOf(2)), [16]byte{}, []string{"/ip4/192.0.2.1/tcp/4017"}}
	f.Add(t.String())
	f.Fuzz(func(t *testing.T, s string) {
		got, err := ParseToken(s)
		if err == nil && got.String() != strings.TrimSpace(s) {
			t.Errorf("%q is read as %q", s, got)
		}
	})
}
