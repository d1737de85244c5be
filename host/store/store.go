// Package store is the repo on disk: blocks by their multihash, pins, and the folders
// in which the rest of a node keeps its records.
//
// One rule: what comes out is what went in, or an error that names it. A [dag.Block]
// was hashed when it was made, a checksum guards it on disk from then on, and
// [Store.Verify] hashes everything again. A process may be killed at any instruction:
// the next Open finds a repo in which every whole file is true.
//
// One process at a time owns a repo ([Open] takes its lock); the others attach to the
// owner, which is the node's business. Writers work in a [Session], which keeps what
// they put from collection until it is pinned.
//
// How the bytes lie on disk is behind [storage]: this package knows multihashes,
// sessions and pins, the storage knows files. It never fetches and never decodes more
// of a block than its links.
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

// Config says how to open a repo. Its zero fields are the defaults.
type Config struct {
	Verify bool             // hash every block that is read, on top of its checksum
	Clock  func() time.Time // nil: time.Now
	Quota  int64            // bytes that blocks may take on the disk; 0: as many as there is room for
}

// Store is an open repo. Its methods may be called from several goroutines.
//
// Get, Has and Put make it a [dag.Blocks], for reading and for tools: what is put
// without a [Session] may be collected before it is pinned.
type Store struct {
	dir      string
	cfg      Config
	lock     *lock
	readOnly bool
	blocks   storage // layers, but in tests
	layers   layers
	small    records // the part of blocks that is in the ledger
	ledger   *ledger.Ledger
	oldPins  pinFiles

	gen     atomic.Uint64 // see Generation; 0: not read yet
	puts    atomic.Uint64 // see Puts
	late    lateSync
	reserve reserve
	scratch scratch

	life   sync.RWMutex // held for reading by every call in progress, for writing by Close
	closed bool

	outside  attachments
	coverage coverage
	quota    quota

	gate chan struct{} // of capacity one: held by a collection, and by whoever adds a root
	held holdings
}

var (
	_ dag.Blocks = (*Store)(nil)
	_ dag.Sizer  = (*Store)(nil)
)

// Dir returns the repo's folder, an absolute path.
func (s *Store) Dir() string { return s.dir }

// ReadOnly reports whether the repo was opened without the power to write to it:
// every write is then a *ReadOnlyError.
func (s *Store) ReadOnly() bool { return s.readOnly }

// Get returns the block named c, which is a *dag.NotFoundError when it is not here and
// a *dag.DamagedError when its file is not what was written.
func (s *Store) Get(ctx context.Context, c cid.Cid) (dag.Block, error) {
	b, _, err := s.read(ctx, c, false)
	return b, err
}

// read is Get. With hashed, the checksum of an attached block is not enough; attached reports that it was one.
func (s *Store) read(ctx context.Context, c cid.Cid, hashed bool) (b dag.Block, attached bool, err error) {
	if err := s.enter(ctx); err != nil {
		return dag.Block{}, false, err
	}
	defer s.leave()
	s.touch(c)
	return s.getFrom(c, hashed)
}

// touch remembers that c was read, where a quota will have to know.
func (s *Store) touch(c cid.Cid) {
	if s.quota.max > 0 && c.Defined() {
		s.quota.recent.touch(c.Hash())
	}
}

// Has reports whether the block named c is here, without reading it.
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

// Size returns the length in bytes of the block named c, without reading it. It is a
// *dag.NotFoundError when the block is not here.
func (s *Store) Size(ctx context.Context, c cid.Cid) (int64, error) {
	if err := s.enter(ctx); err != nil {
		return 0, err
	}
	defer s.leave()
	return s.size(c)
}

// Put keeps blocks. One that is here already is compared with its file, and replaces
// it if that is damaged. Nothing is on the platter before Sync.
func (s *Store) Put(ctx context.Context, bs ...dag.Block) error {
	if err := s.enterToWrite(ctx); err != nil {
		return err
	}
	defer s.leave()
	for _, b := range bs {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if err := s.fits(ctx, int64(len(b.Data()))); err != nil {
			return fmt.Errorf("keep block %s: %w", b.CID(), err)
		}
		if err := s.put(b); err != nil {
			return err
		}
	}
	return nil
}

// Sync returns when every block that was put before it would survive a loss of power.
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

// Close waits for the calls in progress and gives up the repo; every later call is
// ErrClosed. The second Close does nothing.
func (s *Store) Close() error {
	s.life.Lock()
	defer s.life.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	s.late.stop()
	s.scratch.close()
	s.outside.close()
	err := s.blocks.Close()
	if e := s.lock.release(); err == nil {
		err = e
	}
	return err
}

// enter begins a call: until leave the store stays open. Calls do not nest: one that
// waits for another would wait for ever beside a Close.
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

// get, size and put are the calls without their beginning and end.
func (s *Store) get(c cid.Cid) (dag.Block, error) {
	b, _, err := s.getFrom(c, false)
	return b, err
}

func (s *Store) getFrom(c cid.Cid, hashed bool) (b dag.Block, attached bool, err error) {
	if !c.Defined() {
		return dag.Block{}, false, errUndefined
	}
	if data, ok := inlined(c); ok {
		return dag.TrustBlock(c, data), false, nil
	}
	if len(c.Hash()) > maxKey {
		return dag.Block{}, false, &dag.NotFoundError{CID: c}
	}
	data, err := s.blocks.Get(c.Hash())
	switch {
	case errors.Is(err, errAbsent):
		data, attached, err = s.outside.get(c.Hash(), hashed, s.cfg.Verify)
	case err == nil && s.cfg.Verify && rehash(c.Hash(), data) != nil:
		return dag.Block{}, false, &dag.DamagedError{CID: c, Where: s.blocks.Where(c.Hash())}
	}
	if err != nil {
		return dag.Block{}, false, named(c, "read", err)
	}
	return dag.TrustBlock(c, data), attached, nil
}

func (s *Store) size(c cid.Cid) (int64, error) {
	if !c.Defined() {
		return 0, errUndefined
	}
	if data, ok := inlined(c); ok {
		return int64(len(data)), nil
	}
	if len(c.Hash()) > maxKey {
		return 0, &dag.NotFoundError{CID: c}
	}
	n, err := s.blocks.Size(c.Hash())
	if errors.Is(err, errAbsent) {
		n, err = s.outside.size(c.Hash())
	}
	if err != nil {
		return 0, named(c, "look for", err)
	}
	return n, nil
}

func (s *Store) put(b dag.Block) error {
	c := b.CID()
	if !c.Defined() {
		return errUndefined
	}
	if _, ok := inlined(c); ok {
		return nil
	}
	if n := len(b.Data()); n > dag.MaxBlock {
		return &dag.TooBigError{CID: c, Size: n, Max: dag.MaxBlock}
	}
	if n := len(c.Hash()); n > maxKey {
		return fmt.Errorf("block %s: its multihash has %d bytes, at most %d are kept", c, n, maxKey)
	}
	if err := s.blocks.Put(c.Hash(), b.Data()); err != nil {
		return named(c, "keep", s.noteFull(err))
	}
	s.puts.Add(1)
	s.coverage.put(c.Hash())
	return nil
}

// Puts grows with every block that is put: what this process found missing below a root
// is missing still if Puts and the [Store.Generation] are the same.
func (s *Store) Puts() uint64 { return s.puts.Load() }

// inlined returns the bytes that an identity CID carries in itself.
func inlined(c cid.Cid) ([]byte, bool) {
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
		return errors.New("its bytes have another hash")
	}
	return err
}
