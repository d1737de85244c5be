package segment

import (
	"hash/maphash"
	"sync"

	"github.com/ipfs-liftoff/liftoff/internal/crc32c"
)

// PageSize is how many bytes of a block one checksum covers when parts of it are read. A part costs the pages that it
// touches: 64 KiB are read and summed in 5 us with CRC-32C, in 10 us with a keyed sum.
const PageSize = 64 << 10

// pageSums keeps checksums of the pages of blocks that were read whole and found sound. What is read of such a block
// later is checked page by page, before a byte of it is handed out.
//
// The sums are of this process alone. When there are too many, those that were not used for longest go: their block is
// read whole once more.
type pageSums struct {
	// keyed sums with a secret of this process, for bytes that others may write to: a CRC can be kept while the bytes
	// change, a sum with a key that was never shown cannot.
	keyed bool

	mu         sync.Mutex
	seed       maphash.Seed          // never changes
	young, old map[position][]uint64 // old is what young was before it was full
	cost       int                   // of young, in sums
}

// One of the two maps holds maxSums sums, or as much as they take: 32 GiB of blocks of 1 MiB, 8 MiB of memory. sumsEach
// is what an entry takes beside its sums.
const (
	maxSums  = 1 << 20
	sumsEach = 12
)

// get returns the sums of the block at p; nil: they are not known.
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

// add keeps the sums of a block, of all its bytes.
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

// put enters sums. c.mu is held.
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

// newKeyedSums returns an empty set of keyed sums. The zero value is one of sums without a key.
func newKeyedSums() pageSums { return pageSums{keyed: true, seed: maphash.MakeSeed()} }

// read fills b with the bytes of a block from off on: those that were checked, and no others. raw reads bytes of the
// block; size is the block's. ok is false when a page is not what it was.
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

// match reports whether the pages at the beginning of sums are these.
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
