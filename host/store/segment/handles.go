package segment

import (
	"sync"
	"sync/atomic"

	"github.com/ipfs-liftoff/liftoff/internal/diskfs"
)

// maxOpen is how many sealed segments stay open.
const maxOpen = 128

// handle is a reference-counted open segment. It is closed at 0.
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

// get returns segment n. The caller must release it.
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

// add makes h available to readers. The caller keeps its own reference.
func (hs *handles) add(h *handle) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	hs.put(h.acquire())
}

// put stores a reference to h, which hs then owns. hs.mu is held.
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

// drop removes segment n from the open ones.
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
