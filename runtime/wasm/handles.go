package wasm

import (
	"crypto/sha256"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/abi"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
)

// Limits of the host's memory for one guest. Beyond them calls answer MFILE: like the number of
// handles, they belong to the ABI and are the same everywhere.
const (
	maxWriters = 64      // unfinished files at once, each with a chunk in memory
	maxIssued  = 1 << 22 // distinct CIDs that a run may be given handles of
)

// object is the target of a handle: a block that the guest may read, with everything below it,
// or a file that the guest is writing.
type object struct {
	cid    cid.Cid         // undefined while the file is being written
	entry  dag.Entry       // the directory entry: of a finished file, and of an attached object
	writer *dag.FileWriter // for an unfinished file; else nil
}

// handles are the guest's only authority. Their numbers are sequential and never reused; the
// CIDs that were ever issued are remembered, as digests, because only those may be linked.
type handles struct {
	live    map[uint32]*object
	next    uint64
	writers int
	issued  map[[16]byte]struct{}
}

func newHandles() handles {
	return handles{live: map[uint32]*object{}, issued: map[[16]byte]struct{}{}}
}

// add issues the next handle to o.
func (hs *handles) add(o *object) (uint32, abi.Errno) {
	if len(hs.live) >= abi.MaxHandles || hs.next > 1<<32-1 || o.writer != nil && hs.writers >= maxWriters {
		return 0, abi.MFILE
	}
	if o.writer != nil {
		hs.writers++
	} else if !hs.issue(o.cid) {
		return 0, abi.MFILE
	}
	h := uint32(hs.next)
	hs.next++
	hs.live[h] = o
	return h, 0
}

func issuedKey(c cid.Cid) [16]byte {
	d := sha256.Sum256([]byte(c.KeyString()))
	return [16]byte(d[:16])
}

// issue records that the guest holds c. It reports false if the limit is reached.
func (hs *handles) issue(c cid.Cid) bool {
	k := issuedKey(c)
	if _, ok := hs.issued[k]; ok {
		return true
	}
	if len(hs.issued) >= maxIssued {
		return false
	}
	hs.issued[k] = struct{}{}
	return true
}

// held reports whether a handle of c was issued in this run.
func (hs *handles) held(c cid.Cid) bool {
	_, ok := hs.issued[issuedKey(c)]
	return ok
}

// readable returns the object of h if it has a CID.
func (hs *handles) readable(h uint32) (*object, abi.Errno) {
	o := hs.live[h]
	if o == nil || o.writer != nil {
		return nil, abi.BADF
	}
	return o, 0
}

// writable returns the unfinished file of h.
func (hs *handles) writable(h uint32) (*object, abi.Errno) {
	o := hs.live[h]
	if o == nil || o.writer == nil {
		return nil, abi.BADF
	}
	return o, 0
}

// finished turns o, an unfinished file, into the finished file e.
func (hs *handles) finished(o *object, e dag.Entry) abi.Errno {
	if !hs.issue(e.CID) {
		return abi.MFILE
	}
	o.cid, o.entry, o.writer = e.CID, e, nil
	hs.writers--
	return 0
}

// close removes h.
func (hs *handles) close(h uint32) abi.Errno {
	o := hs.live[h]
	if o == nil {
		return abi.BADF
	}
	if o.writer != nil {
		hs.writers--
	}
	delete(hs.live, h)
	return 0
}
