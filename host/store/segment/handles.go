package segment

import (
	"sync"
	"sync/atomic"

	"github.com/ipfs-liftoff/liftoff/internal/diskfs"
)

// maxOpen is how many sealed segments are kept open.
const maxOpen = 128

// handle is an open segment. It is closed when nobody has it.
type handle struct {
	diskfs.File
	number uint32
	refs   atomic.Int32
}

func newHandle(f diskfs.File, n uint32) *handle {
	h := &handle{File: f, number: n}
	h.refs.Store(1)
	return h
}

func (h *handle) acquire() *handle {
	h.refs.Add(1)
	return h
}

func (h *handle) release() {
	if h.refs.Add(-1) == 0 {
		h.File.Close()
	}
}

// handles are the segments that are open for reading.
type handles struct {
	open func(n uint32) (diskfs.File, error)

	mu sync.RWMutex
	m  map[uint32]*handle
}

// get returns segment n, which the caller releases.
func (hs *handles) get(n uint32) (*handle, error) {
	hs.mu.RLock()
	h := hs.m[n]
	if h != nil {
		h.acquire()
	}
	hs.mu.RUnlock()
	if h != nil {
		return h, nil
	}
	hs.mu.Lock()
	defer hs.mu.Unlock()
	if h := hs.m[n]; h != nil {
		return h.acquire(), nil
	}
	f, err := hs.open(n)
	if err != nil {
		return nil, err
	}
	h = newHandle(f, n)
	hs.put(h)
	return h.acquire(), nil
}

// add gives h, of which the caller has a reference of its own, to readers.
func (hs *handles) add(h *handle) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	hs.put(h.acquire())
}

// put takes over a reference to h. hs.mu is held.
func (hs *handles) put(h *handle) {
	if hs.m == nil {
		hs.m = map[uint32]*handle{}
	}
	for n, old := range hs.m {
		if len(hs.m) < maxOpen {
			break
		}
		delete(hs.m, n)
		old.release()
	}
	hs.m[h.number] = h
}

// drop forgets segment n.
func (hs *handles) drop(n uint32) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	if h := hs.m[n]; h != nil {
		delete(hs.m, n)
		h.release()
	}
}

func (hs *handles) close() {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	for n, h := range hs.m {
		delete(hs.m, n)
		h.release()
	}
}
