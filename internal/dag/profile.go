package dag

import (
	"fmt"

	"github.com/ipfs/go-cid"
)

// Profile fixes everything that decides which CIDs files and directories get. Two
// writers with one profile give the same CIDs to the same content: IPIP-499
// (https://github.com/ipfs/specs/pull/499) names the two that exist here.
type Profile struct {
	Name       string
	CIDVersion uint64 // 0 or 1
	ChunkSize  int    // bytes of a leaf of a file
	RawLeaves  bool   // a leaf is a raw block; else a dag-pb block around the data
	FileWidth  int    // most links of an inner node of a file

	// ShardSize is the size, in bytes, beyond which a directory is sharded into a
	// HAMT of Fanout slots a node. With ShardByBlock the size is that of the plain
	// directory's block, else the sum of its names and binary CIDs.
	ShardSize    int
	ShardByBlock bool
	Fanout       int
}

var (
	// UnixFSv1 is unixfs-v1-2025: CIDv1, leaves of 1 MiB as raw blocks.
	UnixFSv1 = Profile{
		Name: "unixfs-v1-2025", CIDVersion: 1, ChunkSize: 1 << 20, RawLeaves: true, FileWidth: 1024,
		ShardSize: 256 << 10, ShardByBlock: true, Fanout: 256,
	}
	// UnixFSv0 is unixfs-v0-2015, which gives the classic Qm… CIDs: CIDv0, leaves of
	// 256 KiB as dag-pb blocks.
	UnixFSv0 = Profile{
		Name: "unixfs-v0-2015", CIDVersion: 0, ChunkSize: 256 << 10, RawLeaves: false, FileWidth: 174,
		ShardSize: 256 << 10, ShardByBlock: false, Fanout: 256,
	}
)

// ProfileByName returns the profile of that name.
func ProfileByName(name string) (Profile, error) {
	for _, p := range []Profile{UnixFSv1, UnixFSv0} {
		if p.Name == name {
			return p, nil
		}
	}
	return Profile{}, fmt.Errorf("no profile %q: there are %s and %s", name, UnixFSv1.Name, UnixFSv0.Name)
}

// node names a dag-pb block as the profile wants.
func (p Profile) node(data []byte) (Block, error) {
	return NewBlockPrefix(cid.Prefix{Version: p.CIDVersion, Codec: cid.DagProtobuf, MhType: hashSHA256, MhLength: -1}, data)
}
