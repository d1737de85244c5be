package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A ledger's folder holds logs, "<number>.log"; tables, "<first log>-<last log>.table";
// what a killed process has left, "new"; and logs that were found damaged, whose sound
// frames were taken over, "<number>.damaged". Numbers are eight hex digits and grow.
const tempName = "new"

func (l *Ledger) logPath(n uint32) string { return filepath.Join(l.dir, fmt.Sprintf("%08x.log", n)) }

func (l *Ledger) tablePath(lo, hi uint32) string {
	return filepath.Join(l.dir, fmt.Sprintf("%08x-%08x.table", lo, hi))
}

// span is a table's name.
type span struct{ lo, hi uint32 }

func (s span) holds(o span) bool { return s.lo <= o.lo && o.hi <= s.hi }

// list returns what is in the folder, in order.
func (l *Ledger) list() (logs []uint32, tables []span, err error) {
	all, err := os.ReadDir(l.dir)
	if err != nil {
		return nil, nil, err
	}
	for _, e := range all {
		var lo, hi uint32
		switch name := e.Name(); {
		case scan(name, "%08x.log", &lo):
			logs = append(logs, lo)
		case scan(name, "%08x-%08x.table", &lo, &hi) && lo <= hi:
			tables = append(tables, span{lo, hi})
		}
	}
	return logs, tables, nil
}

// scan reports whether name is what format makes of the numbers that it holds.
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

// load opens what is there. What a kill has left twice, as a log and in a table, or in
// two tables, is removed once.
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
			return &DamageError{File: l.tablePath(s.lo, s.hi), Why: "its name overlaps with that of another table"}
		}
		t, err := openTable(l.tablePath(s.lo, s.hi), s.lo, s.hi)
		var bad *DamageError
		if errors.As(err, &bad) {
			bad.Why += ": move it away to go on without what it holds"
		}
		if err != nil {
			return err
		}
		l.tables = append(l.tables, t)
		last = max(last, spans[i].hi)
	}
	for i, n := range logs {
		if slices.ContainsFunc(spans, func(s span) bool { return s.holds(span{n, n}) }) {
			l.remove(l.logPath(n))
			continue
		}
		if err := l.loadLog(n, i == len(logs)-1); err != nil {
			return err
		}
		last = max(last, n)
	}
	if l.cfg.ReadOnly || l.log != nil {
		return nil
	}
	l.log, err = newLog(l.logPath(last+1), last+1)
	return err
}

// remove removes a file that is not needed: where it stays it does no harm.
func (l *Ledger) remove(path string) {
	if !l.cfg.ReadOnly {
		os.Remove(path)
	}
}

// loadLog replays log n. The last one goes on as the log, unless it is damaged; the
// others become tables.
func (l *Ledger) loadLog(n uint32, last bool) error {
	path := l.logPath(n)
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if l.cfg.ReadOnly {
		if _, _, err := replay(b, l.mem); err != nil {
			return &DamageError{File: path, Why: err.Error()}
		}
		return nil
	}
	m := newMemory()
	whole, gap, err := replay(b, m)
	if err != nil {
		return &DamageError{File: path, Why: err.Error()}
	}
	if last && !gap && whole > 0 {
		file, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		if whole < len(b) { // a kill has cut the last frame off, or a loss of power the last ones
			err = file.Truncate(int64(whole))
		}
		s, _ := secretOf(b)
		l.mem, l.log = m, &logFile{file: file, number: n, secret: s, size: int64(whole)}
		l.log.written.Store(1) // by a process that may not have synced it
		return err
	}
	if len(m.entries) > 0 {
		t, err := l.build(n, m)
		if err != nil {
			return err
		}
		l.tables = append(l.tables, t)
	}
	if gap {
		return os.Rename(path, strings.TrimSuffix(path, ".log")+".damaged")
	}
	return os.Remove(path)
}

// replay enters the sound frames of a log into m. whole is where the last one ends, 0
// when not even the header is there; gap says that what comes before is not all sound.
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

func newLog(path string, n uint32) (*logFile, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	h := newHeader()
	if _, err := file.Write(h); err != nil {
		file.Close()
		os.Remove(path)
		return nil, err
	}
	s, _ := secretOf(h)
	return &logFile{file: file, number: n, secret: s, size: logHeader}, nil
}

// Damaged returns the logs that were found damaged: some of what was written is lost.
// They count as long as they are in the folder.
func (l *Ledger) Damaged() ([]string, error) {
	paths, err := filepath.Glob(filepath.Join(globEscape(l.dir), "*.damaged"))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return paths, err
}

// globEscape keeps the characters of a folder's name from being a pattern.
func globEscape(dir string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
}
