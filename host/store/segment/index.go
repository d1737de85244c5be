package segment

import (
	"errors"
	"path/filepath"
	"slices"

	"github.com/ipfs-liftoff/liftoff/internal/diskfs"
)

// recent is the newest part of the index, in memory.
type recent struct {
	m       map[key]place
	bytes   int64 // size of the blocks in m
	deleted int   // deletions entered
	max     int   // number of entries at which it is full
}

func (s *Store) newRecent() *recent { return &recent{m: map[key]place{}, max: s.maxRecent} }

func (r *recent) set(k key, p place) {
	r.m[k] = p
	if p.gone {
		r.deleted++
		return
	}
	r.bytes += int64(p.size)
}

// large reports whether recent is too large to leave to the next Open.
func (r *recent) large() bool { return len(r.m) > maxUnflushed || r.bytes > maxUnflushedBytes }

func (r *recent) full() bool { return len(r.m) >= r.max || r.bytes >= maxRecentBytes }

// sorted returns a snapshot of the records in key order.
func (r *recent) sorted() []record {
	all := make([]record, 0, len(r.m))
	for k, p := range r.m {
		all = append(all, record{k, p})
	}
	slices.SortFunc(all, func(a, b record) int { return a.key.compare(b.key) })
	return all
}

// record is an index entry.
type record struct {
	key
	place
}

// section returns the length in bytes of the section that contains r's block.
func (r record) section() int64 {
	name := sha256Name
	if r.kind != 0 {
		name = int(r.kind)
	}
	return int64(sectionLen(name, int(r.size)))
}

// frozen is a recent that is being written to a table.
type frozen struct {
	*recent
	number    uint32
	from, end position // range of segment positions that it covers
	busy      bool     // a goroutine is writing it
}

// find returns the place of k, or ErrAbsent.
func (s *Store) find(k key) (place, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return place{}, errClosed
	}
	p, ok := s.recent.m[k]
	if !ok && s.frozen != nil {
		p, ok = s.frozen.m[k]
	}
	for i := len(s.tables) - 1; i >= 0 && !ok; i-- {
		var err error
		if p, ok, err = s.tables[i].find(k); err != nil {
			return place{}, s.markRebuild(err)
		}
	}
	if !ok || p.gone {
		return place{}, ErrAbsent
	}
	return p, nil
}

// markRebuild makes the next Open rebuild the index if err reports a damaged table.
func (s *Store) markRebuild(err error) error {
	var bad *DamageError
	if errors.As(err, &bad) && !s.cfg.ReadOnly {
		if f, err := s.fs.Create(filepath.Join(s.dir, rebuildName)); err == nil {
			f.Close()
		}
	}
	return err
}

// maxBacklog is how many times its limit recent may grow before Put waits for the table of the previous one.
const maxBacklog = 4

// awaitRoom waits while flushing is far behind. The caller must not hold locks.
func (s *Store) awaitRoom() {
	s.mu.RLock()
	far := s.backlogged()
	s.mu.RUnlock()
	if !far {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.backlogged() && s.frozen != nil && s.frozen.busy && !s.closed { // if flushing fails, do not wait: prefer using memory to refusing writes
		s.flush.Wait()
	}
}

func (s *Store) backlogged() bool {
	return len(s.recent.m) >= maxBacklog*s.maxRecent || s.recent.bytes >= maxBacklog*maxRecentBytes
}

// freezeFull starts to flush a full recent. s.appending and s.mu are held.
func (s *Store) freezeFull() {
	switch {
	case !s.recent.full():
	case s.frozen == nil:
		s.freeze()
		s.startFlush()
	case !s.frozen.busy:
		s.startFlush() // retry: flushing has failed before
	}
}

// freeze moves recent to s.frozen and begins a new one. s.appending and s.mu are held, s.frozen is nil.
func (s *Store) freeze() {
	s.flushes++
	s.frozen = &frozen{recent: s.recent, number: s.flushes, from: s.covered, end: s.end}
	s.covered = s.end
	s.recent = s.newRecent()
}

// startFlush writes s.frozen in the background and then merges tables. s.mu is held.
func (s *Store) startFlush() {
	s.frozen.busy = true
	s.work.Go(func() {
		s.merging.Lock()
		defer s.merging.Unlock()
		if s.writeFrozen() == nil {
			s.mergeSimilar()
		}
	})
}

// writeFrozen writes s.frozen to a table, after syncing the blocks that it names. s.merging is held. If it fails,
// s.frozen stays and a later call retries.
func (s *Store) writeFrozen() error {
	s.mu.RLock()
	f := s.frozen
	s.mu.RUnlock()
	if f == nil {
		return nil
	}
	t, old, err := s.build(f)
	s.mu.Lock()
	f.busy = false
	if s.flushErr = err; err == nil {
		s.tables = append(slices.Clone(s.tables[:len(s.tables)-len(old)]), t)
		s.frozen = nil
	}
	s.flush.Broadcast()
	s.mu.Unlock()
	if err == nil {
		s.replaced(old, t)
	}
	return err
}

// build writes f to a table. On a full disk a table with deletions is written over the reserve: preferably one that
// also replaces all existing tables, which are returned as old, otherwise one for f alone.
func (s *Store) build(f *frozen) (t *table, old []*table, err error) {
	if err := s.Sync(); err != nil {
		return nil, nil, err
	}
	span := span{f.number, f.number, f.from, f.end}
	all := f.sorted()
	add := func(b *builder) error {
		for _, r := range all {
			if err := b.add(r); err != nil {
				return err
			}
		}
		return nil
	}
	t, err = s.writeTable(span, uint64(len(all)), false, add)
	if !diskfs.Full(err) || f.deleted == 0 {
		return t, nil, err
	}
	s.mu.RLock()
	old = s.tables
	s.mu.RUnlock()
	if len(old) > 0 {
		t, err = s.writeMerged(old, &sliceSource{all}, span, true)
	}
	if diskfs.Full(err) {
		t, err = s.writeTable(span, uint64(len(all)), true, add)
		old = nil
	}
	return t, old, err
}

// thaw adds recent to a frozen whose flush has failed, if both fit into one table: the reserve has space for only
// one. s.merging is held.
func (s *Store) thaw() {
	s.appending.Lock()
	defer s.appending.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.frozen
	if f == nil || s.closed || len(f.m)+len(s.recent.m) > s.maxRecent {
		return
	}
	for k, p := range s.recent.m {
		f.set(k, p)
	}
	f.end, s.covered, s.recent = s.end, s.end, s.newRecent()
}

// flushAll writes the whole index in memory to tables.
func (s *Store) flushAll() error {
	s.merging.Lock()
	defer s.merging.Unlock()
	s.thaw()
	if err := s.writeFrozen(); err != nil {
		return err
	}
	s.appending.Lock()
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		s.appending.Unlock()
		return errClosed
	}
	if s.frozen == nil && (len(s.recent.m) > 0 || s.covered.before(s.end)) {
		s.freeze()
	}
	s.mu.Unlock()
	s.appending.Unlock()
	if err := s.writeFrozen(); err != nil {
		return err
	}
	s.mergeSimilar()
	return nil
}
