package segment

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/ipfs-liftoff/liftoff/internal/diskfs"
)

// load opens the tables, and then scans what was appended after them.
func (s *Store) load() error {
	segs, tables, marked, err := s.list()
	if err != nil {
		return err
	}
	if err := s.openTables(tables); err != nil || marked {
		var bad *DamageError
		if err != nil && !errors.As(err, &bad) {
			return err
		}
		if err := s.dropTables(tables, marked); err != nil {
			return err
		}
	}
	if n := len(s.tables); n > 0 {
		s.covered = s.tables[n-1].end
		s.flushes = s.tables[n-1].hi
	}
	s.end = s.covered
	for i, n := range segs {
		if n < s.covered.seg {
			continue
		}
		if err := s.loadSegment(n, i == len(segs)-1); err != nil {
			return err
		}
	}
	return nil
}

// list returns the files in the folder, in order. A kill can leave tables whose content is in a larger one: list
// removes them.
func (s *Store) list() (segs []uint32, tables []span, marked bool, err error) {
	names, err := s.fs.List(s.dir)
	if err != nil {
		return nil, nil, false, err
	}
	for _, name := range names {
		var lo, hi uint32
		switch {
		case name == rebuildName:
			marked = true
		case scan(name, "%08x.car", &lo):
			segs = append(segs, lo)
		case scan(name, "%08x-%08x.index", &lo, &hi) && lo <= hi:
			tables = append(tables, span{lo: lo, hi: hi})
		}
	}
	slices.Sort(segs)
	slices.SortFunc(tables, func(a, b span) int { return int(int64(a.lo) - int64(b.lo)) })
	all := slices.Clone(tables)
	tables = slices.DeleteFunc(tables, func(t span) bool {
		inside := slices.ContainsFunc(all, func(o span) bool { return o != t && o.lo <= t.lo && t.hi <= o.hi })
		if inside && !s.cfg.ReadOnly {
			s.fs.Remove(s.tablePath(t.lo, t.hi))
		}
		return inside
	})
	return segs, tables, marked, nil
}

// scan reports whether name matches format exactly, and parses its numbers.
func scan(name, format string, numbers ...*uint32) bool {
	to, values := make([]any, len(numbers)), make([]any, len(numbers))
	for i, p := range numbers {
		to[i] = p
	}
	if n, err := fmt.Sscanf(name, format, to...); err != nil || n != len(numbers) {
		return false
	}
	for i, p := range numbers {
		values[i] = *p
	}
	return fmt.Sprintf(format, values...) == name
}

// openTables opens all tables. Together they must cover everything from the start without a gap.
func (s *Store) openTables(list []span) error {
	next := span{hi: 0}
	for _, sp := range list {
		t, err := openTable(s.fs, s.tablePath(sp.lo, sp.hi))
		if err != nil {
			return err
		}
		s.tables = append(s.tables, t)
		if t.lo != sp.lo || t.hi != sp.hi || t.lo != next.hi+1 || t.from != next.end {
			return t.damaged("segment index does not continue the previous index")
		}
		next = t.span
	}
	return nil
}

// dropTables removes the index, so that it is rebuilt.
func (s *Store) dropTables(list []span, marked bool) error {
	for _, t := range s.tables {
		t.release()
	}
	s.tables = nil
	if s.cfg.ReadOnly {
		return nil
	}
	for _, sp := range list {
		if err := s.fs.Remove(s.tablePath(sp.lo, sp.hi)); err != nil && !absent(err) {
			return err
		}
	}
	if err := s.fs.SyncDir(s.dir); err != nil {
		return err
	}
	if marked { // last: otherwise a partial index might be accepted
		return s.fs.Remove(filepath.Join(s.dir, rebuildName))
	}
	return nil
}

// loadSegment indexes the sections of segment n behind s.covered. The last segment becomes the active one.
func (s *Store) loadSegment(n uint32, last bool) error {
	f, err := s.fs.Open(s.segmentPath(n), last && !s.cfg.ReadOnly)
	if err != nil {
		return err
	}
	h := newHandle(f, n)
	defer h.release()
	size, err := h.Size()
	if err != nil {
		return err
	}
	from := int64(0)
	if n == s.covered.seg {
		from = s.covered.at
	}
	if size < from { // indexed data is missing; reading it reports the damage
		s.end = position{n, from}
		return nil
	}
	s.end = position{n, max(from, int64(len(carHeader)))}
	if err := s.loadSections(h, from, size); err != nil {
		return err
	}
	if s.end.at > from && s.writes.Load() == 0 {
		s.writes.Store(1) // a previous process may not have synced it
	}
	if s.cfg.ReadOnly {
		return nil
	}
	if s.end.at > from || last {
		s.unsafe = append(s.unsafe, h.acquire())
	}
	if !last {
		return nil
	}
	return s.resume(h, size)
}

// resume makes h, the last segment, the active one. It drops the bytes after the last section, which a kill cut off
// or a power loss did not preserve. Preallocated space behind the end may remain if a full disk prevents the
// truncation.
func (s *Store) resume(h *handle, size int64) error {
	if err := h.Truncate(min(size, s.end.at)); err != nil && size > s.end.at {
		return err
	}
	if size < int64(len(carHeader)) {
		if _, err := h.WriteAt([]byte(carHeader), 0); diskfs.Full(err) {
			return nil // the next segment is created instead
		} else if err != nil {
			return err
		}
	}
	s.active = h.acquire()
	s.handles.add(s.active)
	s.trickle.at = s.end.at
	return nil
}

// loadSections indexes the sections of h in the given range.
func (s *Store) loadSections(h *handle, from, size int64) error {
	return scanSections(h, from, size, func(f found) error {
		k := keyOf(f.mh)
		p := place{seg: h.number, at: f.at, size: uint32(f.size), sum: f.sum}
		s.end.at = f.at + int64(f.size)
		if f.bad {
			if old, err := s.find(k); err == nil && old.sum != p.sum {
				return nil // prefer the other copy
			}
			p = p.bad()
		}
		s.mu.Lock()
		s.recent.set(k, p)
		full := s.recent.full() && !s.cfg.ReadOnly && s.frozen == nil
		if full {
			s.freeze()
		}
		s.mu.Unlock()
		if !full {
			return nil
		}
		return s.flushLoaded(h)
	})
}

// flushLoaded writes a table during a large load, so that rebuilding an index takes no more memory than growing one.
func (s *Store) flushLoaded(h *handle) error {
	s.unsafe = append(s.unsafe, h.acquire())
	s.writes.Add(1)
	s.merging.Lock()
	defer s.merging.Unlock()
	if err := s.writeFrozen(); diskfs.Full(err) {
		return nil // prefer using memory to refusing to open
	} else if err != nil {
		return err
	}
	s.mergeSimilar()
	return nil
}
