package segment

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/multiformats/go-multihash"
)

// source yields records in key order.
type source interface {
	// next returns the next record; ok is false at the end.
	next() (r record, ok bool, err error)
}

type sliceSource struct{ all []record }

func (s *sliceSource) next() (record, bool, error) {
	if len(s.all) == 0 {
		return record{}, false, nil
	}
	r := s.all[0]
	s.all = s.all[1:]
	return r, true, nil
}

// tableSource reads a table from its start, many pages at a time.
type tableSource struct {
	t    *table
	page int
	buf  []byte // pages read ahead
	left []byte // remaining records of the current page
}

const pagesAtOnce = 64

func (s *tableSource) next() (record, bool, error) {
	for len(s.left) == 0 {
		if s.page == len(s.t.separators) {
			return record{}, false, nil
		}
		if len(s.buf) == 0 {
			n := min(pagesAtOnce, len(s.t.separators)-s.page)
			s.buf = make([]byte, n*pageSize)
			if _, err := s.t.file.ReadAt(s.buf, int64(s.page)*pageSize); err != nil {
				return record{}, false, err
			}
		}
		var err error
		if s.left, err = s.t.checkPage(s.page, s.buf[:pageSize]); err != nil {
			return record{}, false, err
		}
		s.buf = s.buf[pageSize:]
		s.page++
	}
	r := decodeRecord(s.left)
	s.left = s.left[recordSize:]
	return r, true, nil
}

// mergeSources calls fn for each key with its newest record. Later sources are newer.
func mergeSources(sources []source, fn func(record) error) error {
	heads := make([]record, len(sources))
	live := make([]bool, len(sources))
	for i, s := range sources {
		var err error
		if heads[i], live[i], err = s.next(); err != nil {
			return err
		}
	}
	for {
		newest := -1
		for i := range heads {
			if live[i] && (newest < 0 || heads[i].key.compare(heads[newest].key) <= 0) {
				newest = i
			}
		}
		if newest < 0 {
			return nil
		}
		r := heads[newest]
		for i := range heads {
			for live[i] && heads[i].key == r.key {
				var err error
				if heads[i], live[i], err = sources[i].next(); err != nil {
					return err
				}
			}
		}
		if err := fn(r); err != nil {
			return err
		}
	}
}

// mergeSimilar merges the two newest tables while the older one is less than twice as large as the newer. So a record
// is rewritten as often as the index doubles, and there are few tables. s.merging is held.
func (s *Store) mergeSimilar() {
	for {
		s.mu.RLock()
		n := len(s.tables)
		if s.closed || n < 2 || s.tables[n-2].records >= 2*s.tables[n-1].records {
			s.mu.RUnlock()
			return
		}
		pair := s.tables[n-2:]
		s.mu.RUnlock()
		if s.mergeTables(pair, false) != nil {
			return // the tables stay as they are
		}
	}
}

// mergeTables merges adjacent tables into one. If spare is true and the disk is full, it overwrites the reserve.
// s.merging is held.
func (s *Store) mergeTables(old []*table, spare bool) error {
	merged, err := s.writeMerged(old, &sliceSource{}, old[len(old)-1].span, spare)
	if err != nil {
		return err
	}
	s.mu.Lock()
	i := slices.Index(s.tables, old[0])
	s.tables = slices.Concat(s.tables[:i], []*table{merged}, s.tables[i+len(old):])
	s.mu.Unlock()
	s.replaced(old, merged)
	return nil
}

// writeMerged writes one table of adjacent tables and newer records; last is the span of the newest. s.merging is
// held.
func (s *Store) writeMerged(old []*table, newer *sliceSource, last span, spare bool) (*table, error) {
	first := old[0]
	s.mu.RLock()
	bottom := first == s.tables[0] // no older table holds records that a deletion must hide
	s.mu.RUnlock()
	records := uint64(len(newer.all))
	for _, t := range old {
		records += t.records
	}
	merged, err := s.writeTable(span{first.lo, last.hi, first.from, last.end}, records, spare, func(b *builder) error {
		sources := make([]source, len(old), len(old)+1)
		for i, t := range old {
			sources[i] = &tableSource{t: t}
		}
		return mergeSources(append(sources, &sliceSource{newer.all}), func(r record) error {
			if r.gone && bottom {
				return nil
			}
			return b.add(r)
		})
	})
	return merged, s.markRebuild(err)
}

// replaced removes tables that another table replaces.
func (s *Store) replaced(old []*table, by *table) {
	for _, t := range old {
		if t.path != by.path { // otherwise by replaced it under the same name
			s.fs.Remove(t.path) // if it remains, the next Open removes it
		}
		t.release()
	}
}

// Entry describes a block to the callback of Each.
type Entry struct {
	Key  multihash.Multihash
	Size int64
	File string
}

// Each calls fn for every block. It stops at the first error of fn and returns it. Blocks put or deleted during the
// iteration may or may not be visible. fn may call every other method.
func (s *Store) Each(ctx context.Context, fn func(Entry) error) error {
	return s.each(ctx, func(r record) error {
		mh, err := s.nameOf(r)
		if err != nil {
			return err
		}
		if mh == nil {
			return nil // deleted in the meantime
		}
		return fn(Entry{Key: mh, Size: int64(r.size), File: s.segmentPath(r.seg)})
	})
}

// each calls fn with the record of every block.
func (s *Store) each(ctx context.Context, fn func(record) error) error {
	return s.eachOf(ctx, false, fn)
}

// eachOf is each; with tables it reads only the tables, which is what the next process would find after a kill.
func (s *Store) eachOf(ctx context.Context, tables bool, fn func(record) error) error {
	sources, release, err := s.sources(tables)
	if err != nil {
		return err
	}
	defer release()
	err = mergeSources(sources, func(r record) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if r.gone {
			return nil
		}
		return fn(r)
	})
	return s.markRebuild(err)
}

// sources returns the tables and, unless only is true, the index in memory, oldest first.
func (s *Store) sources(only bool) ([]source, func(), error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return nil, nil, errClosed
	}
	tables := s.tables
	var all []source
	for _, t := range tables {
		t.acquire()
		all = append(all, &tableSource{t: t})
	}
	if s.frozen != nil && !only {
		all = append(all, &sliceSource{s.frozen.sorted()})
	}
	if !only {
		all = append(all, &sliceSource{s.recent.sorted()})
	}
	return all, func() {
		for _, t := range tables {
			t.release()
		}
	}, nil
}

// nameOf returns the multihash of r. If r does not contain it, nameOf reads it from the segment, where it precedes
// the block's bytes. It returns nil if the segment was removed, or the block was moved and its old place punched.
func (s *Store) nameOf(r record) (multihash.Multihash, error) {
	if mh, ok := r.multihash(); ok {
		return mh, nil
	}
	b := make([]byte, r.kind)
	err := s.readRaw(place{seg: r.seg, at: r.at - int64(r.kind), size: uint32(r.kind)}, b, 0)
	if absent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if keyOf(b) != r.key {
		if now, err := s.find(r.key); errors.Is(err, ErrAbsent) || err == nil && now != r.place {
			return nil, nil
		}
		return nil, &DamageError{s.segmentPath(r.seg), fmt.Sprintf("block at byte %d: multihash is damaged", r.at)}
	}
	return b, nil
}
