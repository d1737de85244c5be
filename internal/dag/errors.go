package dag

import (
	"fmt"

	"github.com/ipfs/go-cid"
)

// FormatError means that a block matches its CID, but is not valid for its codec or its place in a DAG: malformed
// bytes, inconsistent sizes, a bad directory.
type FormatError struct {
	CID    cid.Cid
	Reason string
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("block %s is malformed: %s", e.CID, e.Reason)
}

func formatErrorf(c cid.Cid, format string, a ...any) error {
	return &FormatError{c, fmt.Sprintf(format, a...)}
}

// UnsupportedError means that the hash function or codec of a CID is not supported.
type UnsupportedError struct {
	CID  cid.Cid
	What string
}

func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("%s: %s is not supported", e.CID, e.What)
}

// TooBigError means that a block is larger than Max bytes. CID is undefined if the block has no CID yet.
type TooBigError struct {
	CID       cid.Cid
	Size, Max int
}

func (e *TooBigError) Error() string {
	if !e.CID.Defined() {
		return fmt.Sprintf("block of %d bytes is over the limit of %d", e.Size, e.Max)
	}
	return fmt.Sprintf("block %s has %d bytes, over the limit of %d", e.CID, e.Size, e.Max)
}

// NotFileError means that CID is not a file; Is describes what it is.
type NotFileError struct {
	CID cid.Cid
	Is  string
}

func (e *NotFileError) Error() string { return fmt.Sprintf("%s is %s, not a file", e.CID, e.Is) }

// NotDirError means that an entry was looked up in CID, which is not a directory.
type NotDirError struct {
	CID cid.Cid
	Is  string
}

func (e *NotDirError) Error() string { return fmt.Sprintf("%s is %s, not a directory", e.CID, e.Is) }

// NoEntryError means that Path, which exists, has no entry Name.
type NoEntryError struct {
	Path string
	Name string
}

func (e *NoEntryError) Error() string { return fmt.Sprintf("%s has no entry %q", e.Path, e.Name) }

// PathError describes why Path is invalid.
type PathError struct {
	Path   string
	Reason string
}

func (e *PathError) Error() string { return fmt.Sprintf("invalid path %q: %s", e.Path, e.Reason) }
