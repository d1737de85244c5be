package segment

import (
	"hash/maphash"
	"sync"

	"github.com/ipfs-liftoff/liftoff/internal/crc32c"
)

// PageSize is how many bytes of a block one checksum covers in partial reads. A partial read costs the pages that it
// touches: reading and checking 64 KiB takes 5 us with CRC-32C, 10 us with a keyed sum.
const PageSize = 64 << 10

// pageSums caches checksums of the pages of blocks that were read whole and found intact. Later partial reads of such
// a block are checked page by page before a byte is returned.
//
// The sums belong to this process. If there are too many, the least recently used ones are dropped: their blocks are
// read whole once more.
type pageSums struct {
	// keyed sums use a secret of this process, for bytes that other programs may change: the bytes can be changed
	// without changing a CRC, but not without changing a sum with a secret key.
	keyed bool

	mu         sync.Mutex
	seed       maphash.Seed          // never changes
	young, old map[position][]uint64 // old is the previous young
	cost       int                   // of young, in sums
}

// Each of the two maps holds at most maxSums sums or equivalents: 32 GiB of blocks of 1 MiB, 8 MiB of memory.
// sumsEach is the overhead of an entry.
const (
	maxSums  = 1 << 20
	sumsEach = 12
)

// get returns the sums of the block at p, or nil if they are unknown.
func (c *pageSums) get(p place) []uint64 {
	at := position{p.seg, p.at}
	c.mu.Lock()
	defer c.mu.Unlock()
	if sums, ok := c.young[at]; ok {
		return sums
	}
	sums := c.old[at]
	if sums != nil {
		c.put(at, sums)
	}
	return sums
}

// add stores the sums of a block; block is all of its bytes.
func (c *pageSums) add(p place, block []byte) {
	sums := make([]uint64, 0, (len(block)+PageSize-1)/PageSize)
	for len(block) > 0 {
		n := min(PageSize, len(block))
		sums = append(sums, c.sum(block[:n]))
		block = block[n:]
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.put(position{p.seg, p.at}, sums)
}

// put stores sums. c.mu is held.
func (c *pageSums) put(at position, sums []uint64) {
	if _, ok := c.young[at]; ok {
		return
	}
	cost := len(sums) + sumsEach
	if c.young == nil || c.cost+cost > maxSums {
		c.young, c.old, c.cost = map[position][]uint64{}, c.young, 0
	}
	c.young[at] = sums
	c.cost += cost
}

func (c *pageSums) sum(page []byte) uint64 {
	if !c.keyed {
		return uint64(crc32c.Checksum(page))
	}
	return maphash.Bytes(c.seed, page)
}

// newKeyedSums returns an empty set of keyed sums. The zero value has unkeyed sums.
func newKeyedSums() pageSums { return pageSums{keyed: true, seed: maphash.MakeSeed()} }

// read fills b with the verified bytes of a block from off. raw reads bytes of the block; size is the block's size.
// ok is false if a page does not match its sum.
func (c *pageSums) read(sums []uint64, size int64, b []byte, off int64, raw func(b []byte, off int64) error) (ok bool, err error) {
	if len(b) == 0 {
		return true, nil
	}
	end := off + int64(len(b))
	from, to := off/PageSize*PageSize, min((end+PageSize-1)/PageSize*PageSize, size)
	pages := b
	if from != off || to != end {
		buf := getBuffer(int(to - from))
		defer putBuffer(buf)
		pages = (*buf)[:to-from]
	}
	if err := raw(pages, from); err != nil {
		return false, err
	}
	if !c.match(sums[from/PageSize:], pages) {
		return false, nil
	}
	if from != off || to != end {
		copy(b, pages[off-from:])
	}
	return true, nil
}

// match reports whether pages match the first sums.
func (c *pageSums) match(sums []uint64, pages []byte) bool {
	for i := 0; len(pages) > 0; i++ {
		n := min(PageSize, len(pages))
		if i >= len(sums) || c.sum(pages[:n]) != sums[i] {
			return false
		}
		pages = pages[n:]
	}
	return true
}
