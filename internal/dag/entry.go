package dag

import (
	"context"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/abi"
)

// Entry is an added file, directory or symlink.
type Entry struct {
	CID   cid.Cid
	Size  uint64 // bytes of content: of a file, or of all files below a directory
	TSize uint64 // total bytes of CID's block and of the blocks below it, as claimed by links
	Kind  int    // abi.KindRaw, KindFile, KindDirectory or KindSymlink
}

// AddSymlink adds a symlink to target, which need not exist.
func AddSymlink(ctx context.Context, bs Blocks, target string, p Profile) (Entry, error) {
	b, err := p.node(fsNode{typ: fsSymlink, data: []byte(target)}.encodeAlone())
	if err != nil {
		return Entry{}, err
	}
	if err := bs.Put(ctx, b); err != nil {
		return Entry{}, err
	}
	return Entry{CID: b.cid, Size: uint64(len(target)), TSize: uint64(len(b.data)), Kind: abi.KindSymlink}, nil
}
