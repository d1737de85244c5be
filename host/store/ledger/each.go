package ledger

import (
	"context"
	"errors"
	"slices"
	"strings"
)

// Item is one value, or one place where values are lost.
type Item struct {
	Key   string
	Size  int64
	Where string
	Err   error // a *DamageError: the lost keys are unknown, and Key is ""

	record record
}

// Value returns a copy of the value at which Each stands, or a *DamageError. It may be called until fn returns.
func (i Item) Value() ([]byte, error) {
	if i.Err != nil {
		return nil, i.Err
	}
	return i.record.load(i.Key)
}

// Each calls fn for every key with the given prefix, in key order. It stops at the first error of fn and returns it.
// fn may call every method. Writes made during the iteration may or may not be visible.
func (l *Ledger) Each(ctx context.Context, prefix string, fn func(Item) error) error {
	sources, release, err := l.sources(prefix)
	if err != nil {
		return err
	}
	defer release()
	return mergeSources(sources, func(e located) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if e.damage != nil {
			return fn(Item{Where: e.damage.File, Err: e.damage})
		}
		if e.deleted {
			return nil
		}
		where := l.dir
		if e.table != nil {
			where = e.table.path
		}
		return fn(Item{Key: e.key, Size: int64(e.size), Where: where, record: e.record})
	})
}

// sources returns the current memory and tables, oldest first. The caller must call the returned release function.
func (l *Ledger) sources(prefix string) ([]source, func(), error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.closed {
		return nil, nil, errClosed
	}
	tables := slices.Clone(l.tables)
	var all []source
	for _, t := range tables {
		t.acquire()
		all = append(all, &tableSource{table: t, prefix: prefix, lenient: true})
	}
	if l.frozen != nil {
		all = append(all, newMemorySource(l.frozen.mem, prefix))
	}
	all = append(all, newMemorySource(l.mem, prefix))
	return all, func() {
		for _, t := range tables {
			t.release()
		}
	}, nil
}

// source yields records in key order.
type source interface {
	// next returns the next record; ok is false at the end.
	next() (e located, ok bool, err error)
}

// memorySource yields a snapshot of a memory.
type memorySource struct {
	all []located
}

func newMemorySource(m *memory, prefix string) *memorySource {
	keys := m.keys(prefix)
	s := &memorySource{make([]located, len(keys))}
	for i, k := range keys {
		r := m.entries[k]
		s.all[i] = located{key: k, record: r}
	}
	return s
}

func (s *memorySource) next() (located, bool, error) {
	if len(s.all) == 0 {
		return located{}, false, nil
	}
	e := s.all[0]
	s.all = s.all[1:]
	return e, true, nil
}

// tableSource reads a table page by page.
type tableSource struct {
	table   *table
	prefix  string
	lenient bool // report a damaged page and skip it
	begun   bool
	page    int
	left    []located
}

func (s *tableSource) next() (located, bool, error) {
	if !s.begun {
		s.begun = true
		for s.page+1 < len(s.table.pages) && s.table.pages[s.page+1].first <= s.prefix {
			s.page++
		}
	}
	for {
		for len(s.left) > 0 {
			e := s.left[0]
			s.left = s.left[1:]
			if strings.HasPrefix(e.key, s.prefix) {
				return e, true, nil
			}
			if e.key > s.prefix {
				return located{}, false, nil
			}
		}
		if s.page == len(s.table.pages) {
			return located{}, false, nil
		}
		first := s.table.pages[s.page].first
		if first > s.prefix && !strings.HasPrefix(first, s.prefix) {
			return located{}, false, nil
		}
		var err error
		s.left, err = s.table.page(s.page)
		s.page++
		var bad *DamageError
		if s.lenient && errors.As(err, &bad) {
			return located{key: first, record: record{}, damage: bad}, true, nil
		}
		if err != nil {
			return located{}, false, err
		}
	}
}

// mergeSources calls fn for each key with its newest record. Later sources are newer.
func mergeSources(sources []source, fn func(located) error) error {
	heads := make([]*located, len(sources))
	advance := func(i int) error {
		e, ok, err := sources[i].next()
		if err != nil {
			return err
		}
		heads[i] = nil
		if ok {
			heads[i] = &e
		}
		return nil
	}
	for i := range sources {
		if err := advance(i); err != nil {
			return err
		}
	}
	for {
		newest := -1
		for i, h := range heads {
			if h != nil && (newest < 0 || h.key <= heads[newest].key) {
				newest = i
			}
		}
		if newest < 0 {
			return nil
		}
		e := *heads[newest]
		for i, h := range heads {
			if h == nil || h.key != e.key {
				continue
			}
			if h.damage != nil && i != newest {
				if err := fn(*h); err != nil {
					return err
				}
			}
			if err := advance(i); err != nil {
				return err
			}
		}
		if err := fn(e); err != nil {
			return err
		}
	}
}
