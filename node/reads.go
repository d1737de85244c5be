package node

import (
	"context"
	"sync"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

// reads is the block set that one run sees. It counts the distinct blocks of the inputs that are read: neither
// blocks of the module nor blocks that the run has put.
type reads struct {
	dag.Blocks

	mu   sync.Mutex
	seen map[string]bool // by multihash: blocks read, or put by the run
	mod  map[string]bool // by multihash: blocks of the module, as far as it has been read
	sum  api.Read
}

// newReads counts the blocks read from bs. Blocks of inputs count even where they also belong to the module.
func newReads(bs dag.Blocks, mod cid.Cid, inputs []cid.Cid) *reads {
	r := &reads{Blocks: bs, seen: map[string]bool{}, mod: map[string]bool{key(mod): true}}
	for _, c := range inputs {
		delete(r.mod, key(c))
	}
	return r
}

func key(c cid.Cid) string { return string(c.Hash()) }

func (r *reads) Get(ctx context.Context, c cid.Cid) (dag.Block, error) {
	b, err := r.Blocks.Get(ctx, c)
	if err == nil {
		r.count(b)
	}
	return b, err
}

// ReadPart reads a part of a block if the set supports it; a block that was not read before is read whole, so
// that it is counted, and its links followed if it belongs to the module.
func (r *reads) ReadPart(ctx context.Context, c cid.Cid, p []byte, off int64) (n int, size int64, err error) {
	parts, ok := r.Blocks.(dag.PartReader)
	if ok && (r.known(c) || c.Type() == cid.Raw && !r.ofModule(c)) {
		n, size, err = parts.ReadPart(ctx, c, p, off)
		if err == nil {
			r.countLeaf(c, size)
		}
		return n, size, err
	}
	b, err := r.Get(ctx, c)
	if err != nil {
		return 0, 0, err
	}
	return copy(p, b.Data()[min(off, int64(len(b.Data()))):]), int64(len(b.Data())), nil
}

func (r *reads) known(c cid.Cid) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seen[key(c)]
}

func (r *reads) ofModule(c cid.Cid) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mod[key(c)]
}

// countLeaf counts a block without links that belongs to an input.
func (r *reads) countLeaf(c cid.Cid, size int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if k := key(c); !r.seen[k] {
		r.seen[k] = true
		r.sum.Blocks++
		r.sum.Bytes += size
	}
}

func (r *reads) count(b dag.Block) {
	k := key(b.CID())
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seen[k] {
		return
	}
	r.seen[k] = true
	if !r.mod[k] {
		r.sum.Blocks++
		r.sum.Bytes += int64(len(b.Data()))
		return
	}
	links, err := dag.Links(b)
	if err != nil {
		return // the reader of the module reports it
	}
	for _, l := range links {
		r.mod[key(l)] = true
	}
}

func (r *reads) Put(ctx context.Context, bs ...dag.Block) error {
	r.mu.Lock()
	for _, b := range bs {
		r.seen[key(b.CID())] = true
	}
	r.mu.Unlock()
	return r.Blocks.Put(ctx, bs...)
}

func (r *reads) total() api.Read {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sum
}

// Prefetch passes the CIDs of the next blocks on to a set that fetches blocks.
func (r *reads) Prefetch(ctx context.Context, cids []cid.Cid) {
	if p, ok := r.Blocks.(dag.Prefetcher); ok {
		p.Prefetch(ctx, cids)
	}
}
