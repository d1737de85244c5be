package crc32c

import (
	"hash/crc32"
	"math/rand/v2"
	"testing"
)

func check(t *testing.T, sum uint32, p []byte) {
	t.Helper()
	if got, want := Update(sum, p), crc32.Update(sum, table, p); got != want {
		t.Fatalf("%d bytes after %08x: %08x, want %08x", len(p), sum, got, want)
	}
}

func TestUpdate(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	p := make([]byte, 70_000)
	for i := range p {
		p[i] = byte(r.Uint32())
	}
	for n := worthFolding - 1000; n < worthFolding+1000; n++ {
		check(t, 0, p[:n])
		check(t, r.Uint32(), p[n%67:][:n])
	}
	for _, n := range []int{20_000, 1 << 15, 1<<15 + 255, 1<<15 + 256, 1<<15 + 257, 70_000} {
		check(t, r.Uint32(), p[:n])
	}
	for range 300 {
		from := r.IntN(len(p))
		check(t, r.Uint32(), p[from:from+r.IntN(len(p)-from)])
	}
	if Checksum([]byte("123456789")) != 0xe3069283 {
		t.Error("wrong checksum for the check value of the CRC catalogue")
	}
	for n := worthFolding; n < worthFolding+300; n++ { // on every processor
		check(t, 0, make([]byte, n))
	}
}

func FuzzUpdate(f *testing.F) {
	f.Add(uint32(7), []byte("abc"), 100)
	f.Fuzz(func(t *testing.T, sum uint32, p []byte, times int) {
		long := p
		for range min(max(times, 0), 200) {
			if len(long) > 1<<16 {
				break
			}
			long = append(long[:len(long):len(long)], p...)
		}
		check(t, sum, long)
	})
}

// BenchmarkUpdate compares Update with the standard library.
func BenchmarkUpdate(b *testing.B) {
	for _, n := range []struct {
		name string
		size int
	}{{"4KiB", 4 << 10}, {"256KiB", 256 << 10}, {"1MiB", 1 << 20}} {
		p := make([]byte, n.size)
		b.Run(n.name, func(b *testing.B) {
			b.SetBytes(int64(n.size))
			for b.Loop() {
				Update(0, p)
			}
		})
		b.Run(n.name+"-library", func(b *testing.B) {
			b.SetBytes(int64(n.size))
			for b.Loop() {
				crc32.Update(0, table, p)
			}
		})
	}
}
