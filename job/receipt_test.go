package job

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ipfs/go-cid"
)

var testKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))

func testReceipt() Receipt {
	return Receipt{
		Task: CIDOf([]byte("task")), Outcome: CIDOf([]byte("outcome")), Issued: 1_700_000_000_000,
		Meta: Meta{Wall: 12, Fetched: 1 << 40, Arch: "amd64", Engine: "wazero 1.12.0", Version: "v1"},
	}
}

func TestReceiptVector(t *testing.T) {
	b, err := testReceipt().Sign(testKey)
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprintf("%x\n%s\n", b, CIDOf(b))
	file := filepath.Join("testdata", "receipt.hex")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	line, _, _ := strings.Cut(string(want), "\n")
	stored, err := hex.DecodeString(line)
	if err != nil {
		t.Fatal(err)
	}
	back, err := DecodeReceipt(stored)
	if err != nil {
		t.Fatal(err)
	}
	r := testReceipt()
	r.Issuer = DIDOf(testKey.Public().(ed25519.PublicKey))
	if d := cmp.Diff(r, back, cmp.Comparer(cid.Cid.Equals), cmp.Comparer(bytes.Equal)); d != "" {
		t.Error(d)
	}
}

// TestReceiptForged changes each byte. No variant is accepted, and changing only a value is a bad
// signature.
func TestReceiptForged(t *testing.T) {
	good, err := testReceipt().Sign(testKey)
	if err != nil {
		t.Fatal(err)
	}
	for i := range good {
		for _, flip := range []byte{1, 0x80, 0xff} {
			b := bytes.Clone(good)
			b[i] ^= flip
			if _, err := DecodeReceipt(b); err == nil {
				t.Errorf("byte %d changed to %#x was accepted", i, b[i])
			}
		}
	}
	i := bytes.Index(good, []byte("amd64"))
	b := bytes.Clone(good)
	copy(b[i:], "arm64")
	if _, err := DecodeReceipt(b); !errors.Is(err, ErrSignature) {
		t.Errorf("another arch: %v", err)
	}
	other := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{8}, ed25519.SeedSize))
	b = bytes.Replace(good, []byte(DIDOf(testKey.Public().(ed25519.PublicKey))), []byte(DIDOf(other.Public().(ed25519.PublicKey))), 1)
	if _, err := DecodeReceipt(b); !errors.Is(err, ErrSignature) {
		t.Errorf("another issuer: %v", err)
	}
}

func TestDID(t *testing.T) {
	// From the did:key specification's test vectors.
	const spec DID = "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp"
	key, err := spec.Key()
	if err != nil {
		t.Fatal(err)
	}
	if got := DIDOf(key); got != spec {
		t.Errorf("got %s", got)
	}
	for _, bad := range []DID{
		"", "did:key:", "did:web:example.com", "did:key:z", spec + "1", spec[:len(spec)-1],
		"did:key:zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme", // secp256k1
		"did:key:" + DID(strings.Repeat("z", 1000)),
	} {
		if _, err := bad.Key(); err == nil {
			t.Errorf("%.60q was accepted", string(bad))
		}
	}
}

func FuzzDecodeReceipt(f *testing.F) {
	b, err := testReceipt().Sign(testKey)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		r, sig, err := open(b, readReceipt)
		if err != nil {
			return
		}
		again, err := encode("test", envelopeNode(sig, r))
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x decodes and encodes to %x, %v", b, again, err)
		}
	})
}

func BenchmarkSignReceipt(b *testing.B) {
	r := testReceipt()
	for b.Loop() {
		if _, err := r.Sign(testKey); err != nil {
			b.Fatal(err)
		}
	}
}
