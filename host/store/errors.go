package store

import (
	"errors"
	"fmt"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
)

// ErrLocked says that another process owns the repo.
var ErrLocked = errors.New("the repo is in use by another process")

// ErrClosed says that the Store, or the Session, is closed.
var ErrClosed = errors.New("the store is closed")

var (
	errUndefined = errors.New("a block without a CID")
	errNotFolder = errors.New("it is not a folder")
)

// VersionError says that a repo's format is not one that this program knows.
type VersionError struct {
	Dir        string
	Have, Want int
}

func (e *VersionError) Error() string {
	if e.Have > e.Want {
		return fmt.Sprintf("repo %s has format %d and this liftoff knows formats up to %d: use a newer liftoff",
			e.Dir, e.Have, e.Want)
	}
	return fmt.Sprintf("repo %s has format %d, which there is not: liftoff knows 1 to %d", e.Dir, e.Have, e.Want)
}

// ForeignError says that a folder which should be a repo is something else; nothing
// was written to it.
type ForeignError struct {
	Dir string
	Why string
}

func (e *ForeignError) Error() string { return fmt.Sprintf("%s is not a repo: %s", e.Dir, e.Why) }

// ReadOnlyError says that nothing can be written to the repo.
type ReadOnlyError struct{ Dir string }

func (e *ReadOnlyError) Error() string { return fmt.Sprintf("repo %s is read-only", e.Dir) }

// PinNotFoundError says that there is no pin of that name.
type PinNotFoundError struct{ Name string }

func (e *PinNotFoundError) Error() string { return fmt.Sprintf("there is no pin %q", e.Name) }

// PinError says that a file among the pins cannot be read as one. Until it is repaired
// or removed nothing is collected: what it kept is not known.
type PinError struct {
	File string
	Why  string
}

func (e *PinError) Error() string { return fmt.Sprintf("pin file %s is damaged: %s", e.File, e.Why) }

// OpaqueError says that a pin keeps a block whose links cannot be read, and that nothing says what belongs to it.
type OpaqueError struct {
	Pin string
	Why error // names the block
}

func (e *OpaqueError) Error() string {
	return fmt.Sprintf("pin %q: what it keeps is not all known: %v", e.Pin, e.Why)
}
func (e *OpaqueError) Unwrap() error { return e.Why }

// named turns an error of the storage into one about the block c.
func named(c cid.Cid, doing string, err error) error {
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
