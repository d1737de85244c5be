package node

import (
	"context"
	"sync"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
)

// confined is the repo's blocks as the job of a peer sees them, if that peer may not receive all blocks: those
// that it may receive, and those that were put for the job. The latter are the blocks that the run has created
// and those that the peer itself has sent: any other block that the job names has to come from the peer, whether
// the repo has it or not. So a job gives no block to its requester that an exchange would not give.
//
// Its methods may be called from several goroutines.
type confined struct {
	session confinable
	allowed func(context.Context, cid.Cid) bool

	mu  sync.Mutex
	own map[string]bool // by multihash: put for the job
}

// confinable is the interface of a store's session that confined wraps.
type confinable interface {
	dag.Blocks
	dag.Sizer
	dag.PartReader
}

var _ confinable = (*confined)(nil)

func newConfined(s confinable, allowed func(context.Context, cid.Cid) bool) *confined {
	return &confined{session: s, allowed: allowed, own: map[string]bool{}}
}

// check returns a *dag.NotFoundError if c is hidden from the job.
func (b *confined) check(ctx context.Context, c cid.Cid) error {
	b.mu.Lock()
	own := b.own[key(c)]
	b.mu.Unlock()
	if own || dag.IsIdentity(c) || b.allowed(ctx, c) {
		return nil
	}
	return &dag.NotFoundError{CID: c}
}

func (b *confined) Get(ctx context.Context, c cid.Cid) (dag.Block, error) {
	if err := b.check(ctx, c); err != nil {
		return dag.Block{}, err
	}
	return b.session.Get(ctx, c)
}

func (b *confined) Has(ctx context.Context, c cid.Cid) (bool, error) {
	if b.check(ctx, c) != nil {
		return false, nil
	}
	return b.session.Has(ctx, c)
}

func (b *confined) Size(ctx context.Context, c cid.Cid) (int64, error) {
	if err := b.check(ctx, c); err != nil {
		return 0, err
	}
	return b.session.Size(ctx, c)
}

func (b *confined) ReadPart(ctx context.Context, c cid.Cid, p []byte, off int64) (n int, size int64, err error) {
	if err := b.check(ctx, c); err != nil {
		return 0, 0, err
	}
	return b.session.ReadPart(ctx, c, p, off)
}

func (b *confined) Put(ctx context.Context, bs ...dag.Block) error {
	if err := b.session.Put(ctx, bs...); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, bl := range bs {
		b.own[key(bl.CID())] = true
	}
	return nil
}
