// Package ledger is a key-value store for many small values on disk. A batch costs one write(2): the results of one
// run of a guest cost some microseconds instead of some files.
//
// It is a log-structured merge tree. A batch is appended to a log and added to memory. A full log is sealed: its
// entries are written to a sorted table, and the log is removed. Tables of similar size are merged, so that there are
// few. A lookup searches memory, then the tables from the newest to the oldest.
//
// One rule: a batch for which [Ledger.Write] has returned survives a kill at any instruction; otherwise either all of
// it is there or nothing. After a power loss that holds for batches before a [Ledger.Sync]. Everything on disk has a
// checksum, and damage is an error that names the file and, if possible, the key.
//
// The package does not interpret values. Only one process at a time may have a ledger open.
package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"

	"github.com/ipfs-liftoff/liftoff/internal/diskfs"
)

// Limits, in bytes.
const (
	MaxKey   = 2 << 10
	MaxBatch = 64 << 20
)

// maxLogs is how many times MaxLog a log may grow while an earlier one is sealed. Then Write waits: the disk cannot
// keep up.
const maxLogs = 16

// Config configures a ledger. Zero fields are the defaults.
type Config struct {
	ReadOnly bool
	MaxLog   int64     // size at which a log is sealed; default 1 MiB
	FS       diskfs.FS // default: the operating system
	// Reserve is disk space for freeing space on a full disk: a file for a table, and up to the same size, but at
	// most 64 KiB, behind the log for deletions. Its FS is ignored: the ledger's is used. With size 0 no space is
	// reserved.
	Reserve diskfs.Reserve
}

// Entry is one change: it sets Key to Value, or deletes Key.
type Entry struct {
	Key    string
	Value  []byte // not retained
	Delete bool
}

// ErrAbsent means that a key has no value.
var ErrAbsent = errors.New("key not found in ledger")

// DamageError means that a part of a file is not what was written to it.
type DamageError struct {
	File string
	Key  string // key of the damaged value; "" if unknown
	Why  string
}

func (e *DamageError) Error() string { return fmt.Sprintf("%s: %s", e.File, e.Why) }

// Ledger is an open ledger. Its methods may be called concurrently.
type Ledger struct {
	dir string
	cfg Config

	mu     sync.RWMutex
	log    *logFile   // nil if read-only
	older  []*logFile // logs that there was no space to seal at Open: mem includes them
	mem    *memory    // content of log and older
	frozen *sealing   // being written to a table, or nil
	tables []*table   // oldest first
	buf    []byte     // buffer of the last frame
	closed bool

	sealed *sync.Cond // on mu: frozen has become nil, or sealing it has failed
	work   sync.WaitGroup
	merge  sync.Mutex // held while changing tables or the reserve

	reserve diskfs.Reserve // guarded by merge
}

// sealing is a full log that is being written to a table.
type sealing struct {
	mem  *memory
	logs []*logFile // oldest first; several only if there was no space to seal them one by one
	busy bool       // a goroutine is writing the table
}

// last returns the newest log.
func (s *sealing) last() *logFile { return s.logs[len(s.logs)-1] }

var errClosed = errors.New("ledger is closed")

// Open opens the ledger in dir, an existing folder.
func Open(dir string, cfg Config) (*Ledger, error) {
	if cfg.MaxLog == 0 {
		cfg.MaxLog = 1 << 20
	}
	if cfg.FS == nil {
		cfg.FS = diskfs.OS{}
	}
	cfg.Reserve.FS = cfg.FS
	l := &Ledger{dir: dir, cfg: cfg, mem: newMemory(), reserve: cfg.Reserve}
	l.sealed = sync.NewCond(&l.mu)
	if err := l.load(); err != nil {
		l.closeFiles()
		return nil, fmt.Errorf("open ledger %s: %w", dir, err)
	}
	if !cfg.ReadOnly {
		if err := l.reserve.Fill(); err != nil && !diskfs.Full(err) {
			l.closeFiles()
			return nil, fmt.Errorf("open ledger %s: %w", dir, err)
		}
	}
	return l, nil
}

// Purpose selects how much of the log's reserved space a write may use when the disk is full.
type Purpose int

// Purposes of writes.
const (
	Storing    Purpose = iota // stores data: may not use the reserve
	Removal                   // makes data collectable: leaves a quarter of the reserve
	Collection                // frees space: may use all of the reserve
)

// maxLogReserve limits the reserved space behind the log, in bytes.
const maxLogReserve = 64 << 10

func (l *Ledger) logReserve() int64 { return min(maxLogReserve, l.cfg.Reserve.Size) }

// leave returns how much reserved space a write for p must leave.
func (l *Ledger) leave(p Purpose) int64 {
	switch r := l.logReserve(); {
	case r == 0:
		return -1
	case p == Storing:
		return r
	case p == Removal:
		return r / 4
	}
	return 0
}

// Write applies the changes in order, all of them or none.
func (l *Ledger) Write(entries ...Entry) error { return l.WriteFor(Storing, entries...) }

// WriteFor is like Write, for a purpose.
func (l *Ledger) WriteFor(p Purpose, entries ...Entry) error {
	if len(entries) == 0 {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cfg.ReadOnly {
		return fmt.Errorf("write to ledger %s: %w", l.dir, os.ErrPermission)
	}
	if err := l.makeRoom(); err != nil {
		return err
	}
	frame, err := appendFrame(l.buf[:0], l.log.secret, l.log.size, entries)
	if err != nil {
		return err
	}
	if l.buf = frame; cap(l.buf) > 1<<20 {
		l.buf = nil
	}
	if err := l.log.append(frame, l.leave(p)); err != nil {
		return fmt.Errorf("write to ledger: %w", err)
	}
	for _, e := range entries {
		l.mem.set(e)
	}
	return nil
}

// makeRoom rotates a full log. It waits if sealing cannot keep up. l.mu is held.
func (l *Ledger) makeRoom() error {
	for {
		switch {
		case l.closed:
			return errClosed
		case l.log.size < l.cfg.MaxLog:
			return nil
		case l.frozen == nil:
			return l.rotate()
		case !l.frozen.busy:
			l.startSealing() // retry: sealing has failed before
		}
		if l.log.size < maxLogs*l.cfg.MaxLog {
			return nil
		}
		l.sealed.Wait()
		if l.frozen != nil && !l.frozen.busy {
			return nil // sealing fails: prefer a long log to refusing writes
		}
	}
}

// Get returns a copy of the value of key, ErrAbsent, or a *DamageError.
func (l *Ledger) Get(key string) ([]byte, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	r, err := l.find(key)
	if err != nil {
		return nil, err
	}
	return r.load(key)
}

// Size returns the length in bytes of the value of key, without reading it.
func (l *Ledger) Size(key string) (int64, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	r, err := l.find(key)
	return int64(r.size), err
}

// Recent reports whether memory holds exactly e.
func (l *Ledger) Recent(e Entry) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	r, ok := l.mem.get(e.Key)
	if !ok && l.frozen != nil {
		r, ok = l.frozen.mem.get(e.Key)
	}
	return ok && r.deleted == e.Delete && bytes.Equal(r.value, e.Value)
}

// find returns the newest record of key, or ErrAbsent. l.mu is held.
func (l *Ledger) find(key string) (record, error) {
	if l.closed {
		return record{}, errClosed
	}
	r, ok := l.mem.get(key)
	if !ok && l.frozen != nil {
		r, ok = l.frozen.mem.get(key)
	}
	for i := len(l.tables) - 1; i >= 0 && !ok; i-- {
		var err error
		if r, ok, err = l.tables[i].find(key); err != nil {
			return record{}, err
		}
	}
	if !ok || r.deleted {
		return record{}, ErrAbsent
	}
	return r, nil
}

// Sync returns when all earlier writes would survive a power loss. If a log cannot be synced, its content is written
// again to a table and the log is dropped; an error means that neither was possible.
func (l *Ledger) Sync() error {
	err := l.syncLogs()
	if err == nil {
		return nil
	}
	l.merge.Lock()
	defer l.merge.Unlock()
	if e := l.sealAll(true); e != nil {
		return errors.Join(fmt.Errorf("sync ledger log: %w", err), e)
	}
	return nil
}

func (l *Ledger) syncLogs() error {
	l.mu.RLock()
	logs := l.logs()
	l.mu.RUnlock()
	for _, f := range logs {
		if err := f.sync(); err != nil {
			return err
		}
	}
	return nil
}

// logs returns the logs that are not yet in a table, oldest first. l.mu is held.
func (l *Ledger) logs() []*logFile {
	var logs []*logFile
	if l.frozen != nil {
		logs = append(logs, l.frozen.logs...)
	}
	logs = append(logs, l.older...)
	if l.log != nil {
		logs = append(logs, l.log)
	}
	return logs
}

// Dirty reports whether there are writes that Sync would make durable.
func (l *Ledger) Dirty() bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return slices.ContainsFunc(l.logs(), (*logFile).dirty)
}

// Where returns the file or folder of a value, for display.
func (l *Ledger) Where(key string) string {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if r, err := l.find(key); err == nil && r.table != nil {
		return r.table.path
	}
	return l.dir
}

// Close ends the background work and closes the files.
func (l *Ledger) Close() error {
	l.mu.Lock()
	l.closed = true
	l.sealed.Broadcast()
	l.mu.Unlock()
	l.work.Wait()
	return l.closeFiles()
}

func (l *Ledger) closeFiles() error {
	var err error
	for _, f := range l.logs() {
		err = errors.Join(err, f.close())
	}
	for _, t := range l.tables {
		t.release()
	}
	l.tables, l.log, l.older, l.frozen = nil, nil, nil, nil
	return err
}
