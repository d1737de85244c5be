package store

import (
	"hash/maphash"
	"sync"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
)

// keySet is a set of multihashes, each represented by 64 bits of a hash with a secret seed, about 15 bytes per key. A
// collision can only retain a block that could be removed, never the reverse.
type keySet map[uint64]struct{}

var keySeed = maphash.MakeSeed()

func fingerprint(key multihash.Multihash) uint64 { return maphash.Bytes(keySeed, key) }

func (k keySet) add(key multihash.Multihash) { k[fingerprint(key)] = struct{}{} }

func (k keySet) has(key multihash.Multihash) bool {
	_, ok := k[fingerprint(key)]
	return ok
}

// holdings are the blocks that live sessions protect from collection.
type holdings struct {
	mu         sync.Mutex
	live       map[*Session]struct{}
	collecting bool
	ended      []keySet // keys of sessions that ended during the current collection
}

func newHoldings() holdings { return holdings{live: map[*Session]struct{}{}} }

// begin and end enclose a collection. Sessions that end in between still count.
func (h *holdings) begin() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.collecting = true
}

func (h *holdings) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.collecting, h.ended = false, nil
}

// roots returns the roots that live sessions protect.
func (h *holdings) roots() []cid.Cid {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []cid.Cid
	for s := range h.live {
		all = append(all, s.roots...)
	}
	return all
}

// unlessHeld calls remove and returns true, unless a session holds key. No session can begin to hold it before remove
// has returned.
func (h *holdings) unlessHeld(key multihash.Multihash, remove func() error) (bool, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.live {
		if s.keys.has(key) {
			return false, nil
		}
	}
	for _, keys := range h.ended {
		if keys.has(key) {
			return false, nil
		}
	}
	return true, remove()
}
