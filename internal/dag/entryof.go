package dag

import (
	"context"

	"github.com/ipfs/go-cid"
)

// EntryOf returns what a directory says of c, a DAG that exists already: TSize is the
// size of its root block and what that claims of the blocks below it, so that the
// answer depends on the root's bytes alone, and at most 2^63-1. Size is left 0.
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
