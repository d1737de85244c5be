// Package segment keeps blocks on disk, by their multihashes, in a few large files.
//
// Blocks are appended to a segment, a CARv1 file that any IPFS tool reads; a full one is
// sealed and never changes again. Where each block lies is known to an index of sorted
// tables, which are made of what the segments hold: an index that is lost or damaged is made again.
// What was deleted is forgotten by the index, and its room given back when [Store.Compact]
// writes segments with little left in them anew.
//
// One rule: what [Store.Get] returns is what was put, or an error that names the file.
// What [Store.Put] has returned for is there after a kill at any instruction; after a loss of
// power that holds for what came before a [Store.Sync]. A deletion may be undone by either.
//
// It knows no CID, no pin and no DAG. One process at a time has a store open.
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

// MaxKey is the length in bytes of the longest multihash that is kept.
const MaxKey = 128

// What the index keeps in memory before it is written to a table.
const (
	maxRecent = 32 << 10 // blocks
	// maxRecentBytes is of their data: what the next Open has to read after a kill. A table waits for the disk to have
	// what it names: small steps would make whoever puts much wait as often.
	maxRecentBytes = 256 << 20
	// keepRecent is how much of it a Close leaves for the next Open to read, in bytes and blocks.
	keepRecentBytes = 1 << 20
	keepRecent      = 1 << 10
)

// Config says how to open a store. Its zero fields are the defaults.
type Config struct {
	ReadOnly   bool
	MaxSegment int64 // bytes of a segment that is sealed; 256 MiB
	// Reserve is for tables of deletions, which a full disk must not keep from being written. Its FS is that of the
	// store. Without a size no room is reserved.
	Reserve diskfs.Reserve
	FS      diskfs.FS // nil: the operating system's
}

// ErrAbsent says that a key has no block.
var ErrAbsent = errors.New("absent")

var errClosed = errors.New("the segments are closed")

// DamageError says that a file does not hold what was written to it.
type DamageError struct {
	File string
	Why  string
}

func (e *DamageError) Error() string { return fmt.Sprintf("%s: %s", e.File, e.Why) }

// Store is an open store. Its methods may be called from several goroutines.
type Store struct {
	dir     string
	cfg     Config
	reserve diskfs.Reserve // guarded by merging

	maxRecent int // blocks that recent has when it is full: no more than the reserve has room for
	fs        diskfs.FS

	appending sync.Mutex       // held by whoever writes to the active segment or freezes recent
	active    *handle          // nil: the next Put begins a segment
	end       position         // where the next section goes
	covered   position         // what lies before it is in frozen or in a table
	inherited bool             // recent began with more than a Close should leave
	sealed    map[uint32]int64 // sizes of segments, for Used; nil until it is asked
	holes     map[uint32]int64 // bytes inside them that take nothing of the disk
	failed    atomic.Pointer[error]

	mu     sync.RWMutex
	recent *recent // not in a table yet, newest
	frozen *frozen // nil, or what is being made a table
	tables []*table
	closed bool
	flush  *sync.Cond // on mu: frozen has become nil, or its table has failed
	late   error      // why frozen is not a table yet: the last attempt

	handles handles
	pages   pageSums

	work    sync.WaitGroup
	merging sync.Mutex // held by whoever changes tables or the reserve
	flushes uint32     // number of the newest table; guarded by appending

	syncing sync.Mutex
	writes  atomic.Uint64 // appends
	synced  atomic.Uint64 // of writes
	unsafe  []*handle     // segments that have to be synced, each acquired; guarded by appending
	trickle writeback
}

// position is a place in the order in which everything was written.
type position struct {
	seg uint32
	at  int64
}

func (p position) before(o position) bool { return p.seg < o.seg || p.seg == o.seg && p.at < o.at }

// Open opens the store in dir, a folder that exists, with what an earlier one has left
// there. What a kill has cut off is removed.
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
		s.shut()
		return nil, fmt.Errorf("open segments %s: %w", dir, err)
	}
	s.inherited = s.recent.large()
	if !cfg.ReadOnly {
		if err := s.reserve.Fill(); err != nil && !diskfs.Full(err) {
			s.shut()
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

// Where names the place of key's block, for people.
func (s *Store) Where(key multihash.Multihash) string {
	p, err := s.find(keyOf(key))
	if err != nil {
		return s.dir
	}
	return fmt.Sprintf("%s, byte %d", s.segmentPath(p.seg), p.at)
}

// Place returns the segment file that holds key's block, and where in it the block's bytes begin.
func (s *Store) Place(key multihash.Multihash) (path string, at int64, err error) {
	p, err := s.find(keyOf(key))
	return s.segmentPath(p.seg), p.at, err
}

// Sequence returns a number that grows with the order in which blocks were put, or moved by Compact.
func (s *Store) Sequence(key multihash.Multihash) (int64, error) {
	p, err := s.find(keyOf(key))
	return int64(p.seg)<<31 | p.at&(1<<31-1), err
}

// Close writes down what the next Open would else have to find out, and closes the files.
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
	return errors.Join(err, s.shut())
}

// worthFlushing reports whether recent is more than the next Open should read. A table needs the disk: who has put
// much and did not call Sync is not made to wait for it, and the next store reads it and makes the table.
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
	if f := s.frozen; f != nil && (!f.busy || f.deleted > 0) { // deletions are nowhere else, should it fail
		return true
	}
	return s.synced.Load() == s.writes.Load()
}

func (s *Store) shut() error {
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

// fail is told of an error after which nobody knows what is on the disk.
func (s *Store) fail(err error) error {
	s.failed.CompareAndSwap(nil, &err)
	return err
}

// failure returns the first such error: until the store is opened anew nothing is written.
func (s *Store) failure() error {
	if p := s.failed.Load(); p != nil {
		return fmt.Errorf("an earlier write to the disk has failed: %w", *p)
	}
	return nil
}

func (s *Store) writable() error {
	if s.cfg.ReadOnly {
		return fmt.Errorf("write to %s: %w", s.dir, os.ErrPermission)
	}
	return s.failure()
}

func absent(err error) bool { return errors.Is(err, fs.ErrNotExist) }
