// Package store is the repo on disk: blocks by multihash, pins, records, and the folders that the rest of a node
// uses.
//
// One rule: a read returns what was written, or an error that names it. A [dag.Block] is hashed when it is made, a
// checksum protects it on disk from then on, and [Store.Check] hashes everything again. A process may be killed at
// any instruction: the next Open finds a consistent repo.
//
// One process at a time owns a repo ([Open] takes its lock); how other processes attach to the owner is up to package
// node. Writers work in a [Session], which protects the blocks they put from collection until they are pinned.
//
// The layout on disk is hidden behind [storage]: this package handles multihashes, sessions and pins, the storage
// handles files. The package never fetches blocks, and decodes no more of a block than its links.
package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"github.com/ipfs-liftoff/liftoff/host/store/ledger"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
)

// Config configures a repo. Zero fields are the defaults.
type Config struct {
	Verify bool             // also hash every block that is read, in addition to its checksum
	Clock  func() time.Time // default: time.Now
	Quota  int64            // limit in bytes for the blocks on disk; 0: no limit
}

// Store is an open repo. Its methods may be called concurrently.
//
// Get, Has and Put implement [dag.Blocks], for readers and tools: a block put without a [Session] may be collected
// before it is pinned.
type Store struct {
	dir      string
	cfg      Config
	lock     *lock
	readOnly bool
	blocks   storage // the field combined, except in tests
	combined combinedStorage
	small    ledgerStorage // the part of blocks in the ledger
	ledger   *ledger.Ledger
	oldPins  pinFiles

	gen         atomic.Uint64 // see Generation; 0: not read yet
	puts        atomic.Uint64 // see Puts
	delayedSync delayedSync
	reserve     reserve
	scratch     scratch

	life   sync.RWMutex // read-locked by every call in progress, write-locked by Close
	closed bool

	attachments attachments
	coverage    coverage
	quota       quota

	gcLock chan struct{} // the GC lock, of capacity one: held by a collection, and while adding a root
	held   holdings
}

var (
	_ dag.Blocks = (*Store)(nil)
	_ dag.Sizer  = (*Store)(nil)
)

// Dir returns the repo's folder, an absolute path.
func (s *Store) Dir() string { return s.dir }

// ReadOnly reports whether the repo was opened read-only: then every write returns a *ReadOnlyError.
func (s *Store) ReadOnly() bool { return s.readOnly }

// Get returns block c. The error is a *dag.NotFoundError if it is absent and a *dag.DamagedError if its file is
// damaged.
func (s *Store) Get(ctx context.Context, c cid.Cid) (dag.Block, error) {
	b, _, err := s.read(ctx, c, false)
	return b, err
}

// read is Get. With hashed, an attached block is hashed instead of only checked by its checksum; attached reports
// whether it was one.
func (s *Store) read(ctx context.Context, c cid.Cid, hashed bool) (b dag.Block, attached bool, err error) {
	if err := s.enter(ctx); err != nil {
		return dag.Block{}, false, err
	}
	defer s.leave()
	s.touch(c)
	return s.getFrom(c, hashed)
}

// touch records a read of c, if there is a quota.
func (s *Store) touch(c cid.Cid) {
	if s.quota.max > 0 && c.Defined() {
		s.quota.recent.touch(c.Hash())
	}
}

// Has reports whether block c is present, without reading it.
func (s *Store) Has(ctx context.Context, c cid.Cid) (bool, error) {
	if err := s.enter(ctx); err != nil {
		return false, err
	}
	defer s.leave()
	_, err := s.size(c)
	var missing *dag.NotFoundError
	if errors.As(err, &missing) {
		return false, nil
	}
	return err == nil, err
}

// Size returns the length in bytes of block c, without reading it. It is a *dag.NotFoundError if the block is absent.
func (s *Store) Size(ctx context.Context, c cid.Cid) (int64, error) {
	if err := s.enter(ctx); err != nil {
		return 0, err
	}
	defer s.leave()
	return s.size(c)
}

// Put stores blocks. A block that is present is compared with the stored bytes, and replaces them if they are
// damaged. Blocks are durable only after Sync.
func (s *Store) Put(ctx context.Context, bs ...dag.Block) error {
	if err := s.enterToWrite(ctx); err != nil {
		return err
	}
	defer s.leave()
	for _, b := range bs {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if err := s.ensureQuota(ctx, int64(len(b.Data()))); err != nil {
			return fmt.Errorf("put block %s: %w", b.CID(), err)
		}
		if err := s.put(b); err != nil {
			return err
		}
	}
	return nil
}

// Sync returns when every earlier put would survive a power loss.
func (s *Store) Sync(ctx context.Context) error {
	if err := s.enterToWrite(ctx); err != nil {
		return err
	}
	defer s.leave()
	if err := s.blocks.Sync(); err != nil {
		return fmt.Errorf("sync repo %s: %w", s.dir, err)
	}
	return nil
}

// Close waits for the calls in progress and closes the repo; every later call returns ErrClosed. Later calls of Close
// have no effect.
func (s *Store) Close() error {
	s.life.Lock()
	defer s.life.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	s.delayedSync.stop()
	s.scratch.close()
	s.attachments.close()
	err := s.blocks.Close()
	if e := s.lock.release(); err == nil {
		err = e
	}
	return err
}

// enter begins a call: the store stays open until leave. Calls must not nest: the inner one would deadlock with a
// concurrent Close.
func (s *Store) enter(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	s.life.RLock()
	if s.closed {
		s.life.RUnlock()
		return ErrClosed
	}
	return nil
}

func (s *Store) enterToWrite(ctx context.Context) error {
	if s.readOnly {
		return &ReadOnlyError{s.dir}
	}
	return s.enter(ctx)
}

func (s *Store) leave() { s.life.RUnlock() }

// get, size and put are the calls without enter and leave.
func (s *Store) get(c cid.Cid) (dag.Block, error) {
	b, _, err := s.getFrom(c, false)
	return b, err
}

func (s *Store) getFrom(c cid.Cid, hashed bool) (b dag.Block, attached bool, err error) {
	if !c.Defined() {
		return dag.Block{}, false, errUndefined
	}
	if data, ok := identityData(c); ok {
		return dag.TrustBlock(c, data), false, nil
	}
	if len(c.Hash()) > maxKey {
		return dag.Block{}, false, &dag.NotFoundError{CID: c}
	}
	data, err := s.blocks.Get(c.Hash())
	switch {
	case errors.Is(err, errAbsent):
		data, attached, err = s.attachments.get(c.Hash(), hashed, s.cfg.Verify)
	case err == nil && s.cfg.Verify && rehash(c.Hash(), data) != nil:
		return dag.Block{}, false, &dag.DamagedError{CID: c, Where: s.blocks.Where(c.Hash())}
	}
	if err != nil {
		return dag.Block{}, false, blockError(c, "read", err)
	}
	return dag.TrustBlock(c, data), attached, nil
}

func (s *Store) size(c cid.Cid) (int64, error) {
	if !c.Defined() {
		return 0, errUndefined
	}
	if data, ok := identityData(c); ok {
		return int64(len(data)), nil
	}
	if len(c.Hash()) > maxKey {
		return 0, &dag.NotFoundError{CID: c}
	}
	n, err := s.blocks.Size(c.Hash())
	if errors.Is(err, errAbsent) {
		n, err = s.attachments.size(c.Hash())
	}
	if err != nil {
		return 0, blockError(c, "look up", err)
	}
	return n, nil
}

func (s *Store) put(b dag.Block) error {
	c := b.CID()
	if !c.Defined() {
		return errUndefined
	}
	if _, ok := identityData(c); ok {
		return nil
	}
	if n := len(b.Data()); n > dag.MaxBlock {
		return &dag.TooBigError{CID: c, Size: n, Max: dag.MaxBlock}
	}
	if n := len(c.Hash()); n > maxKey {
		return fmt.Errorf("block %s: multihash: got %d bytes, want at most %d", c, n, maxKey)
	}
	if err := s.blocks.Put(c.Hash(), b.Data()); err != nil {
		return blockError(c, "put", s.noteFull(err))
	}
	s.puts.Add(1)
	s.coverage.put(c.Hash())
	return nil
}

// Puts increases with every block that is put: a block that was missing is still missing if Puts and
// [Store.Generation] are unchanged.
func (s *Store) Puts() uint64 { return s.puts.Load() }

// identityData returns the bytes contained in an identity CID.
func identityData(c cid.Cid) ([]byte, bool) {
	if c.Prefix().MhType != multihash.IDENTITY {
		return nil, false
	}
	d, err := multihash.Decode(c.Hash())
	if err != nil {
		return nil, false
	}
	return d.Digest, true
}

// rehash returns an error unless data hashes to key.
func rehash(key multihash.Multihash, data []byte) error {
	_, err := dag.CheckBlock(cid.NewCidV1(cid.Raw, key), data)
	var bad *dag.DamagedError
	if errors.As(err, &bad) {
		return errors.New("block does not match its multihash")
	}
	return err
}
