package store

import (
	"hash/maphash"
	"sync"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
)

// keySet is a set of multihashes by 64 bits of a hash with a secret seed, about 15
// bytes for each. Two of them may be taken for one, which keeps a block that could go
// and never the reverse.
type keySet map[uint64]struct{}

var keySeed = maphash.MakeSeed()

func fingerprint(key multihash.Multihash) uint64 { return maphash.Bytes(keySeed, key) }

func (k keySet) add(key multihash.Multihash) { k[fingerprint(key)] = struct{}{} }

func (k keySet) has(key multihash.Multihash) bool {
	_, ok := k[fingerprint(key)]
	return ok
}

// holdings is what live sessions keep from collection.
type holdings struct {
	mu         sync.Mutex
	live       map[*Session]struct{}
	collecting bool
	late       []keySet // of sessions that ended during the present collection
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
	h.collecting, h.late = false, nil
}

// roots returns what live sessions protect.
func (h *holdings) roots() []cid.Cid {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []cid.Cid
	for s := range h.live {
		all = append(all, s.roots...)
	}
	return all
}

// unlessHeld calls remove and reports true unless a session holds key. No session
// can come to hold it before remove has returned.
func (h *holdings) unlessHeld(key multihash.Multihash, remove func() error) (bool, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.live {
		if s.keys.has(key) {
			return false, nil
		}
	}
	for _, keys := range h.late {
		if keys.has(key) {
			return false, nil
		}
	}
	return true, remove()
}
