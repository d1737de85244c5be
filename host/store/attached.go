package store

import (
	"errors"
	"path/filepath"
	"slices"
	"sync"

	"github.com/multiformats/go-multihash"

	"github.com/ipfs-liftoff/liftoff/host/store/segment"
)

// attachments are searched in order, after the repo's own blocks.
type attachments struct {
	changing sync.Mutex // held by Attach and Detach, also during long reads

	mu   sync.RWMutex
	list []*attachment
}

// index returns the position of an attachment, or -1. mu is held.
func (o *attachments) index(kind, path string) int {
	return slices.IndexFunc(o.list, func(a *attachment) bool { return a.Kind == kind && a.Path == path })
}

// put adds an attachment or replaces an older one of the same kind and path, which passes on Kept.
func (o *attachments) put(a *attachment) {
	o.mu.Lock()
	defer o.mu.Unlock()
	i := o.index(a.Kind, a.Path)
	if i < 0 {
		o.list = append(o.list, a)
		return
	}
	a.Kept = a.Kept || o.list[i].Kept
	o.list[i].close()
	o.list[i] = a
}

// drop closes and removes an attachment.
func (o *attachments) drop(kind, path string) (found bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.list = slices.DeleteFunc(o.list, func(a *attachment) bool {
		if a.Kind != kind || a.Path != path {
			return false
		}
		a.close()
		found = true
		return true
	})
	return found
}

func (o *attachments) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, a := range o.list {
		a.close()
	}
	o.list = nil
}

func (a *attachment) close() {
	if a.ref != nil {
		a.ref.Close()
	}
	if a.nodes != nil {
		a.nodes.Close()
	}
}

// find calls fn with each attachment until one returns the key's block intact.
func (o *attachments) find(fn func(*attachment) error) error {
	o.mu.RLock()
	defer o.mu.RUnlock()
	found := errAbsent
	for _, a := range o.list {
		if a.ref == nil {
			continue
		}
		switch err := a.explain(fn(a)); {
		case err == nil:
			return nil
		case !errors.Is(err, errAbsent):
			found = err
		}
	}
	return found
}

// get returns the bytes of key. With hashed, bytes of a file that other programs may write to are hashed instead of
// only checked by their checksum; with verify, all bytes are hashed. foreign reports whether they are from such a
// file.
func (o *attachments) get(key multihash.Multihash, hashed, verify bool) (b []byte, foreign bool, err error) {
	err = o.find(func(a *attachment) (err error) {
		if verify {
			defer func() {
				if err == nil && rehash(key, b) != nil {
					err = a.hashMismatch(foreign)
				}
			}()
		}
		if a.nodes != nil {
			if b, err = a.nodes.Get(key); !errors.Is(err, segment.ErrAbsent) {
				foreign = false
				return err
			}
		}
		foreign = true
		if hashed {
			b, err = a.ref.GetHashed(key)
		} else {
			b, err = a.ref.Get(key)
		}
		return err
	})
	return b, foreign, err
}

// readPart is get for a part of a block.
func (o *attachments) readPart(key multihash.Multihash, p []byte, off int64, hashed bool) (n int, size int64, foreign bool, err error) {
	err = o.find(func(a *attachment) (err error) {
		if a.nodes != nil {
			if n, size, err = a.nodes.ReadPart(key, p, off); !errors.Is(err, segment.ErrAbsent) {
				foreign = false
				return err
			}
		}
		foreign = true
		if hashed {
			n, size, err = a.ref.ReadPartHashed(key, p, off)
		} else {
			n, size, err = a.ref.ReadPart(key, p, off)
		}
		return err
	})
	return n, size, foreign, err
}

func (o *attachments) size(key multihash.Multihash) (n int64, err error) {
	err = o.find(func(a *attachment) (err error) {
		if a.nodes != nil {
			if n, err = a.nodes.Size(key); !errors.Is(err, segment.ErrAbsent) {
				return err
			}
		}
		n, err = a.ref.Size(key)
		return err
	})
	return n, err
}

// hashMismatch returns the error for bytes with a correct checksum that do not hash to their multihash; foreign: they
// are from an attached file.
func (a *attachment) hashMismatch(foreign bool) error {
	file := a.Path
	if !foreign {
		file = filepath.Join(a.index, nodesDir)
	}
	return &segment.DamageError{File: file, Why: "block does not match its multihash"}
}
