package segment

import (
	"bytes"
	"testing"
)

// TestPageSumsBounded: sums in use stay, and the cache does not grow without bound.
func TestPageSumsBounded(t *testing.T) {
	c := &pageSums{}
	used := place{seg: 1, at: 7}
	c.add(used, make([]byte, 3*PageSize))
	const each = 3 + sumsEach
	sums := make([]uint64, 3)
	for i := range int64(5 * maxSums / each) {
		if i%1000 == 0 && c.get(used) == nil {
			t.Fatalf("sums in use were dropped after %d blocks", i)
		}
		c.put(position{2, i}, sums)
		if n := len(c.young) + len(c.old); n > 2*maxSums/each {
			t.Fatalf("the sums of %d blocks are cached", n)
		}
	}
	if c.get(place{seg: 2, at: 0}) != nil {
		t.Error("unused sums are still cached")
	}
}

// TestPageSums: a partial read touches exactly the pages of the part, and detects a flipped bit in any of them.
func TestPageSums(t *testing.T) {
	block := make([]byte, 3*PageSize+100)
	for i := range block {
		block[i] = byte(i * 7 >> 3)
	}
	keyed := newKeyedSums()
	for _, c := range []*pageSums{{}, &keyed} {
		p := place{size: uint32(len(block))}
		c.add(p, block)
		sums := c.get(p)
		for _, r := range [][2]int{{0, 1}, {0, PageSize}, {1, PageSize}, {PageSize - 1, 2}, {PageSize, 2 * PageSize}, {3 * PageSize, 100}, {len(block) - 1, 1}, {0, len(block)}, {5, 0}} {
			off, n := r[0], r[1]
			from, to := len(block), 0
			raw := func(b []byte, at int64) error {
				from, to = min(from, int(at)), max(to, int(at)+len(b))
				copy(b, block[at:])
				return nil
			}
			b := make([]byte, n)
			ok, err := c.read(sums, int64(len(block)), b, int64(off), raw)
			if !ok || err != nil || !bytes.Equal(b, block[off:off+n]) {
				t.Errorf("%d bytes at %d: %v, %v", n, off, ok, err)
			}
			if n == 0 {
				continue
			}
			if wantFrom, wantTo := off/PageSize*PageSize, min(len(block), (off+n+PageSize-1)/PageSize*PageSize); from != wantFrom || to != wantTo {
				t.Errorf("%d bytes at %d: read %d to %d, want %d to %d", n, off, from, to, wantFrom, wantTo)
			}
			for _, at := range []int{from, to - 1} {
				block[at] ^= 1
				if ok, err := c.read(sums, int64(len(block)), b, int64(off), raw); ok || err != nil {
					t.Errorf("%d bytes at %d, a bit at %d flipped: %v, %v", n, off, at, ok, err)
				}
				block[at] ^= 1
			}
		}
	}
}
