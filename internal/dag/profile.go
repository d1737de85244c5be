package dag

import (
	"fmt"

	"github.com/ipfs/go-cid"
)

// Profile determines the CIDs of files and directories. Writers with the same profile give the same content the same
// CIDs: IPIP-499 (https://github.com/ipfs/specs/pull/499) names the two profiles defined here.
type Profile struct {
	Name       string
	CIDVersion uint64 // 0 or 1
	ChunkSize  int    // leaf size of a file, in bytes
	RawLeaves  bool   // a leaf is a raw block; otherwise a dag-pb block around the data
	FileWidth  int    // maximum number of links of an inner node of a file

	// ShardSize is the size in bytes above which a directory is sharded into a HAMT with Fanout slots per node. With
	// ShardByBlock the size is that of the plain directory's block, otherwise the sum of its names and binary CIDs.
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
	// UnixFSv0 is unixfs-v0-2015, which yields the classic Qm… CIDs: CIDv0, leaves of 256 KiB as dag-pb blocks.
	UnixFSv0 = Profile{
		Name: "unixfs-v0-2015", CIDVersion: 0, ChunkSize: 256 << 10, RawLeaves: false, FileWidth: 174,
		ShardSize: 256 << 10, ShardByBlock: false, Fanout: 256,
	}
)

// ProfileByName returns the profile with that name.
func ProfileByName(name string) (Profile, error) {
	for _, p := range []Profile{UnixFSv1, UnixFSv0} {
		if p.Name == name {
			return p, nil
		}
	}
	return Profile{}, fmt.Errorf("no profile %q: want %s or %s", name, UnixFSv1.Name, UnixFSv0.Name)
}

// node makes a dag-pb block with the profile's CID version.
func (p Profile) node(data []byte) (Block, error) {
	return NewBlockPrefix(cid.Prefix{Version: p.CIDVersion, Codec: cid.DagProtobuf, MhType: hashSHA256, MhLength: -1}, data)
}
