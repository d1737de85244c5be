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

// Bounds of what lies under roots, in blocks: some 20 bytes of memory for each.
const (
	maxGranted   = 4 << 20
	maxPublished = 16 << 20
)

// A block that was not here is taken to be still away for lookAgain, or longer: looking
// takes at most a tenth of the time.
const lookAgain = time.Second

// reach is the set of blocks that lie under some roots, found by walking what is here.
// It is kept by 64 bits of a hash with a secret seed, of the multihash alone, as a store
// finds a block under any codec.
//
// It is made when it is first asked, and grows as blocks arrive: what was linked to and
// not here is looked for again.
type reach struct {
	max  int
	gate chan struct{} // held by whoever looks or changes; of capacity one, so that waiting ends with a ctx

	seed  maphash.Seed
	keys  map[uint64]struct{}  // of multihashes
	inner map[uint64]struct{}  // of CIDs with possible links: walked, or away
	away  map[cid.Cid]struct{} // those that are not walked yet
	again time.Time            // when away is tried again
	full  bool
}

func newReach(limit int, roots ...cid.Cid) *reach {
	r := &reach{max: limit, gate: make(chan struct{}, 1)}
	r.reset(roots)
	return r
}

func (r *reach) reset(roots []cid.Cid) {
	r.seed, r.full, r.again = maphash.MakeSeed(), false, time.Time{}
	r.keys, r.inner, r.away = map[uint64]struct{}{}, map[uint64]struct{}{}, map[cid.Cid]struct{}{}
	for _, c := range roots {
		r.note(c)
	}
}

// note takes c in, and reports whether it is to be walked, which it says once.
func (r *reach) note(c cid.Cid) bool {
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
	r.inner[f], r.away[c] = struct{}{}, struct{}{}
	return true
}

// set makes roots the only ones. It waits for who looks at the time.
func (r *reach) set(ctx context.Context, roots []cid.Cid) error {
	if err := r.enter(ctx); err != nil {
		return err
	}
	defer r.leave()
	r.reset(roots)
	return nil
}

// add takes one more root in, and all that is below it and here. It is an error when
// the set is full.
func (r *reach) add(ctx context.Context, bs dag.Blocks, root cid.Cid) error {
	if err := r.enter(ctx); err != nil {
		return err
	}
	defer r.leave()
	r.note(root)
	if err := r.walk(ctx, bs); err != nil {
		return err
	}
	if r.full {
		return fmt.Errorf("more than %d blocks are published", r.max)
	}
	return nil
}

// has reports whether c lies under the roots, as far as what is here tells.
func (r *reach) has(ctx context.Context, bs dag.Blocks, c cid.Cid) bool {
	if r.enter(ctx) != nil {
		return false
	}
	defer r.leave()
	k := maphash.Bytes(r.seed, c.Hash())
	if _, ok := r.keys[k]; ok {
		return true
	}
	if len(r.away) == 0 || time.Now().Before(r.again) || r.walk(ctx, bs) != nil {
		return false
	}
	_, ok := r.keys[k]
	return ok
}

// walk follows what is away and has come, as far as ctx lets it; the rest stays away.
func (r *reach) walk(ctx context.Context, bs dag.Blocks) error {
	begun := time.Now()
	todo := make([]cid.Cid, 0, len(r.away))
	for c := range r.away {
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
		delete(r.away, c)
		for _, l := range links {
			if r.note(l) {
				todo = append(todo, l)
			}
		}
	}
	now := time.Now()
	r.again = now.Add(max(lookAgain, 9*now.Sub(begun)))
	return nil
}

// linksOf returns what c links to. A block that is not what its codec says leads nowhere, as one of an unknown codec does:
// what it may lead to is given to no peer for its sake.
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

func (r *reach) enter(ctx context.Context) error {
	select {
	case r.gate <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (r *reach) leave() { <-r.gate }
