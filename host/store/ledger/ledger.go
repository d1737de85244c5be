// Package ledger keeps many small values on disk, under keys, at the price of one
// write(2) for each batch of them: what one run of a guest leaves costs some
// microseconds instead of some files.
//
// A batch is appended to a log and is then in memory, too. A full log is sealed: its
// entries are written to a table, sorted, and the log is removed. Tables of similar
// size are merged, so that there are few. A value is looked for in memory, then in the
// tables from the newest to the oldest.
//
// One rule: what [Ledger.Write] has returned for is there after a kill at any
// instruction, all of its batch or nothing; after a loss of power that holds for what
// came before a [Ledger.Sync]. Everything on disk carries a checksum, and damage is an
// error that names the file and, where it can be known, the key.
//
// It knows nothing of what it keeps. One process at a time has a ledger open.
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

// Bounds, in bytes.
const (
	MaxKey   = 2 << 10
	MaxBatch = 64 << 20
)

// maxLogs is how many times MaxLog a log grows while an earlier one is sealed. Then Write
// waits: the disk cannot keep up.
const maxLogs = 16

// Config says how to open a ledger. Its zero fields are the defaults.
type Config struct {
	ReadOnly bool
	MaxLog   int64     // bytes of a log that is sealed; 1 MiB
	FS       diskfs.FS // nil: the operating system's
	// Reserve is for what makes room on a full disk: a file for a table, and behind the log up to as much, at most
	// 64 KiB, for deletions. Its FS is that of the ledger. Without a size no room is reserved.
	Reserve diskfs.Reserve
}

// Entry is one change: Key has Value from now on, or none.
type Entry struct {
	Key    string
	Value  []byte // not retained
	Delete bool
}

// ErrAbsent says that a key has no value.
var ErrAbsent = errors.New("absent")

// DamageError says that a part of a file is not what was written to it.
type DamageError struct {
	File string
	Key  string // whose value it is; "" when that is not known
	Why  string
}

func (e *DamageError) Error() string { return fmt.Sprintf("%s: %s", e.File, e.Why) }

// Ledger is an open ledger. Its methods may be called from several goroutines.
type Ledger struct {
	dir string
	cfg Config

	mu     sync.RWMutex
	log    *logFile   // nil: read-only
	older  []*logFile // that there was no room to seal when the ledger was opened: mem is of them, too
	mem    *memory    // what is in log
	frozen *sealing   // nil, or what is being made a table
	tables []*table   // oldest first
	buf    []byte     // of the last frame
	closed bool

	sealed *sync.Cond // on mu: frozen has become nil, or its sealing has failed
	work   sync.WaitGroup
	merge  sync.Mutex // held by whoever changes tables or the reserve

	reserve diskfs.Reserve // guarded by merge
}

// sealing is a full log on its way to a table.
type sealing struct {
	mem  *memory
	logs []*logFile // oldest first; several only when there was no room to seal them one by one
	busy bool       // it is being written
}

// last returns the newest log.
func (s *sealing) last() *logFile { return s.logs[len(s.logs)-1] }

var errClosed = errors.New("the ledger is closed")

// Open opens the ledger in dir, a folder that exists.
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
		l.shut()
		return nil, fmt.Errorf("open ledger %s: %w", dir, err)
	}
	if !cfg.ReadOnly {
		if err := l.reserve.Fill(); err != nil && !diskfs.Full(err) {
			l.shut()
			return nil, fmt.Errorf("open ledger %s: %w", dir, err)
		}
	}
	return l, nil
}

// Purpose says how much of the room that the log has taken ahead a write may use when the disk is full.
type Purpose int

// What is written for.
const (
	Keeping    Purpose = iota // keeps something: it leaves the reserve alone
	Removal                   // lets something be collected: it leaves a quarter
	Collection                // gives back room: it may take all
)

// maxLogReserve bounds the room behind the log, in bytes.
const maxLogReserve = 64 << 10

func (l *Ledger) logReserve() int64 { return min(maxLogReserve, l.cfg.Reserve.Size) }

// leave returns how much room a write for p leaves behind it.
func (l *Ledger) leave(p Purpose) int64 {
	switch r := l.logReserve(); {
	case r == 0:
		return -1
	case p == Keeping:
		return r
	case p == Removal:
		return r / 4
	}
	return 0
}

// Write makes the changes in their order, all of them or none.
func (l *Ledger) Write(entries ...Entry) error { return l.WriteFor(Keeping, entries...) }

// WriteFor is Write for a purpose.
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

// makeRoom rotates a full log. When sealing cannot keep up, it waits. l.mu is held.
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
			l.startSealing() // again: it has failed before
		}
		if l.log.size < maxLogs*l.cfg.MaxLog {
			return nil
		}
		l.sealed.Wait()
		if l.frozen != nil && !l.frozen.busy {
			return nil // it fails: rather a long log than no work
		}
	}
}

// Get returns the value of key, which is the caller's, or ErrAbsent, or a *DamageError.
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

// Recent reports whether e is what the ledger has in memory.
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

// Sync returns when all that was written before it would survive a loss of power. When a log cannot be synced, what it
// holds is written again, to a table, and the log is left: an error says that neither was possible.
func (l *Ledger) Sync() error {
	err := l.syncLogs()
	if err == nil {
		return nil
	}
	l.merge.Lock()
	defer l.merge.Unlock()
	if e := l.sealAll(true); e != nil {
		return errors.Join(fmt.Errorf("sync the ledger's log: %w", err), e)
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

// logs returns the logs that are not tables yet, oldest first. l.mu is held.
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

// Dirty reports whether there is anything that Sync would wait for.
func (l *Ledger) Dirty() bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return slices.ContainsFunc(l.logs(), (*logFile).dirty)
}

// Where names the place of a value, for people.
func (l *Ledger) Where(key string) string {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if r, err := l.find(key); err == nil && r.table != nil {
		return r.table.path
	}
	return l.dir
}

// Close ends the work in the background and closes the files.
func (l *Ledger) Close() error {
	l.mu.Lock()
	l.closed = true
	l.sealed.Broadcast()
	l.mu.Unlock()
	l.work.Wait()
	return l.shut()
}

func (l *Ledger) shut() error {
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
