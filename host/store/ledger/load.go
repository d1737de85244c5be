package ledger

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ipfs-liftoff/liftoff/internal/diskfs"
)

// A ledger's folder contains logs, "<number>.log"; tables, "<first log>-<last log>.table"; a temporary file, "new",
// of a killed process; and damaged logs whose intact frames were recovered, "<number>.damaged". Numbers are eight hex
// digits and increase.
const tempName = "new"

func (l *Ledger) logPath(n uint32) string { return filepath.Join(l.dir, fmt.Sprintf("%08x.log", n)) }

func (l *Ledger) tablePath(lo, hi uint32) string {
	return filepath.Join(l.dir, fmt.Sprintf("%08x-%08x.table", lo, hi))
}

// span is the range of logs in a table's name.
type span struct{ lo, hi uint32 }

func (s span) holds(o span) bool { return s.lo <= o.lo && o.hi <= s.hi }

// list returns the logs and tables in the folder, in order.
func (l *Ledger) list() (logs []uint32, tables []span, err error) {
	all, err := l.cfg.FS.List(l.dir)
	if err != nil {
		return nil, nil, err
	}
	for _, name := range all {
		var lo, hi uint32
		switch {
		case scan(name, "%08x.log", &lo):
			logs = append(logs, lo)
		case scan(name, "%08x-%08x.table", &lo, &hi) && lo <= hi:
			tables = append(tables, span{lo, hi})
		}
	}
	return logs, tables, nil
}

// scan reports whether name matches format exactly, and parses its numbers.
func scan(name, format string, numbers ...any) bool {
	if n, err := fmt.Sscanf(name, format, numbers...); err != nil || n != len(numbers) {
		return false
	}
	values := make([]any, len(numbers))
	for i, p := range numbers {
		values[i] = *p.(*uint32)
	}
	return fmt.Sprintf(format, values...) == name
}

// load opens the tables and replays the logs. A kill can leave the same data in a log and a table, or in two tables:
// load removes the duplicate.
func (l *Ledger) load() error {
	logs, spans, err := l.list()
	if err != nil {
		return err
	}
	last := uint32(0)
	for i, s := range spans {
		if slices.ContainsFunc(spans, func(o span) bool { return o != s && o.holds(s) }) {
			l.remove(l.tablePath(s.lo, s.hi))
			continue
		}
		if n := len(l.tables); n > 0 && s.lo <= l.tables[n-1].hi {
			return &DamageError{File: l.tablePath(s.lo, s.hi), Why: "table covers ledger logs that another table also covers"}
		}
		t, err := openTable(l.cfg.FS, l.tablePath(s.lo, s.hi), s.lo, s.hi)
		var bad *DamageError
		if errors.As(err, &bad) {
			bad.Why += "; move this ledger file away to open the repo without its content"
		}
		if err != nil {
			return err
		}
		l.tables = append(l.tables, t)
		last = max(last, spans[i].hi)
	}
	logs = slices.DeleteFunc(logs, func(n uint32) bool {
		inTable := slices.ContainsFunc(spans, func(s span) bool { return s.holds(span{n, n}) })
		if inTable {
			l.remove(l.logPath(n))
		}
		return inTable
	})
	for i, n := range logs {
		if err := l.loadLog(n, i == len(logs)-1); err != nil {
			return err
		}
		last = max(last, n)
	}
	if l.cfg.ReadOnly || l.log != nil {
		return nil
	}
	if n := len(l.older); n > 0 { // its successor was never created
		l.log, l.older = l.older[n-1], l.older[:n-1]
		return nil
	}
	if l.log, err = l.newLog(last + 1); diskfs.Full(err) {
		if err := l.reserve.Release(); err != nil {
			return err
		}
		l.log, err = l.beginLog(last + 1) // the reserve follows when there is space
	}
	return err
}

// remove removes a redundant file. It ignores errors: a redundant file does no harm.
func (l *Ledger) remove(path string) {
	if !l.cfg.ReadOnly {
		l.cfg.FS.Remove(path)
	}
}

// loadLog replays log n. The last log stays the active log unless it is damaged. The others become tables, or are
// sealed together with the last one if there is no space for that now.
func (l *Ledger) loadLog(n uint32, last bool) error {
	path := l.logPath(n)
	file, err := l.cfg.FS.Open(path, !l.cfg.ReadOnly)
	if err != nil {
		return err
	}
	b, err := readAll(file)
	m := newMemory()
	var whole int
	var gap bool
	if err == nil {
		if whole, gap, err = replay(b, m); err != nil {
			err = &DamageError{File: path, Why: err.Error()}
		}
	}
	if err != nil {
		file.Close()
		return err
	}
	if l.cfg.ReadOnly {
		l.mem.add(m)
		return file.Close()
	}
	reuse := func() {
		s, _ := secretOf(b)
		f := &logFile{file: file, number: n, secret: s, size: int64(whole), room: int64(whole), syncDir: l.syncDir}
		if int64(len(b)) > f.room && allZero(b[whole:]) {
			f.room = int64(len(b)) // preallocated by writing zeros where the file system cannot reserve space
		}
		f.written.Store(1) // a previous process may not have synced it
		l.mem.add(m)
		if l.log = f; !last {
			l.log, l.older = nil, append(l.older, f)
		}
	}
	if last && !gap && whole > 0 {
		// What a kill cut off or a power loss dropped is overwritten.
		reuse()
		return nil
	}
	if len(m.entries) > 0 {
		if len(l.older) > 0 { // no table may be newer than these logs
			if !gap {
				reuse()
				return nil
			}
			return cmp.Or(file.Close(), error(&DamageError{File: path, Why: "ledger log is damaged, and the disk has no space to recover its entries"}))
		}
		t, err := l.build(n, n, m, gap)
		if diskfs.Full(err) && !gap {
			reuse()
			return nil
		}
		if err != nil {
			file.Close()
			return err
		}
		l.tables = append(l.tables, t)
	}
	if err := file.Close(); err != nil {
		return err
	}
	if gap {
		return l.cfg.FS.Rename(path, strings.TrimSuffix(path, ".log")+".damaged")
	}
	return l.cfg.FS.Remove(path)
}

func (l *Ledger) syncDir() error { return l.cfg.FS.SyncDir(l.dir) }

func allZero(b []byte) bool { return len(bytes.TrimLeft(b, "\x00")) == 0 }

func readAll(f diskfs.File) ([]byte, error) {
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	b := make([]byte, size)
	n, err := f.ReadAt(b, 0)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return b[:n], err
}

// replay adds the intact frames of a log to m. whole is the end of the last one, or 0 if the header is missing; gap
// reports damage before it.
func replay(b []byte, m *memory) (whole int, gap bool, err error) {
	secret, ok := secretOf(b)
	if !ok {
		return 0, len(b) > logHeader, nil
	}
	whole = logHeader
	for at := whole; at < len(b); {
		n := frameAt(b, secret, int64(at))
		if n == 0 {
			next := bytes.Index(b[at+1:], frameMagic[:])
			if next < 0 {
				return whole, gap, nil
			}
			at += 1 + next
			continue
		}
		if err := eachEntry(b[at+frameHeader:at+n], m.share); err != nil {
			return whole, gap, err
		}
		gap = gap || at != whole
		at += n
		whole = at
	}
	return whole, gap, nil
}

// newLog creates log n with its reserved space.
func (l *Ledger) newLog(n uint32) (*logFile, error) {
	f, err := l.beginLog(n)
	if err == nil && l.logReserve() > 0 {
		if err = f.takeRoom(f.size + l.logReserve()); err != nil {
			f.close()
			l.cfg.FS.Remove(l.logPath(n))
			return nil, err
		}
	}
	return f, err
}

// beginLog creates log n.
func (l *Ledger) beginLog(n uint32) (*logFile, error) {
	path := l.logPath(n)
	file, err := l.cfg.FS.Create(path)
	if err != nil {
		return nil, err
	}
	h := newHeader()
	s, _ := secretOf(h)
	f := &logFile{file: file, number: n, secret: s, size: logHeader, room: logHeader, syncDir: l.syncDir}
	if _, err = file.WriteAt(h, 0); err != nil {
		file.Close()
		l.cfg.FS.Remove(path)
		return nil, err
	}
	return f, nil
}

// Damaged returns the paths of damaged logs: some of their entries are lost. They are reported as long as the files
// are in the folder.
func (l *Ledger) Damaged() ([]string, error) {
	names, err := l.cfg.FS.List(l.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var paths []string
	for _, name := range names {
		if strings.HasSuffix(name, ".damaged") {
			paths = append(paths, filepath.Join(l.dir, name))
		}
	}
	return paths, err
}
