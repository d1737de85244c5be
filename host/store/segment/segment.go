// Package segment stores blocks on disk, by multihash, in a few large files.
//
// Blocks are appended to a segment, a CARv1 file that any IPFS tool can read. A full segment is sealed and never
// changes again. An index of sorted tables holds the location of each block. It is derived from the segments and is
// rebuilt if it is lost or damaged. Deleting a block removes it from the index; [Store.Compact] frees its space by
// rewriting sparse segments.
//
// One rule: [Store.Get] returns the bytes that were put, or an error that names the file. A block for which
// [Store.Put] has returned survives a kill at any instruction; it survives a power loss if a [Store.Sync] followed.
// Both may undo a deletion.
//
// The package handles multihashes only, not CIDs, pins or DAGs. Only one process at a time may have a store open.
package segment

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/multiformats/go-multihash"

	"github.com/ipfs-liftoff/liftoff/internal/diskfs"
)

// MaxKey is the length in bytes of the longest multihash that is stored.
const MaxKey = 128

// Limits of the index in memory before it is written to a table.
const (
	maxRecent = 32 << 10 // blocks
	// maxRecentBytes limits the size of the blocks, which the next Open must read after a kill. A table waits until
	// its blocks are synced: with a small limit, a writer of many blocks would wait often.
	maxRecentBytes = 256 << 20
	// maxUnflushedBytes and maxUnflushed limit how much Close may leave for the next Open to read, in bytes and blocks.
	maxUnflushedBytes = 1 << 20
	maxUnflushed      = 1 << 10
)

// Config configures a store. Zero fields are the defaults.
type Config struct {
	ReadOnly   bool
	MaxSegment int64 // size at which a segment is sealed; default 256 MiB
	// Reserve is disk space for tables of deletions, so that they can be written on a full disk. Its FS is ignored:
	// the store's is used. With size 0 no space is reserved.
	Reserve diskfs.Reserve
	FS      diskfs.FS // default: the operating system
}

// ErrAbsent means that a key has no block.
var ErrAbsent = errors.New("block not found in segments")

var errClosed = errors.New("segment store is closed")

// DamageError means that a file does not hold what was written to it.
type DamageError struct {
	File string
	Why  string
}

func (e *DamageError) Error() string { return fmt.Sprintf("%s: %s", e.File, e.Why) }

// Store is an open store. Its methods may be called concurrently.
type Store struct {
	dir     string
	cfg     Config
	reserve diskfs.Reserve // guarded by merging

	maxRecent int // entries at which recent is full: at most what fits into the reserve
	fs        diskfs.FS

	appending sync.Mutex       // held while writing to the active segment or freezing recent
	active    *handle          // nil: the next Put creates a segment
	end       position         // position of the next section
	covered   position         // earlier positions are in frozen or in a table
	inherited bool             // recent began with more than a Close should leave
	sealed    map[uint32]int64 // sizes of segments, for Used; nil until needed
	holes     map[uint32]int64 // unallocated bytes inside them
	failed    atomic.Pointer[error]

	mu       sync.RWMutex
	recent   *recent // newest, not yet in a table
	frozen   *frozen // being written to a table, or nil
	tables   []*table
	closed   bool
	flush    *sync.Cond // on mu: frozen has become nil, or writing its table has failed
	flushErr error      // error of the last attempt to flush frozen

	handles handles
	pages   pageSums

	work    sync.WaitGroup
	merging sync.Mutex // held while changing tables or the reserve
	flushes uint32     // number of the newest table; guarded by appending

	syncing sync.Mutex
	writes  atomic.Uint64 // number of appends
	synced  atomic.Uint64 // value of writes at the last sync
	unsafe  []*handle     // segments to be synced, each acquired; guarded by appending
	trickle writeback
}

// position is a place in the write order.
type position struct {
	seg uint32
	at  int64
}

func (p position) before(o position) bool { return p.seg < o.seg || p.seg == o.seg && p.at < o.at }

// Open opens the store in dir, an existing folder, and recovers the state that the previous process left. It removes
// a partial section at the end.
func Open(dir string, cfg Config) (*Store, error) {
	if cfg.MaxSegment == 0 {
		cfg.MaxSegment = 256 << 20
	}
	if cfg.FS == nil {
		cfg.FS = diskfs.OS{}
	}
	cfg.Reserve.FS = cfg.FS
	s := &Store{
		dir: dir, cfg: cfg, fs: cfg.FS, reserve: cfg.Reserve, maxRecent: maxRecent,
	}
	if cfg.Reserve.Size > 0 {
		s.maxRecent = max(perPage, min(maxRecent, recordsIn(cfg.Reserve.Size)))
	}
	s.recent = s.newRecent()
	s.flush = sync.NewCond(&s.mu)
	s.handles.open = func(n uint32) (diskfs.File, error) { return s.fs.Open(s.segmentPath(n), false) }
	if err := s.load(); err != nil {
		s.closeFiles()
		return nil, fmt.Errorf("open segments %s: %w", dir, err)
	}
	s.inherited = s.recent.large()
	if !cfg.ReadOnly {
		if err := s.reserve.Fill(); err != nil && !diskfs.Full(err) {
			s.closeFiles()
			return nil, fmt.Errorf("open segments %s: %w", dir, err)
		}
	}
	return s, nil
}

func (s *Store) segmentPath(n uint32) string {
	return filepath.Join(s.dir, fmt.Sprintf("%08x.car", n))
}

func (s *Store) tablePath(lo, hi uint32) string {
	return filepath.Join(s.dir, fmt.Sprintf("%08x-%08x.index", lo, hi))
}

// Where returns the location of key's block, for display.
func (s *Store) Where(key multihash.Multihash) string {
	p, err := s.find(keyOf(key))
	if err != nil {
		return s.dir
	}
	return fmt.Sprintf("%s, byte %d", s.segmentPath(p.seg), p.at)
}

// Place returns the segment file of key's block, and the offset of the block's bytes in it.
func (s *Store) Place(key multihash.Multihash) (path string, at int64, err error) {
	p, err := s.find(keyOf(key))
	return s.segmentPath(p.seg), p.at, err
}

// Sequence returns a number that increases in the order in which blocks were put, or moved by Compact.
func (s *Store) Sequence(key multihash.Multihash) (int64, error) {
	p, err := s.find(keyOf(key))
	return int64(p.seg)<<31 | p.at&(1<<31-1), err
}

// Close writes the index that the next Open would otherwise have to rebuild, and closes the files.
func (s *Store) Close() error {
	var err error
	if !s.cfg.ReadOnly && s.failure() == nil && s.worthFlushing() {
		if err = s.flushAll(); s.harmless(err) {
			err = nil
		}
	}
	s.mu.Lock()
	s.closed = true
	s.flush.Broadcast()
	s.mu.Unlock()
	s.trickle.wait()
	s.work.Wait()
	return errors.Join(err, s.closeFiles())
}

// worthFlushing reports whether recent is more than the next Open should read. A table needs a sync: a writer that
// put many blocks without calling Sync does not wait for it; the next Open reads them and writes the table.
func (s *Store) worthFlushing() bool {
	s.appending.Lock()
	defer s.appending.Unlock()
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed || s.frozen == nil && !s.recent.large() && s.recent.deleted == 0 {
		return false
	}
	if s.inherited || s.recent.full() || s.recent.deleted > 0 {
		return true
	}
	if f := s.frozen; f != nil && (!f.busy || f.deleted > 0) { // a failed flush would lose deletions
		return true
	}
	return s.synced.Load() == s.writes.Load()
}

func (s *Store) closeFiles() error {
	var err error
	for _, h := range s.unsafe {
		h.release()
	}
	s.unsafe = nil
	if s.active != nil {
		s.trickle.giveBack(s.active, s.end.at)
		s.active.release()
		s.active = nil
	}
	for _, t := range s.tables {
		err = errors.Join(err, t.release())
	}
	s.tables = nil
	s.handles.close()
	return err
}

// fail records an error after which the state of the disk is unknown.
func (s *Store) fail(err error) error {
	s.failed.CompareAndSwap(nil, &err)
	return err
}

// failure returns the recorded error. While there is one, the store does not write; opening it again clears it.
func (s *Store) failure() error {
	if p := s.failed.Load(); p != nil {
		return fmt.Errorf("an earlier write to the repo's segments failed: %w", *p)
	}
	return nil
}

func (s *Store) writable() error {
	if s.cfg.ReadOnly {
		return fmt.Errorf("write to segments %s: %w", s.dir, os.ErrPermission)
	}
	return s.failure()
}

func absent(err error) bool { return errors.Is(err, fs.ErrNotExist) }
