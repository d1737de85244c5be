package node

import (
	"context"
	"sync"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
)

// Bounds of the memory for a run's small blocks, in bytes.
const (
	maxSmall    = 4 << 10
	maxSmallSum = 64 << 10
)

// smallBlocks holds the small blocks that a run puts, while they are few, so that they are committed together
// with the run's other results: an ordinary run writes once.
type smallBlocks struct {
	dag.Blocks

	mu   sync.Mutex
	list []dag.Block
	held map[string]dag.Block // by multihash
	sum  int
	full bool // further blocks are put at once
}

func newSmallBlocks(bs dag.Blocks) *smallBlocks {
	return &smallBlocks{Blocks: bs, held: map[string]dag.Block{}}
}

func (s *smallBlocks) find(c cid.Cid) (dag.Block, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.held[key(c)]
	return b, ok
}

func (s *smallBlocks) Get(ctx context.Context, c cid.Cid) (dag.Block, error) {
	if b, ok := s.find(c); ok {
		return dag.TrustBlock(c, b.Data()), nil
	}
	return s.Blocks.Get(ctx, c)
}

// ReadPart reads a part of a block if the set supports it.
func (s *smallBlocks) ReadPart(ctx context.Context, c cid.Cid, p []byte, off int64) (n int, size int64, err error) {
	if b, held := s.find(c); held {
		return copy(p, b.Data()[min(off, int64(len(b.Data()))):]), int64(len(b.Data())), nil
	}
	return dag.ReadPart(ctx, s.Blocks, c, p, off)
}

func (s *smallBlocks) Has(ctx context.Context, c cid.Cid) (bool, error) {
	if _, ok := s.find(c); ok {
		return true, nil
	}
	return s.Blocks.Has(ctx, c)
}

func (s *smallBlocks) Put(ctx context.Context, bs ...dag.Block) error {
	var on []dag.Block
	s.mu.Lock()
	for _, b := range bs {
		n := len(b.Data())
		if n > maxSmall || s.full {
			on = append(on, b)
			continue
		}
		if _, ok := s.held[key(b.CID())]; !ok {
			s.held[key(b.CID())] = b
			s.list = append(s.list, b)
			s.sum += n
		}
		if s.sum > maxSmallSum {
			s.full = true
			on = append(on, s.list...)
			s.list = nil // held still has them: a reader must not wait for the Put below
		}
	}
	s.mu.Unlock()
	if len(on) == 0 {
		return nil
	}
	return s.Blocks.Put(ctx, on...)
}

// blocks returns the blocks that are held and not put.
func (s *smallBlocks) blocks() []dag.Block {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.list
}

// Prefetch passes the CIDs of the next blocks on to a set that fetches blocks.
func (s *smallBlocks) Prefetch(ctx context.Context, cids []cid.Cid) {
	if p, ok := s.Blocks.(dag.Prefetcher); ok {
		p.Prefetch(ctx, cids)
	}
}
