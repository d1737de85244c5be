package dag

import (
	"context"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/abi"
)

// Entry is something that was added: a file, a directory or a symlink.
type Entry struct {
	CID   cid.Cid
	Size  uint64 // bytes of content: a file's, or those of all files below a directory
	TSize uint64 // bytes of all blocks below CID and its own, as links to it claim
	Kind  int    // abi.KindRaw, KindFile, KindDirectory or KindSymlink
}

// AddSymlink adds a symlink to target, which is not looked at.
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
