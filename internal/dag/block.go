// Package dag is content-addressed data without a disk or a network: blocks and
// their links, UnixFS files and directories in and out, paths, and CAR framing,
// all over the small interface [Blocks].
//
// One rule keeps it honest: a [Block] can only be made by hashing its bytes
// ([NewBlock], [CheckBlock]) or by a store that vouches for them ([TrustBlock]),
// so wrong bytes cannot travel under a right name.
//
// dag-pb, UnixFS and its sharded directories are read and written here, bounded for
// hostile input and held to Kubo's CIDs by tests; boxo's own would bring its
// process-wide settings, ten-child preloads and 160 packages more.
package dag

import (
	"context"
	"fmt"

	"github.com/ipfs/go-cid"
)

// Blocks is a set of blocks: a store on disk, one in memory, another process's, or
// a view of a network. All methods may be called from several goroutines.
type Blocks interface {
	// Get returns the block named c. The error is a *NotFoundError when the set does
	// not have it and a *DamagedError when what it has is not what c names.
	// The caller must not change the block's bytes.
	Get(ctx context.Context, c cid.Cid) (Block, error)
	// Has reports whether Get would find c, without reading it.
	Has(ctx context.Context, c cid.Cid) (bool, error)
	// Put adds blocks; one that is there already is no error. The set may keep the
	// blocks' bytes: the caller must not change them afterwards.
	Put(ctx context.Context, bs ...Block) error
}

// Block is bytes and the CID that names them. The zero Block is invalid.
type Block struct {
	cid  cid.Cid
	data []byte
}

// CID returns the block's name.
func (b Block) CID() cid.Cid { return b.cid }

// Data returns the block's bytes, which the caller must not change.
func (b Block) Data() []byte { return b.data }

// NotFoundError says that a set of blocks does not have CID.
type NotFoundError struct{ CID cid.Cid }

func (e *NotFoundError) Error() string { return fmt.Sprintf("block %s is not here", e.CID) }

// DamagedError says that the bytes kept for CID are not the ones that it names.
type DamagedError struct {
	CID   cid.Cid
	Where string // the file that holds them, or ""
}

func (e *DamagedError) Error() string {
	if e.Where == "" {
		return fmt.Sprintf("block %s is damaged", e.CID)
	}
	return fmt.Sprintf("block %s is damaged (in %s)", e.CID, e.Where)
}

// TrustBlock makes a Block of bytes that are known to hash to c: a store calls it
// after its own check. Bytes from anywhere else go through [CheckBlock].
func TrustBlock(c cid.Cid, data []byte) Block { return Block{c, data} }
