package job

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"math/big"
	"os"
	"slices"
	"strings"
	"testing"
)

// keyVector is one line of testdata/keys.txt.
type keyVector struct {
	kind string // small, unreduced, off or key
	key  ed25519.PublicKey
}

func keyVectors(t testing.TB) []keyVector {
	t.Helper()
	b, err := os.ReadFile("testdata/keys.txt")
	if err != nil {
		t.Fatal(err)
	}
	var all []keyVector
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		kind, text, _ := strings.Cut(s.Text(), " ")
		if kind == "#" {
			continue
		}
		key, err := hex.DecodeString(text)
		if err != nil || len(key) != ed25519.PublicKeySize {
			t.Fatalf("%q: %d bytes, %v", s.Text(), len(key), err)
		}
		all = append(all, keyVector{kind, key})
	}
	return all
}

// weak returns the 14 encodings of the points of small order.
func weak(t testing.TB) []ed25519.PublicKey {
	var keys []ed25519.PublicKey
	for _, v := range keyVectors(t) {
		if v.kind == "small" || v.kind == "unreduced" && v.key[0] <= 0xee {
			keys = append(keys, v.key)
		}
	}
	if len(keys) != 14 {
		t.Fatalf("testdata has %d encodings of points of small order, want 14", len(keys))
	}
	return keys
}

func TestCheckKey(t *testing.T) {
	wants := map[string]error{"small": errSmallOrder, "unreduced": errSpelling, "off": errNoPoint, "key": nil}
	seen := map[string]int{}
	for _, v := range keyVectors(t) {
		seen[v.kind]++
		want, ok := wants[v.kind]
		if !ok {
			t.Fatalf("testdata: unknown kind %q", v.kind)
		}
		if err := CheckKey(v.key); !errors.Is(err, want) {
			t.Errorf("%s %x: got %v, want %v", v.kind, v.key, err, want)
		}
		if _, err := DIDOf(v.key).Key(); !errors.Is(err, want) {
			t.Errorf("the DID of %s %x: got %v, want %v", v.kind, v.key, err, want)
		}
	}
	for kind, n := range map[string]int{"small": 10, "unreduced": 38, "off": 5, "key": 4} {
		if seen[kind] != n {
			t.Errorf("%d vectors of the kind %s, want %d", seen[kind], kind, n)
		}
	}
	for _, n := range []int{0, 31, 33} {
		if err := CheckKey(make([]byte, n)); err == nil {
			t.Errorf("a key of %d bytes is accepted", n)
		}
	}
	if _, err := DID("did:key:z6MkeXATEjyXENzBXBxgC5EHk2JE5aqd7qMGGtDpLUH1e2Sj").Key(); !errors.Is(err, errSmallOrder) {
		t.Errorf("the DID of the identity: %v", err)
	}
}

// forged returns the envelope of a statement whose signature was made without a private key: R is a
// point of small order, and S is 0. It tries the statements that make returns for 0, 1, 2, ...
// until the signature is valid for the issuer key.
func forged[S statement](t *testing.T, key ed25519.PublicKey, make func(i int) S) []byte {
	t.Helper()
	for i := range 1000 {
		s := make(i)
		signed, err := encode("test", signedNode(s))
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range weak(t)[:8] {
			sig := append(bytes.Clone(r), bytes.Repeat([]byte{0}, 32)...)
			if !ed25519.Verify(key, signed, sig) {
				continue
			}
			b, err := encode("test", envelopeNode(sig, s))
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
	}
	t.Fatalf("no signature for %x", []byte(key))
	return nil
}

// TestForgedStatements decodes statements with a valid signature that was made without a private
// key.
func TestForgedStatements(t *testing.T) {
	for _, key := range weak(t) {
		did := DIDOf(key)
		refused := func(what string, err error) {
			t.Helper()
			if !errors.Is(err, errSmallOrder) && !errors.Is(err, errSpelling) {
				t.Errorf("%s of %s: got %v, want a refused key", what, did, err)
			}
		}
		_, err := DecodeReceipt(forged(t, key, func(i int) Receipt {
			r := testReceipt()
			r.Issuer, r.Issued = did, r.Issued+int64(i)
			return r
		}))
		refused("receipt", err)
		_, err = DecodeOrder(forged(t, key, func(i int) Order {
			j := testOrder()
			j.Issuer, j.Timeout = did, j.Timeout+int64(i)
			return j
		}))
		refused("order", err)
		_, err = DecodeCapacity(forged(t, key, func(i int) Capacity {
			c := testCapacity()
			c.Issuer, c.Seq = did, c.Seq+uint64(i)
			return c
		}))
		refused("capacity", err)
		_, err = DecodeAnnounce(forged(t, key, func(i int) Announce {
			a := testAnnounce()
			a.Issuer, a.Issued = did, a.Issued+int64(i)
			return a
		}))
		refused("announce", err)
		_, err = DecodeMembership(forged(t, key, func(i int) Membership {
			m := testMembership()
			m.Issuer, m.Cluster, m.Issued = did, did, m.Issued+int64(i)
			return m
		}))
		refused("membership", err)
		_, err = DecodeRevocation(forged(t, key, func(i int) Revocation {
			r := testRevocation()
			r.Issuer, r.Cluster, r.Issued = did, did, r.Issued+int64(i)
			return r
		}))
		refused("revocation", err)
	}
}

// TestWeakKeysNamed signs statements with a valid key that name an invalid one.
func TestWeakKeysNamed(t *testing.T) {
	for _, v := range keyVectors(t) {
		if v.kind == "key" {
			continue
		}
		did := DIDOf(v.key)
		member, cluster, revoked, revoker := testMembership(), testMembership(), testRevocation(), testRevocation()
		member.Member, cluster.Cluster, cluster.Role, revoked.Member, revoker.Cluster = did, did, RoleMember, did, did
		order, announce := testOrder(), testAnnounce()
		order.Audience, announce.Exclude = did, []DID{did}
		for what, s := range map[string]interface {
			Sign(ed25519.PrivateKey) ([]byte, error)
		}{
			"member": member, "cluster": cluster, "revoked member": revoked, "cluster of a revocation": revoker,
			"audience": order, "exclusion": announce,
		} {
			if _, err := s.Sign(testKey); !errors.Is(err, errSmallOrder) && !errors.Is(err, errSpelling) && !errors.Is(err, errNoPoint) {
				t.Errorf("%s %s: %v", what, did, err)
			}
		}
	}
}

// TestSignatureHasOneForm adds the order of the group to S, which a lenient verifier would reduce.
// The result would be another envelope, with another CID, of the same statement.
func TestSignatureHasOneForm(t *testing.T) {
	good, err := testReceipt().Sign(testKey)
	if err != nil {
		t.Fatal(err)
	}
	_, sig, err := open(good, readReceipt)
	if err != nil {
		t.Fatal(err)
	}
	order, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	s := slices.Clone(sig[32:])
	slices.Reverse(s)
	s = new(big.Int).Add(new(big.Int).SetBytes(s), order).FillBytes(make([]byte, 32))
	slices.Reverse(s)
	other := bytes.Replace(good, sig[32:], s, 1)
	if bytes.Equal(other, good) {
		t.Fatal("the signature has not changed")
	}
	if _, err := DecodeReceipt(other); !errors.Is(err, ErrSignature) {
		t.Errorf("got %v, want %v", err, ErrSignature)
	}
}

func BenchmarkCheckKey(b *testing.B) {
	pub := testKey.Public().(ed25519.PublicKey)
	for b.Loop() {
		if err := CheckKey(pub); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeMembership(b *testing.B) {
	m, err := testMembership().Sign(testKey)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := DecodeMembership(m); err != nil {
			b.Fatal(err)
		}
	}
}
