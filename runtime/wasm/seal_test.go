package wasm

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// file returns an open file with the content b.
func file(t testing.TB, b []byte) *os.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestSeal(t *testing.T) {
	s, err := newSealer([keyBytes]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	other, err := newSealer([keyBytes]byte{2})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 1, sealChunk - 1, sealChunk, sealChunk + 1, 5*sealChunk + 7} {
		b := bytes.Repeat([]byte{1, 2, 3, 4, 5, 6, 7}, n/7+1)[:n]
		good := file(t, b)
		seals, err := s.seal("label", good)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.check(seals, "label", good); err != nil {
			t.Errorf("%d bytes: %v", n, err)
		}
		wrong := func(what string, err error) {
			t.Helper()
			if !errors.Is(err, errSeal) {
				t.Errorf("%d bytes, %s: error %v, want %v", n, what, err, errSeal)
			}
		}
		wrong("another label", s.check(seals, "lebal", good))
		wrong("a longer label", s.check(seals, "label2", good))
		wrong("another key", other.check(seals, "label", good))
		wrong("an extra byte", s.check(seals, "label", file(t, append(b[:n:n], 0))))
		wrong("no seals", s.check(nil, "label", good))
		wrong("a missing seal", s.check(seals[:len(seals)-s.sealSize("label")], "label", good))
		if n == 0 {
			continue
		}
		wrong("a missing byte", s.check(seals, "label", file(t, b[:n-1])))
		for _, at := range []int{0, n / 2, n - 1} {
			bad := bytes.Clone(b)
			bad[at] ^= 0x80
			wrong("a bit changed", s.check(seals, "label", file(t, bad)))
		}
		if n <= 2*sealChunk {
			continue
		}
		size := s.sealSize("label")
		swapped, cut := bytes.Clone(seals), seals[:2*size]
		copy(swapped, seals[size:2*size])
		copy(swapped[size:], seals[:size])
		moved := append(bytes.Clone(b[sealChunk:2*sealChunk]), b[:sealChunk]...)
		wrong("swapped chunks", s.check(swapped, "label", file(t, append(moved, b[2*sealChunk:]...))))
		wrong("only the first chunks", s.check(cut, "label", file(t, b[:2*sealChunk])))
	}
}

// BenchmarkSeal checks 16 MiB.
func BenchmarkSeal(b *testing.B) {
	s, err := newSealer([keyBytes]byte{})
	if err != nil {
		b.Fatal(err)
	}
	f := file(b, make([]byte, 16<<20))
	seals, err := s.seal("label", f)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(16 << 20)
	for b.Loop() {
		if err := s.check(seals, "label", f); err != nil {
			b.Fatal(err)
		}
	}
}
