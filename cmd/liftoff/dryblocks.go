//go:build !windows

package main

import (
	"context"
	"sync"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
)

// dryBlocks holds the blocks of a dry run. It never writes to the repo, which may be
// read-only. It keeps all blocks with links, and leaves up to the size of the largest
// module, which is put first; of further leaves it keeps only the CIDs.
type dryBlocks struct {
	dag.Blocks // of the repo

	mu   sync.Mutex
	made dag.MemBlocks
	room int // bytes left for leaves
	left map[cid.Cid]bool
}

func newDryBlocks(repo dag.Blocks) *dryBlocks {
	return &dryBlocks{Blocks: repo, room: maxModule, left: map[cid.Cid]bool{}}
}

func (d *dryBlocks) Put(ctx context.Context, bs ...dag.Block) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, b := range bs {
		n := len(b.Data())
		if b.CID().Type() == cid.Raw && n > d.room {
			d.left[b.CID()] = true
			continue
		}
		if b.CID().Type() == cid.Raw {
			d.room -= n
		}
		if err := d.made.Put(ctx, b); err != nil {
			return err
		}
	}
	return nil
}

func (d *dryBlocks) Get(ctx context.Context, c cid.Cid) (dag.Block, error) {
	if b, err := d.made.Get(ctx, c); err == nil {
		return b, nil
	}
	return d.Blocks.Get(ctx, c)
}

func (d *dryBlocks) Has(ctx context.Context, c cid.Cid) (bool, error) {
	d.mu.Lock()
	isLeft := d.left[c]
	d.mu.Unlock()
	if has, err := d.made.Has(ctx, c); has || isLeft || err != nil {
		return true, err
	}
	return d.Blocks.Has(ctx, c)
}
