package host

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ipfs-liftoff/liftoff/job"
)

// TestPeerID compares with go-libp2p's peer.IDFromPrivateKey.
func TestPeerID(t *testing.T) {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	const want = "12D3KooWRawPbxPtP1eZaJpumGnyWX2DcUyd3RQnydr3eAto4Az7"
	if got := PeerID(key.Public().(ed25519.PublicKey)); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestIdentityIsMadeOnce(t *testing.T) {
	dir := t.TempDir()
	first, err := LoadIdentity(dir)
	if err != nil {
		t.Fatal(err)
	}
	again, err := LoadIdentity(dir)
	if err != nil || !again.Key.Equal(first.Key) || again.DID != first.DID || again.PeerID != first.PeerID {
		t.Errorf("%+v, then %+v, %v", first.DID, again.DID, err)
	}
	pub, err := first.DID.Key()
	if err != nil || !pub.Equal(first.Key.Public()) || PeerID(pub) != first.PeerID {
		t.Errorf("%s and %s do not match: %v", first.DID, first.PeerID, err)
	}
	info, err := os.Stat(filepath.Join(dir, identityFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	other, err := LoadIdentity(t.TempDir())
	if err != nil || other.DID == first.DID {
		t.Errorf("two repos have the same DID %s, %v", other.DID, err)
	}
}

// TestIdentityDamaged changes every byte, and truncates the file at every length: no other identity is created or
// read.
func TestIdentityDamaged(t *testing.T) {
	dir := t.TempDir()
	if _, err := LoadIdentity(dir); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, identityFile)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	try := func(b []byte) {
		t.Helper()
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		var bad *IdentityError
		if _, err := LoadIdentity(dir); !errors.As(err, &bad) || !strings.Contains(err.Error(), path) {
			t.Errorf("%q: %v", b, err)
		}
		if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, b) {
			t.Errorf("file changed to %q, %v", now, err)
		}
	}
	for i := range good {
		b := bytes.Clone(good)
		b[i] ^= 4
		try(b)
		try(good[:i])
	}
	try(append(bytes.Clone(good), '\n'))
}

func didOf(b byte) job.DID {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{b}, ed25519.SeedSize))
	return job.DIDOf(key.Public().(ed25519.PublicKey))
}

func TestTrust(t *testing.T) {
	dir := t.TempDir()
	trust, err := OpenTrust(dir)
	if err != nil {
		t.Fatal(err)
	}
	for i, note := range []string{"one", "two", "größe"} {
		if err := trust.Add(TrustedKey{didOf(byte(i)), note, time.Unix(int64(i), 0).UTC()}); err != nil {
			t.Fatal(err)
		}
	}
	if err := trust.Add(TrustedKey{didOf(0), "again", time.Unix(9, 0).UTC()}); err != nil {
		t.Fatal(err)
	}
	if ok, err := trust.Remove(didOf(1)); !ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
	if ok, err := trust.Remove(didOf(1)); ok || err != nil {
		t.Errorf("second remove: %v, %v", ok, err)
	}
	for _, bad := range []TrustedKey{{DID: "did:key:z"}, {DID: didOf(0), Note: "\xff"}, {DID: didOf(0), Note: strings.Repeat("x", MaxNote+1)}} {
		if err := trust.Add(bad); err == nil {
			t.Errorf("%+v: accepted", bad)
		}
	}
	trust, err = OpenTrust(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := trust.List()
	if len(all) != 2 || !trust.Has(didOf(0)) || trust.Has(didOf(1)) || !trust.Has(didOf(2)) {
		t.Errorf("%+v", all)
	}
	for _, k := range all {
		if k.DID == didOf(0) && (k.Note != "again" || k.Added.Unix() != 0) {
			t.Errorf("%+v", k)
		}
	}
}

func TestTrustDamaged(t *testing.T) {
	for _, content := range []string{"", "[", "{}", `[{"did":"x"}]`, `[] []`, `[{"did":"` + string(didOf(1)) + `","why":"?"}]`} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, trustFile), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenTrust(dir); err == nil {
			t.Errorf("%q: accepted", content)
		}
	}
}
