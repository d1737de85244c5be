// Package dag handles content-addressed data without a disk or a network: blocks and their links, reading and writing
// UnixFS files and directories, paths, and CAR framing, all on top of the small interface [Blocks].
//
// One rule: a [Block] is only made by hashing its bytes ([NewBlock], [CheckBlock]) or by a store that vouches for
// them ([TrustBlock]), so wrong bytes cannot have a correct CID.
//
// dag-pb, UnixFS and its sharded directories are implemented here, with limits for hostile input, and tests compare
// them with Kubo's CIDs; boxo's implementation would add process-wide settings, preloads of ten children and 160 more
// packages.
package dag

import (
	"context"
	"fmt"

	"github.com/ipfs/go-cid"
)

// Blocks is a set of blocks: a store on disk or in memory, a store of another process, or a view of a network. All
// methods may be called concurrently.
type Blocks interface {
	// Get returns block c. The error is a *NotFoundError if the set does not have it, and a *DamagedError if its
	// bytes do not match c. The caller must not change the block's bytes.
	Get(ctx context.Context, c cid.Cid) (Block, error)
	// Has reports whether Get would find c, without reading it.
	Has(ctx context.Context, c cid.Cid) (bool, error)
	// Put adds blocks; adding an existing block is not an error. The set may retain the blocks' bytes: the caller
	// must not change them afterwards.
	Put(ctx context.Context, bs ...Block) error
}

// Block is bytes with the CID that names them. The zero Block is invalid.
type Block struct {
	cid  cid.Cid
	data []byte
}

// CID returns the block's CID.
func (b Block) CID() cid.Cid { return b.cid }

// Data returns the block's bytes, which the caller must not change.
func (b Block) Data() []byte { return b.data }

// NotFoundError means that a set of blocks does not have CID.
type NotFoundError struct{ CID cid.Cid }

func (e *NotFoundError) Error() string { return fmt.Sprintf("block %s is not here", e.CID) }

// DamagedError means that the stored bytes do not match CID.
type DamagedError struct {
	CID   cid.Cid
	Where string // the file that contains them, or ""
}

func (e *DamagedError) Error() string {
	if e.Where == "" {
		return fmt.Sprintf("block %s is damaged", e.CID)
	}
	return fmt.Sprintf("block %s is damaged (in %s)", e.CID, e.Where)
}

// TrustBlock makes a Block of bytes that are known to hash to c: a store calls it after its own check. All other
// bytes must go through [CheckBlock].
func TrustBlock(c cid.Cid, data []byte) Block { return Block{c, data} }
