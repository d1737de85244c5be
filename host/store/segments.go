package store

import (
	"context"
	"errors"

	"github.com/multiformats/go-multihash"

	"github.com/ipfs-liftoff/liftoff/host/store/segment"
)

// segmentStorage is the storage of blocks in a few large files.
type segmentStorage struct{ s *segment.Store }

var (
	_ storage    = segmentStorage{}
	_ partReader = segmentStorage{}
)

// explain converts the errors of package segment to storage errors.
func (g segmentStorage) explain(err error) error {
	var bad *segment.DamageError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, segment.ErrAbsent):
		return errAbsent
	case errors.As(err, &bad):
		return &badFileError{bad.File, bad.Why}
	}
	return err
}

func (g segmentStorage) Get(key multihash.Multihash) ([]byte, error) {
	b, err := g.s.Get(key)
	return b, g.explain(err)
}

func (g segmentStorage) ReadPart(key multihash.Multihash, p []byte, off int64) (n int, size int64, err error) {
	n, size, err = g.s.ReadPart(key, p, off)
	return n, size, g.explain(err)
}

func (g segmentStorage) Size(key multihash.Multihash) (int64, error) {
	n, err := g.s.Size(key)
	return n, g.explain(err)
}

func (g segmentStorage) Put(key multihash.Multihash, data []byte) error {
	return g.explain(g.s.Put(key, data))
}

func (g segmentStorage) Delete(key multihash.Multihash) error { return g.explain(g.s.Delete(key)) }

// Each returns an error for a damaged page of the index, which hides the blocks in it.
func (g segmentStorage) Each(ctx context.Context, fn func(entry) error) error {
	err := g.s.Each(ctx, func(e segment.Entry) error {
		return fn(entry{Key: e.Key, Where: e.File, Size: e.Size})
	})
	return g.explain(err)
}

func (g segmentStorage) Sync() error                          { return g.s.Sync() }
func (g segmentStorage) Where(key multihash.Multihash) string { return g.s.Where(key) }
func (g segmentStorage) Close() error                         { return g.s.Close() }
