package store

import (
	"bytes"
	"context"
	"errors"

	"github.com/multiformats/go-multihash"

	"github.com/ipfs-liftoff/liftoff/host/store/ledger"
)

// Prefixes of the ledger's keys.
const (
	blockKey      = "b" // then a multihash: the block's bytes
	pinKey        = "p" // then a pin's name: the Pin as JSON
	recordKey     = "n" // then a record's name: a value of the node
	generationKey = "g" // the generation number; see Store.Generation
)

// ledgerStorage is the storage of small blocks in the ledger.
type ledgerStorage struct{ ledger *ledger.Ledger }

var _ storage = ledgerStorage{}

func (r ledgerStorage) Get(key multihash.Multihash) ([]byte, error) {
	b, err := r.ledger.Get(blockKey + string(key))
	return b, r.explain(err)
}

func (r ledgerStorage) Size(key multihash.Multihash) (int64, error) {
	n, err := r.ledger.Size(blockKey + string(key))
	return n, r.explain(err)
}

// explain converts the ledger's errors to storage errors.
func (r ledgerStorage) explain(err error) error {
	var bad *ledger.DamageError
	switch {
	case errors.Is(err, ledger.ErrAbsent):
		return errAbsent
	case errors.As(err, &bad):
		return &badFileError{bad.File, bad.Why}
	}
	return err
}

func (r ledgerStorage) Put(key multihash.Multihash, data []byte) error {
	if r.has(key, data) {
		return nil
	}
	return r.ledger.Write(ledger.Entry{Key: blockKey + string(key), Value: data})
}

// has reports whether an intact copy of data is stored.
func (r ledgerStorage) has(key multihash.Multihash, data []byte) bool {
	if n, err := r.Size(key); err != nil || n != int64(len(data)) {
		return false
	}
	b, err := r.Get(key)
	return err == nil && bytes.Equal(b, data)
}

func (r ledgerStorage) Delete(key multihash.Multihash) error {
	_, err := r.Size(key)
	if errors.Is(err, errAbsent) {
		return nil
	}
	return r.ledger.WriteFor(ledger.Collection, ledger.Entry{Key: blockKey + string(key), Delete: true})
}

func (r ledgerStorage) Each(ctx context.Context, fn func(entry) error) error {
	return r.ledger.Each(ctx, blockKey, func(i ledger.Item) error {
		if i.Err != nil {
			return fn(entry{Where: i.Where, Err: i.Err})
		}
		key, err := multihash.Cast([]byte(i.Key[len(blockKey):]))
		if err != nil {
			return fn(entry{Where: i.Where}) // not a block
		}
		return fn(entry{Key: key, Where: i.Where, Size: i.Size})
	})
}

func (r ledgerStorage) Sync() error { return r.ledger.Sync() }
func (r ledgerStorage) Where(key multihash.Multihash) string {
	return r.ledger.Where(blockKey + string(key))
}
func (r ledgerStorage) Close() error { return r.ledger.Close() }

// combinedStorage combines the storages of a repo: blocks are put into segments; small results of runs are committed to the
// ledger. A repo that has not been migrated also has block files, to which nothing is added.
type combinedStorage struct {
	small ledgerStorage
	large storage
	old   *fileStorage // nil if the repo has no block files
}

var (
	_ storage    = combinedStorage{}
	_ partReader = combinedStorage{}
)

// find calls fn with each storage until one has the key. It tries the segments a second time, because a migration may
// have moved the block there in the meantime.
func (l combinedStorage) find(fn func(storage) error) error {
	err := fn(l.small)
	if errors.Is(err, errAbsent) {
		err = fn(l.large)
	}
	if l.old == nil || !errors.Is(err, errAbsent) {
		return err
	}
	if err = fn(l.old); errors.Is(err, errAbsent) {
		err = fn(l.large)
	}
	return err
}

func (l combinedStorage) Get(key multihash.Multihash) (b []byte, err error) {
	err = l.find(func(s storage) (err error) {
		b, err = s.Get(key)
		return err
	})
	return b, err
}

func (l combinedStorage) ReadPart(key multihash.Multihash, p []byte, off int64) (n int, size int64, err error) {
	err = l.find(func(s storage) (err error) {
		n, size, err = readPart(s, key, p, off)
		return err
	})
	return n, size, err
}

func (l combinedStorage) Size(key multihash.Multihash) (n int64, err error) {
	err = l.find(func(s storage) (err error) {
		n, err = s.Size(key)
		return err
	})
	return n, err
}

// Put repairs a damaged block in the storage that has it. It leaves an intact block file where it is.
func (l combinedStorage) Put(key multihash.Multihash, data []byte) error {
	switch b, err := l.small.Get(key); {
	case err == nil && bytes.Equal(b, data):
		return nil
	case !errors.Is(err, errAbsent):
		return l.small.Put(key, data)
	}
	if l.old != nil {
		if b, err := l.old.Get(key); err == nil && bytes.Equal(b, data) {
			if _, err := l.large.Size(key); errors.Is(err, errAbsent) {
				return l.old.sync.relyOn(l.old.Where(key))
			}
		}
	}
	return l.large.Put(key, data)
}

func (l combinedStorage) Delete(key multihash.Multihash) error {
	if err := l.small.Delete(key); err != nil {
		return err
	}
	if err := l.large.Delete(key); err != nil || l.old == nil {
		return err
	}
	return l.old.Delete(key)
}

// Each may report a block several times, if several storages have it. The ledger comes last: deleting large blocks
// first needs no space and frees more.
func (l combinedStorage) Each(ctx context.Context, fn func(entry) error) error {
	if err := l.large.Each(ctx, fn); err != nil {
		return err
	}
	if l.old != nil {
		if err := l.old.Each(ctx, fn); err != nil {
			return err
		}
	}
	return l.small.Each(ctx, fn)
}

// Sync makes large blocks durable first: pins and small blocks in the ledger refer to them.
func (l combinedStorage) Sync() error {
	if l.old != nil {
		if err := l.old.Sync(); err != nil {
			return err
		}
	}
	if err := l.large.Sync(); err != nil {
		return err
	}
	return l.small.Sync()
}

func (l combinedStorage) Where(key multihash.Multihash) string {
	if _, err := l.small.Size(key); !errors.Is(err, errAbsent) {
		return l.small.Where(key)
	}
	if _, err := l.large.Size(key); errors.Is(err, errAbsent) && l.old != nil {
		return l.old.Where(key)
	}
	return l.large.Where(key)
}

func (l combinedStorage) Close() error {
	err := errors.Join(l.large.Close(), l.small.Close())
	if l.old != nil {
		err = errors.Join(err, l.old.Close())
	}
	return err
}
