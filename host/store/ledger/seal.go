package ledger

import (
	"path/filepath"

	"github.com/ipfs-liftoff/liftoff/internal/diskfs"
)

// rotate begins a new log and seals the full one. l.mu is held, l.frozen is nil.
func (l *Ledger) rotate() error {
	if err := l.freeze(); diskfs.Full(err) {
		return nil // prefer a long log to refusing writes; its reserve stays
	} else if err != nil {
		return err
	}
	l.startSealing()
	return nil
}

// freeze moves the current log and memory to l.frozen and begins a new log. l.mu is held, l.frozen is nil.
func (l *Ledger) freeze() error {
	if l.frozen != nil {
		panic("ledger: l.frozen is already set") // it would be lost
	}
	n := l.log.number + 1
	log, err := l.newLog(n)
	if err != nil {
		return err
	}
	l.frozen = &sealing{mem: l.mem, logs: append(l.older, l.log)}
	l.mem, l.log, l.older = newMemory(), log, nil
	return nil
}

// startSealing seals l.frozen in the background and then merges tables. l.mu is held.
func (l *Ledger) startSealing() {
	l.frozen.busy = true
	l.work.Go(func() {
		l.merge.Lock()
		defer l.merge.Unlock()
		if l.seal(false) == nil {
			l.mergeSimilar()
		}
	})
}

// seal writes l.frozen to a table. If spare is true and the disk is full, it overwrites the reserve. l.merge is held.
// If it fails, l.frozen stays and a later Write retries.
func (l *Ledger) seal(spare bool) error {
	l.mu.Lock()
	f := l.frozen
	l.mu.Unlock()
	if f == nil {
		return nil
	}
	t, err := l.build(f.logs[0].number, f.last().number, f.mem, spare)
	l.mu.Lock()
	if f.busy = false; err == nil {
		l.tables = append(l.tables, t)
		l.frozen = nil
	}
	l.sealed.Broadcast()
	l.mu.Unlock()
	if err != nil {
		return err
	}
	for _, log := range f.logs {
		log.close()
		l.cfg.FS.Remove(l.logPath(log.number)) // if it remains, the next Open removes it
	}
	return nil
}

// build writes m as the table of the logs lo to hi.
func (l *Ledger) build(lo, hi uint32, m *memory, spare bool) (*table, error) {
	return l.writeTable(lo, hi, spare, func(b *builder) error {
		for _, key := range m.keys("") {
			r := m.entries[key]
			r.sum = sumOf(key, r.value)
			if err := b.add(key, r, r.value); err != nil {
				return err
			}
		}
		return nil
	})
}

// writeTable durably writes a table with the entries that fill adds. If spare is true and the disk is full, it
// overwrites the reserve and calls fill a second time. l.merge is held, or no other goroutine uses l.
func (l *Ledger) writeTable(lo, hi uint32, spare bool, fill func(*builder) error) (*table, error) {
	path := l.tablePath(lo, hi)
	err := l.reserve.Write(path, filepath.Join(l.dir, tempName), spare, func(f diskfs.File) (int64, error) {
		b := newBuilder(f)
		err := fill(b)
		if err == nil {
			err = b.finish()
		}
		return b.at, err
	})
	if err != nil {
		return nil, err
	}
	return openTable(l.cfg.FS, path, lo, hi)
}

// mergeSimilar merges the two newest tables while the older one is less than twice as large as the newer. So each
// byte is rewritten as often as the ledger's size doubles, and there are few tables. l.merge is held.
func (l *Ledger) mergeSimilar() {
	for {
		l.mu.RLock()
		n := len(l.tables)
		if l.closed || n < 2 || l.tables[n-2].size >= 2*l.tables[n-1].size {
			l.mu.RUnlock()
			return
		}
		pair := l.tables[n-2:]
		l.mu.RUnlock()
		if l.mergeTables(pair, false) != nil {
			return // the tables stay as they are
		}
	}
}

// mergeTables merges adjacent tables into one. l.merge is held.
func (l *Ledger) mergeTables(old []*table, spare bool) error {
	first, last := old[0], old[len(old)-1]
	l.mu.RLock()
	bottom := first == l.tables[0] // no older table holds values that a deletion must hide
	l.mu.RUnlock()
	merged, err := l.writeTable(first.lo, last.hi, spare, func(b *builder) error {
		sources := make([]source, len(old))
		for i, t := range old {
			sources[i] = &tableSource{table: t}
		}
		return mergeSources(sources, func(e located) error {
			if e.deleted {
				if bottom {
					return nil
				}
				return b.add(e.key, e.record, nil)
			}
			value := make([]byte, e.size)
			if _, err := e.table.file.ReadAt(value, e.at); err != nil {
				return err
			}
			return b.add(e.key, e.record, value)
		})
	})
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	var tables []*table
	for _, t := range l.tables {
		switch {
		case t == first:
			tables = append(tables, merged)
		case t.lo > first.lo && t.hi <= last.hi:
		default:
			tables = append(tables, t)
		}
	}
	l.tables = tables
	for _, t := range old {
		if len(old) > 1 { // otherwise merged replaces it under the same name
			l.cfg.FS.Remove(t.path)
		}
		t.release()
	}
	return nil
}

// sealAll writes everything that was written before the call to tables. A Write may begin a new log whenever l.mu is
// free; what is frozen then is sealed first. l.merge is held.
func (l *Ledger) sealAll(spare bool) error {
	l.mu.RLock()
	if l.log == nil { // closed
		l.mu.RUnlock()
		return errClosed
	}
	last := l.log.number
	l.mu.RUnlock()
	for {
		frozen, err := l.freezeUpTo(last)
		if err != nil || !frozen {
			return err
		}
		if err := l.seal(spare); err != nil {
			return err
		}
	}
}

// freezeUpTo freezes the current log if its number is at most last and it is not empty. It reports whether l.frozen
// holds a log with a number of at most last.
func (l *Ledger) freezeUpTo(last uint32) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return false, errClosed
	case l.frozen != nil:
		return l.frozen.last().number <= last, nil
	case l.log.number > last || len(l.mem.entries) == 0:
		return false, nil
	}
	return true, l.freeze()
}
