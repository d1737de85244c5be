package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/multiformats/go-multihash"
)

// maxKey is the length in bytes of the longest multihash that is kept: room for
// digests of 512 bits and then some, and for file names of any file system.
const maxKey = 128

// storage keeps bytes under multihashes. It is the seam between what a repo promises
// and how bytes lie on disk: it knows no CID, no pin and no session, and Store knows
// no file of it. [segments] keeps blocks in a few large files, [records] small ones in the
// ledger, [files], as repos of the first format have it, each in a file of its own; [layers]
// joins them. The suite in storage_test.go is what each of them passes.
//
// All methods may be called from several goroutines. A process that is killed inside
// any of them leaves a storage that opens, and in which each key is whole or absent.
type storage interface {
	// Get returns the bytes of key, which are the caller's. errAbsent when there are
	// none, *badFileError when they are not the ones that were put.
	Get(key multihash.Multihash) ([]byte, error)
	// Size returns how many bytes key has, without reading them, or errAbsent.
	Size(key multihash.Multihash) (int64, error)
	// Put keeps data, which it does not retain, under key. When they are there already
	// and undamaged nothing is written. After an error the storage is as before.
	Put(key multihash.Multihash, data []byte) error
	// Delete removes key; one that is absent is no error.
	Delete(key multihash.Multihash) error
	// Each calls fn for every entry, and stops at its first error, which it returns. What is put or
	// deleted meanwhile may or may not be seen. fn may call every other method.
	Each(ctx context.Context, fn func(entry) error) error
	// Sync returns when all that was put before it would survive a loss of power.
	Sync() error
	// Where names the place of key's bytes, for people.
	Where(key multihash.Multihash) string
	// Close gives up what the storage has open. No call is in progress.
	Close() error
}

// partReader is what a storage may offer besides.
type partReader interface {
	// ReadPart copies the bytes of key from off into p and returns how many, and how many bytes
	// key has. Otherwise it is like Get; what is read whole is checked.
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

// entry is one thing that a storage holds.
type entry struct {
	Key   multihash.Multihash // nil: not a block, which should not be there
	Where string
	Size  int64 // bytes of data, as far as can be told without reading them
	Err   error // with a nil Key: a place in which blocks were and cannot be told any more
}

var errAbsent = errors.New("absent")

// badFileError says that a file does not hold what was written to it.
type badFileError struct {
	File string
	Why  string
}

func (e *badFileError) Error() string { return fmt.Sprintf("%s: %s", e.File, e.Why) }
