package dag

import (
	"context"

	"github.com/ipfs/go-cid"
)

// Prefetcher is what a set of blocks may offer besides, when Get has to wait for some:
// it is told which will be wanted soon, in their order. Prefetch returns at once, fails
// silently, and may be told the same again. Who wraps a set of blocks passes it on.
type Prefetcher interface {
	Prefetch(ctx context.Context, cids []cid.Cid)
}
