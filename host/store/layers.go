package store

import (
	"bytes"
	"context"
	"errors"

	"github.com/multiformats/go-multihash"

	"github.com/ipfs-liftoff/liftoff/host/store/ledger"
)

// What the ledger's keys begin with.
const (
	blockKey      = "b" // a multihash: the block's bytes
	pinKey        = "p" // a pin's name: the Pin as JSON
	recordKey     = "n" // a record's name: bytes of the node's
	generationKey = "g" // a number; see Store.Generation
)

// records is a storage in the ledger.
type records struct{ ledger *ledger.Ledger }

var _ storage = records{}

func (r records) Get(key multihash.Multihash) ([]byte, error) {
	b, err := r.ledger.Get(blockKey + string(key))
	return b, r.explain(err)
}

func (r records) Size(key multihash.Multihash) (int64, error) {
	n, err := r.ledger.Size(blockKey + string(key))
	return n, r.explain(err)
}

// explain turns the ledger's errors into a storage's.
func (r records) explain(err error) error {
	var bad *ledger.DamageError
	switch {
	case errors.Is(err, ledger.ErrAbsent):
		return errAbsent
	case errors.As(err, &bad):
		return &badFileError{bad.File, bad.Why}
	}
	return err
}

func (r records) Put(key multihash.Multihash, data []byte) error {
	if r.has(key, data) {
		return nil
	}
	return r.ledger.Write(ledger.Entry{Key: blockKey + string(key), Value: data})
}

// has reports whether data is there, undamaged.
func (r records) has(key multihash.Multihash, data []byte) bool {
	if n, err := r.Size(key); err != nil || n != int64(len(data)) {
		return false
	}
	b, err := r.Get(key)
	return err == nil && bytes.Equal(b, data)
}

func (r records) Delete(key multihash.Multihash) error {
	_, err := r.Size(key)
	if errors.Is(err, errAbsent) {
		return nil
	}
	return r.ledger.WriteFor(ledger.Collection, ledger.Entry{Key: blockKey + string(key), Delete: true})
}

func (r records) Each(ctx context.Context, fn func(entry) error) error {
	return r.ledger.Each(ctx, blockKey, func(i ledger.Item) error {
		if i.Err != nil {
			return fn(entry{Where: i.Where, Err: i.Err})
		}
		key, err := multihash.Cast([]byte(i.Key[len(blockKey):]))
		if err != nil {
			return fn(entry{Where: i.Where}) // nothing of ours
		}
		return fn(entry{Key: key, Where: i.Where, Size: i.Size})
	})
}

func (r records) Sync() error                          { return r.ledger.Sync() }
func (r records) Where(key multihash.Multihash) string { return r.ledger.Where(blockKey + string(key)) }
func (r records) Close() error                         { return r.ledger.Close() }

// layers is a storage of segments under one in the ledger. What is put goes to the
// segments; what runs commit is in the ledger already. A repo that has not been migrated has
// files besides, to which nothing is added.
type layers struct {
	small records
	large storage
	old   *files // nil: none
}

var (
	_ storage    = layers{}
	_ partReader = layers{}
)

// find calls fn with each part until one has the key. What a migration moves meanwhile is found
// when it is looked for once more.
func (l layers) find(fn func(storage) error) error {
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

func (l layers) Get(key multihash.Multihash) (b []byte, err error) {
	err = l.find(func(s storage) (err error) {
		b, err = s.Get(key)
		return err
	})
	return b, err
}

func (l layers) ReadPart(key multihash.Multihash, p []byte, off int64) (n int, size int64, err error) {
	err = l.find(func(s storage) (err error) {
		n, size, err = readPart(s, key, p, off)
		return err
	})
	return n, size, err
}

func (l layers) Size(key multihash.Multihash) (n int64, err error) {
	err = l.find(func(s storage) (err error) {
		n, err = s.Size(key)
		return err
	})
	return n, err
}

// Put heals what is damaged where that is. What is in a file, sound, is left there.
func (l layers) Put(key multihash.Multihash, data []byte) error {
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

func (l layers) Delete(key multihash.Multihash) error {
	if err := l.small.Delete(key); err != nil {
		return err
	}
	if err := l.large.Delete(key); err != nil || l.old == nil {
		return err
	}
	return l.old.Delete(key)
}

// Each tells a block that is in several parts several times. The ledger comes last: to delete what is large takes no
// room, and gives back more.
func (l layers) Each(ctx context.Context, fn func(entry) error) error {
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

// Sync makes what is large durable first: a job's pin and its blocks in the ledger rely on it.
func (l layers) Sync() error {
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

func (l layers) Where(key multihash.Multihash) string {
	if _, err := l.small.Size(key); !errors.Is(err, errAbsent) {
		return l.small.Where(key)
	}
	if _, err := l.large.Size(key); errors.Is(err, errAbsent) && l.old != nil {
		return l.old.Where(key)
	}
	return l.large.Where(key)
}

func (l layers) Close() error {
	err := errors.Join(l.large.Close(), l.small.Close())
	if l.old != nil {
		err = errors.Join(err, l.old.Close())
	}
	return err
}
