package exchange

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
)

// Limits of a reach, in blocks; a block takes some 20 bytes of memory.
const (
	maxGranted   = 4 << 20
	maxPublished = 16 << 20
)

// A missing block is not looked for again within retryInterval, or longer: looking takes at most a tenth of the time.
const retryInterval = time.Second

// reach is the set of blocks below some roots, found by a walk of the local blocks. An entry is 64 bits of a hash
// with a secret seed, of the multihash alone, because a store finds a block under any codec.
//
// The first query computes the set, and it grows as blocks arrive: linked blocks that were missing are looked for
// again.
type reach struct {
	max int
	sem chan struct{} // held by a query or a change; a channel of capacity one, so that a wait for it ends with a ctx

	seed    maphash.Seed
	keys    map[uint64]struct{}  // of multihashes
	inner   map[uint64]struct{}  // of CIDs that may have links: walked, or in missing
	missing map[cid.Cid]struct{} // CIDs that are not walked yet
	retryAt time.Time            // earliest time of the next walk of missing
	full    bool
}

func newReach(limit int, roots ...cid.Cid) *reach {
	r := &reach{max: limit, sem: make(chan struct{}, 1)}
	r.reset(roots)
	return r
}

func (r *reach) reset(roots []cid.Cid) {
	r.seed, r.full, r.retryAt = maphash.MakeSeed(), false, time.Time{}
	r.keys, r.inner, r.missing = map[uint64]struct{}{}, map[uint64]struct{}{}, map[cid.Cid]struct{}{}
	for _, c := range roots {
		r.record(c)
	}
}

// record adds c, and reports whether it must be walked. It reports true once per CID.
func (r *reach) record(c cid.Cid) bool {
	if len(r.keys) >= r.max {
		r.full = true
		return false
	}
	r.keys[maphash.Bytes(r.seed, c.Hash())] = struct{}{}
	if !dag.HasLinks(c.Type()) {
		return false
	}
	f := maphash.String(r.seed, c.KeyString())
	if _, known := r.inner[f]; known {
		return false
	}
	r.inner[f], r.missing[c] = struct{}{}, struct{}{}
	return true
}

// set replaces the roots. It waits for a running query.
func (r *reach) set(ctx context.Context, roots []cid.Cid) error {
	if err := r.lock(ctx); err != nil {
		return err
	}
	defer r.unlock()
	r.reset(roots)
	return nil
}

// add adds a root and all local blocks below it. It is an error when the set is full.
func (r *reach) add(ctx context.Context, bs dag.Blocks, root cid.Cid) error {
	if err := r.lock(ctx); err != nil {
		return err
	}
	defer r.unlock()
	r.record(root)
	if err := r.walk(ctx, bs); err != nil {
		return err
	}
	if r.full {
		return fmt.Errorf("publish: more than %d published blocks in total", r.max)
	}
	return nil
}

// has reports whether c is below the roots, by the local blocks.
func (r *reach) has(ctx context.Context, bs dag.Blocks, c cid.Cid) bool {
	if r.lock(ctx) != nil {
		return false
	}
	defer r.unlock()
	k := maphash.Bytes(r.seed, c.Hash())
	if _, ok := r.keys[k]; ok {
		return true
	}
	if len(r.missing) == 0 || time.Now().Before(r.retryAt) || r.walk(ctx, bs) != nil {
		return false
	}
	_, ok := r.keys[k]
	return ok
}

// walk walks the blocks of missing that have arrived, until ctx ends; the others stay in missing.
func (r *reach) walk(ctx context.Context, bs dag.Blocks) error {
	begun := time.Now()
	todo := make([]cid.Cid, 0, len(r.missing))
	for c := range r.missing {
		todo = append(todo, c)
	}
	for len(todo) > 0 {
		c := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		links, err := r.linksOf(ctx, bs, c)
		if missing := (*dag.NotFoundError)(nil); errors.As(err, &missing) {
			continue
		}
		if err != nil {
			return err
		}
		delete(r.missing, c)
		for _, l := range links {
			if r.record(l) {
				todo = append(todo, l)
			}
		}
	}
	now := time.Now()
	r.retryAt = now.Add(max(retryInterval, 9*now.Sub(begun)))
	return nil
}

// linksOf returns the links of c. A block that is malformed, or of an unknown codec, has none: no peer may have a
// block because of it.
func (r *reach) linksOf(ctx context.Context, bs dag.Blocks, c cid.Cid) ([]cid.Cid, error) {
	b, err := dag.Load(ctx, bs, c)
	if damaged := (*dag.DamagedError)(nil); errors.As(err, &damaged) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	links, err := dag.Links(b)
	if err != nil {
		return nil, nil
	}
	return links, nil
}

func (r *reach) lock(ctx context.Context) error {
	select {
	case r.sem <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (r *reach) unlock() { <-r.sem }
