package dag

import (
	"fmt"

	"github.com/ipfs/go-cid"
)

// FormatError says that a block hashes to its name and yet is not what its codec,
// or its place in a DAG, wants: malformed bytes, sizes that lie, a bad directory.
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

// UnsupportedError says that a CID uses a hash function or a codec that is not served.
type UnsupportedError struct {
	CID  cid.Cid
	What string
}

func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("%s: %s is not supported", e.CID, e.What)
}

// TooBigError says that a block is larger than Max bytes. CID is undefined for a
// block that has no name yet.
type TooBigError struct {
	CID       cid.Cid
	Size, Max int
}

func (e *TooBigError) Error() string {
	if !e.CID.Defined() {
		return fmt.Sprintf("a block of %d bytes is over the limit of %d", e.Size, e.Max)
	}
	return fmt.Sprintf("block %s has %d bytes, over the limit of %d", e.CID, e.Size, e.Max)
}

// NotFileError says that CID is not a file: Is says what it is.
type NotFileError struct {
	CID cid.Cid
	Is  string
}

func (e *NotFileError) Error() string { return fmt.Sprintf("%s is %s, not a file", e.CID, e.Is) }

// NotDirError says that something was looked for below CID, which is not a directory.
type NotDirError struct {
	CID cid.Cid
	Is  string
}

func (e *NotDirError) Error() string { return fmt.Sprintf("%s is %s, not a directory", e.CID, e.Is) }

// NoEntryError says that Path, which exists, has no entry Name.
type NoEntryError struct {
	Path string
	Name string
}

func (e *NoEntryError) Error() string { return fmt.Sprintf("%s has no entry %q", e.Path, e.Name) }

// PathError says why Path cannot be a path.
type PathError struct {
	Path   string
	Reason string
}

func (e *PathError) Error() string { return fmt.Sprintf("%q is not a path: %s", e.Path, e.Reason) }
