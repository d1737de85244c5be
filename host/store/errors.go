package store

import (
	"errors"
	"fmt"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
)

// ErrLocked means that another process owns the repo.
var ErrLocked = errors.New("repo is in use by another process")

// ErrClosed means that the Store or the Session is closed.
var ErrClosed = errors.New("block store is closed")

var (
	errUndefined = errors.New("block without a CID")
	errNotFolder = errors.New("not a folder")
)

// VersionError means that the repo's format is not supported.
type VersionError struct {
	Dir        string
	Have, Want int
}

func (e *VersionError) Error() string {
	if e.Have > e.Want {
		return fmt.Sprintf("repo %s has format %d, but this liftoff supports formats up to %d: use a newer liftoff",
			e.Dir, e.Have, e.Want)
	}
	return fmt.Sprintf("repo %s has unknown format %d: liftoff supports 1 to %d", e.Dir, e.Have, e.Want)
}

// ForeignError means that a folder is not a repo; it was left unchanged.
type ForeignError struct {
	Dir string
	Why string
}

func (e *ForeignError) Error() string { return fmt.Sprintf("%s is not a repo: %s", e.Dir, e.Why) }

// ReadOnlyError means that the repo cannot be written to.
type ReadOnlyError struct{ Dir string }

func (e *ReadOnlyError) Error() string { return fmt.Sprintf("repo %s is read-only", e.Dir) }

// PinNotFoundError means that no pin has that name.
type PinNotFoundError struct{ Name string }

func (e *PinNotFoundError) Error() string { return fmt.Sprintf("there is no pin %q", e.Name) }

// PinError means that a pin cannot be read. Collections refuse to run until it is repaired or removed: the blocks
// that it retains are unknown.
type PinError struct {
	File string
	Why  string
}

func (e *PinError) Error() string { return fmt.Sprintf("pin file %s is damaged: %s", e.File, e.Why) }

// OpaqueError means that a pin retains a block whose links cannot be read, and that nothing lists what belongs to it.
type OpaqueError struct {
	Pin string
	Why error // names the block
}

func (e *OpaqueError) Error() string {
	return fmt.Sprintf("pin %q: links of a block cannot be read: %v", e.Pin, e.Why)
}
func (e *OpaqueError) Unwrap() error { return e.Why }

// blockError converts a storage error to one about block c.
func blockError(c cid.Cid, doing string, err error) error {
	var bad *badFileError
	var attached *AttachedError
	switch {
	case errors.Is(err, errAbsent):
		return &dag.NotFoundError{CID: c}
	case errors.As(err, &attached):
		of := *attached
		of.CID = c
		return &of
	case errors.As(err, &bad):
		return &dag.DamagedError{CID: c, Where: bad.File}
	}
	return fmt.Errorf("%s block %s: %w", doing, c, err)
}
