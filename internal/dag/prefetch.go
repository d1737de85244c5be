package dag

import (
	"context"

	"github.com/ipfs/go-cid"
)

// Prefetcher is an optional interface of a set of blocks whose Get may have to wait: Prefetch announces which blocks
// will be needed soon, in order. It returns at once, fails silently, and may get the same CIDs again. A wrapper of a
// set of blocks must forward it.
type Prefetcher interface {
	Prefetch(ctx context.Context, cids []cid.Cid)
}
