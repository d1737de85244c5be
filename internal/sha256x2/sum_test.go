package sha256x2

import (
	"crypto/sha256"
	"math/rand/v2"
	"testing"
)

func TestSum(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for n := range 700 {
		check(t, r, n, n)
	}
	for range 200 {
		n := r.IntN(70_000)
		check(t, r, n, n)
		check(t, r, n, r.IntN(70_000))
	}
	check(t, r, 1<<20, 1<<20)
}

func check(t *testing.T, r *rand.Rand, n, m int) {
	t.Helper()
	a, b := make([]byte, n), make([]byte, m)
	for _, p := range [][]byte{a, b} {
		for i := range p {
			p[i] = byte(r.Uint32())
		}
	}
	x, y := Sum(a, b)
	if x != sha256.Sum256(a) || y != sha256.Sum256(b) {
		t.Fatalf("%d and %d bytes: hash differs from the standard library's", n, m)
	}
}

func FuzzSum(f *testing.F) {
	f.Add([]byte("abc"), []byte("abd"))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		n := min(len(a), len(b))
		for _, pair := range [][2][]byte{{a, b}, {a[:n], b[:n]}} {
			if x, y := Sum(pair[0], pair[1]); x != sha256.Sum256(pair[0]) || y != sha256.Sum256(pair[1]) {
				t.Fatal("hash differs from the standard library's")
			}
		}
	})
}

// BenchmarkSum hashes two chunks of 1 MiB, at once and one after the other.
func BenchmarkSum(b *testing.B) {
	x, y := make([]byte, 1<<20), make([]byte, 1<<20)
	b.Run("two", func(b *testing.B) {
		b.SetBytes(2 << 20)
		for b.Loop() {
			Sum(x, y)
		}
	})
	b.Run("one-and-one", func(b *testing.B) {
		b.SetBytes(2 << 20)
		for b.Loop() {
			sha256.Sum256(x)
			sha256.Sum256(y)
		}
	})
}
