package ledger

import (
	"errors"
	"fmt"
	"os"

	"github.com/ipfs-liftoff/liftoff/internal/diskfs"
)

// Compact frees the space of deleted and overwritten values. A full disk is not an error: Compact then frees what it
// can, using the reserve and punching holes in the tables. Until space is free it writes only to the reserve.
func (l *Ledger) Compact() error {
	if l.cfg.ReadOnly {
		return fmt.Errorf("compact ledger %s: %w", l.dir, os.ErrPermission)
	}
	l.merge.Lock()
	defer l.merge.Unlock()
	err := l.compact(false)
	if diskfs.Full(err) && l.shrinks() {
		if err = l.recycle(); err == nil {
			err = l.compact(true)
		}
	}
	if err == nil {
		err = l.reserve.Fill()
	}
	if !diskfs.Full(err) {
		return err
	}
	if err := l.punch(); err != nil {
		return err
	}
	if err := l.reserve.Fill(); !diskfs.Full(err) {
		return err
	}
	return nil
}

// leastGain is how many bytes a compaction must free before the reserve is used for it.
const leastGain = 8 << 10

// shrinks reports whether a compaction would free more than it uses permanently: it removes files and half-full
// pages. It costs a pass over the tables' pages. l.merge is held.
func (l *Ledger) shrinks() bool {
	sources, release, err := l.sources("")
	if err != nil {
		return false
	}
	defer release()
	gain := int64(-leastGain)
	l.mu.RLock()
	for _, t := range l.tables {
		gain += t.size
	}
	for _, f := range l.logs() {
		gain += f.size
	}
	l.mu.RUnlock()
	const entry = 24 // overhead of a page entry, without the key
	err = mergeSources(sources, func(e located) error {
		if !e.deleted {
			gain -= int64(len(e.key)+e.size) + entry
		}
		return nil
	})
	return err == nil && gain > 0
}

// compact merges everything into one table. If spare is true and the disk is full, it overwrites the reserve. l.merge
// is held.
func (l *Ledger) compact(spare bool) error {
	if err := l.sealAll(spare); err != nil {
		return err
	}
	l.mu.RLock()
	all := l.tables
	l.mu.RUnlock()
	if len(all) == 0 {
		return nil
	}
	return l.mergeTables(all, spare)
}

// Reserved returns nil if the space reserved for freeing space is allocated. It tries to allocate it first.
func (l *Ledger) Reserved() error {
	if l.cfg.ReadOnly {
		return nil
	}
	l.merge.Lock()
	err := l.reserve.Fill()
	l.merge.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil && l.log != nil && l.logReserve() > 0 {
		err = l.log.takeRoom(l.log.size + l.logReserve())
	}
	return err
}

// puncher is a file that can free the disk space of a range, which then reads as zeros.
type puncher interface{ PunchHole(off, n int64) error }

// minHole is the length in bytes of the shortest hole: file systems free whole pages.
const minHole = 4 << 10

// Punch frees the space of deleted and overwritten values when Compact has no room to rewrite the tables.
func (l *Ledger) Punch() error {
	if l.cfg.ReadOnly {
		return fmt.Errorf("compact ledger %s: %w", l.dir, os.ErrPermission)
	}
	l.merge.Lock()
	defer l.merge.Unlock()
	return l.punch()
}

// punch punches holes where tables hold values that a newer record replaces, after making the newer records durable.
// A table that is being read stays as it is: its reader may have found a value before its deletion. It costs a lookup
// for every key. l.merge is held.
func (l *Ledger) punch() error {
	if err := l.syncLogs(); err != nil {
		return err
	}
	l.mu.RLock()
	tables := l.tables
	l.mu.RUnlock()
	for _, t := range tables {
		if err := l.punchTable(t); err != nil {
			return err
		}
	}
	return nil
}

type extent struct{ from, to int64 }

func (l *Ledger) punchTable(t *table) error {
	var dead []extent
	for i := range t.pages {
		begun := false // the values of a group are adjacent
		err := t.scan(i, func(key []byte, r record) bool {
			if r.deleted || l.isNewest(string(key), r) {
				begun = false
				return true
			}
			if n := len(dead); begun && dead[n-1].to == r.at {
				dead[n-1].to += int64(r.size)
			} else {
				dead = append(dead, extent{r.at, r.at + int64(r.size)})
			}
			begun = true
			return true
		})
		var bad *DamageError
		if err != nil && !errors.As(err, &bad) {
			return err
		}
	}
	f, err := l.cfg.FS.Open(t.path, true)
	if err != nil {
		return err
	}
	defer f.Close()
	p, ok := f.(puncher)
	if !ok || t.refs.Load() > 1 {
		return nil
	}
	for _, x := range dead {
		if x.to-x.from < minHole {
			continue
		}
		if err := p.PunchHole(x.from, x.to-x.from); err != nil {
			return err
		}
	}
	return nil
}

// isNewest reports whether r, read from a table, is the current record of key. It returns true if it cannot find out.
func (l *Ledger) isNewest(key string, r record) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	now, err := l.find(key)
	if errors.Is(err, ErrAbsent) {
		return false
	}
	return err != nil || now.table == r.table && now.at == r.at
}
