package dag

import (
	"context"

	"github.com/ipfs/go-cid"
)

// Prefetcher is what a set of blocks may offer besides, when Get has to wait for some:
// it is told which will be wanted soon, in their order. Prefetch returns at once, fails
// silently, and may be told the same again. Who wraps a Prefetcher and keeps this power
// passes it on with [PrefetcherOf].
type Prefetcher interface {
	Prefetch(ctx context.Context, cids []cid.Cid)
}

// PrefetcherOf returns the Prefetcher that bs is, or one that does nothing.
func PrefetcherOf(bs Blocks) Prefetcher {
	if p, ok := bs.(Prefetcher); ok {
		return p
	}
	return noPrefetch{}
}

type noPrefetch struct{}

func (noPrefetch) Prefetch(context.Context, []cid.Cid) {}
