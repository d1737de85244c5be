package dag

import (
	"context"

	"github.com/ipfs/go-cid"
)

// EntryOf returns the directory entry of c, an existing DAG: TSize is the size of its root block plus the sizes that
// it claims for the blocks below it, so that the result depends only on the root's bytes; it is at most 2^63-1. Size
// is 0.
func EntryOf(ctx context.Context, bs Blocks, c cid.Cid) (Entry, error) {
	b, err := Load(ctx, bs, c)
	if err != nil {
		return Entry{}, err
	}
	e := Entry{CID: c, TSize: uint64(len(b.data))}
	if c.Type() == cid.DagProtobuf {
		n, err := parsePB(b.data)
		if err != nil {
			return Entry{}, formatErrorf(c, "dag-pb: %v", err)
		}
		for _, l := range n.links {
			e.TSize = addSat(e.TSize, l.tsize)
		}
	}
	e.Kind, err = Kind(ctx, bs, c)
	return e, err
}
