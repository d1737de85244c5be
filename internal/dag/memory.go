package dag

import (
	"context"
	"sync"

	"github.com/ipfs/go-cid"
)

// MemBlocks is a set of blocks in memory. The zero value is empty and ready to use.
type MemBlocks struct {
	mu    sync.RWMutex
	m     map[cid.Cid]Block
	bytes int64
}

var _ Blocks = (*MemBlocks)(nil)

// Get returns block c, or a *NotFoundError.
func (m *MemBlocks) Get(_ context.Context, c cid.Cid) (Block, error) {
	m.mu.RLock()
	b, ok := m.m[c]
	m.mu.RUnlock()
	if !ok {
		return Block{}, &NotFoundError{c}
	}
	return b, nil
}

// Has reports whether the set has c.
func (m *MemBlocks) Has(_ context.Context, c cid.Cid) (bool, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	_, ok := m.m[c]
	return ok, nil
}

// Size returns the size of block c, or a *NotFoundError.
func (m *MemBlocks) Size(ctx context.Context, c cid.Cid) (int64, error) {
	b, err := m.Get(ctx, c)
	return int64(len(b.data)), err
}

// Put adds blocks and retains their bytes.
func (m *MemBlocks) Put(_ context.Context, bs ...Block) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.m == nil {
		m.m = make(map[cid.Cid]Block)
	}
	for _, b := range bs {
		if _, ok := m.m[b.cid]; !ok {
			m.bytes += int64(len(b.data))
			m.m[b.cid] = b
		}
	}
	return nil
}

// Delete removes c.
func (m *MemBlocks) Delete(c cid.Cid) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.bytes -= int64(len(m.m[c].data))
	delete(m.m, c)
}

// Len returns the number of blocks and their total size in bytes.
func (m *MemBlocks) Len() (blocks int, bytes int64) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return len(m.m), m.bytes
}
