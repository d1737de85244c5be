package node

import (
	"context"
	"sync"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/host/store"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
)

// Bounds of the measurements and of the cache.
const (
	coverTime  = 50 * time.Millisecond // for all walks of one call
	maxCovered = 4096                  // roots in the cache
	// restFactor is how long an answer is valid, in multiples of the time of its walk, even though blocks have
	// been put since: so walks take at most a tenth of a core.
	restFactor = 10
)

// coverage returns how much of a DAG the store holds, from its cache if possible. A whole DAG stays whole until
// a collection removes blocks; an incomplete one is measured again after blocks have been put.
type coverage struct {
	store *store.Store
	clock func() time.Time

	mu    sync.Mutex
	known map[string]covered // by the root's multihash and codec
}

// covered is a cached measurement of a root.
type covered struct {
	dag.Coverage
	generation, puts uint64
	until            time.Time // valid until then, even if blocks are put
}

func newCoverage(s *store.Store, clock func() time.Time) *coverage {
	return &coverage{store: s, clock: clock, known: map[string]covered{}}
}

// of measures the DAGs below roots, which takes at most coverTime; what is not measured by then makes the result
// a lower bound. A repeated root counts once.
func (c *coverage) of(ctx context.Context, roots ...cid.Cid) (dag.Coverage, error) {
	sum := dag.Coverage{Exact: true}
	var limited context.Context // created for the first walk
	seen := map[cid.Cid]bool{}
	for _, r := range roots {
		if seen[r] {
			continue
		}
		seen[r] = true
		generation, err := c.store.Generation()
		if err != nil {
			return sum, err
		}
		k, ok := c.lookup(r, generation)
		if !ok {
			if limited == nil {
				var cancel context.CancelFunc
				limited, cancel = context.WithTimeout(ctx, coverTime)
				defer cancel()
			}
			if k, err = c.measure(limited, r, generation); err != nil {
				return sum, err
			}
		}
		sum = sum.Add(k.Coverage)
	}
	if ctx.Err() != nil {
		return sum, context.Cause(ctx)
	}
	return sum, nil
}

func (c *coverage) lookup(root cid.Cid, generation uint64) (covered, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k, ok := c.known[root.KeyString()]
	switch {
	case !ok || k.generation != generation:
		return covered{}, false
	case k.Whole(), k.Exact && k.puts == c.store.Puts():
		return k, true
	}
	return k, c.clock().Before(k.until)
}

// cover asks the store, which has the coverage of whole roots. For other roots it walks the DAG, because the
// walk also finds out how deep the missing blocks are.
func (c *coverage) cover(ctx context.Context, root cid.Cid) (dag.Coverage, error) {
	k, err := c.store.Coverage(ctx, root)
	if err == nil && k.Exact && k.Have == k.Total {
		return dag.Coverage{Have: k.Have, Exact: true}, nil
	}
	if err != nil && ctx.Err() == nil {
		return dag.Coverage{}, err
	}
	return dag.Cover(ctx, c.store, root)
}

func (c *coverage) measure(ctx context.Context, root cid.Cid, generation uint64) (covered, error) {
	k := covered{generation: generation, puts: c.store.Puts()}
	began := c.clock()
	var err error
	if k.Coverage, err = c.cover(ctx, root); err != nil {
		return k, err
	}
	now := c.clock()
	k.until = now.Add(restFactor * now.Sub(began))
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.known) >= maxCovered {
		for name := range c.known { // any entry: measuring again is cheap
			delete(c.known, name)
			break
		}
	}
	c.known[root.KeyString()] = k
	return k, nil
}
