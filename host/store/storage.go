package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/multiformats/go-multihash"
)

// maxKey is the maximum length in bytes of a multihash: it suffices for 512-bit digests and fits into file names of
// all file systems.
const maxKey = 128

// storage stores bytes by multihash. It separates a repo's contract from the layout on disk: it handles no CIDs, pins
// or sessions, and Store handles none of its files. [segmentStorage] stores blocks in a few large files, [ledgerStorage]
// small blocks in the ledger, [fileStorage] each block in its own file, as in repos of the first format;
// [combinedStorage] combines them. The suite in storage_test.go tests all of them.
//
// All methods may be called concurrently. If a process is killed inside any of them, the storage can be opened again,
// and each key is complete or absent.
type storage interface {
	// Get returns a copy of the bytes of key, errAbsent, or a *badFileError if they are not the bytes that were put.
	Get(key multihash.Multihash) ([]byte, error)
	// Size returns the size of key's bytes without reading them, or errAbsent.
	Size(key multihash.Multihash) (int64, error)
	// Put stores data under key and does not retain the slice. If an intact copy exists, it writes nothing. After an
	// error the storage is unchanged.
	Put(key multihash.Multihash, data []byte) error
	// Delete removes key. Deleting an absent key is not an error.
	Delete(key multihash.Multihash) error
	// Each calls fn for every entry. It stops at the first error of fn and returns it. Entries put or deleted during
	// the iteration may or may not be visible. fn may call every other method.
	Each(ctx context.Context, fn func(entry) error) error
	// Sync returns when all earlier puts would survive a power loss.
	Sync() error
	// Where returns the location of key's bytes, for display.
	Where(key multihash.Multihash) string
	// Close closes the storage's files. No call may be in progress.
	Close() error
}

// partReader is an optional interface of a storage.
type partReader interface {
	// ReadPart copies the bytes of key from off into p. It returns how many it copied and the size of key's bytes.
	// Otherwise it is like Get; a read of all bytes checks them as Get does.
	ReadPart(key multihash.Multihash, p []byte, off int64) (n int, size int64, err error)
}

// readPart reads a part of a block from any storage.
func readPart(s storage, key multihash.Multihash, p []byte, off int64) (n int, size int64, err error) {
	if r, ok := s.(partReader); ok {
		return r.ReadPart(key, p, off)
	}
	b, err := s.Get(key)
	if err != nil {
		return 0, 0, err
	}
	return copyPart(p, b, off)
}

// entry is one item of a storage.
type entry struct {
	Key   multihash.Multihash // nil: not a block; it should not be there
	Where string
	Size  int64 // size of the data, as far as known without reading it
	Err   error // with a nil Key: a damaged place whose blocks are unknown
}

var errAbsent = errors.New("block not found in repo")

// badFileError means that a file does not hold what was written to it.
type badFileError struct {
	File string
	Why  string
}

func (e *badFileError) Error() string { return fmt.Sprintf("%s: %s", e.File, e.Why) }
