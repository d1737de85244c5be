package dag

import (
	"context"

	"github.com/ipfs/go-cid"
)

func cids(cs ...cid.Cid) []cid.Cid { return cs }

// dropBlocks accepts blocks and drops them.
type dropBlocks struct{}

func (dropBlocks) Get(_ context.Context, c cid.Cid) (Block, error) { return Block{}, &NotFoundError{c} }
func (dropBlocks) Has(context.Context, cid.Cid) (bool, error)      { return false, nil }
func (dropBlocks) Put(context.Context, ...Block) error             { return nil }

// watchBlocks records which blocks were read.
type watchBlocks struct {
	MemBlocks
	gets []cid.Cid
}

func (w *watchBlocks) Get(ctx context.Context, c cid.Cid) (Block, error) {
	w.gets = append(w.gets, c)
	return w.MemBlocks.Get(ctx, c)
}

// put makes a block, stores it in bs and returns its CID.
func put(bs Blocks, codec uint64, data []byte) cid.Cid {
	b := NewBlock(codec, data)
	if err := bs.Put(context.Background(), b); err != nil {
		panic(err)
	}
	return b.CID()
}

// putFS stores a dag-pb block with a UnixFS message and links.
func putFS(bs Blocks, n fsNode, links ...pbLink) cid.Cid {
	return put(bs, cid.DagProtobuf, pbNode{data: n.encode(), links: links}.encode())
}
