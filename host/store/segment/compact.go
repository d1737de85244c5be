package segment

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"syscall"
)

// Compacted is what a compaction did.
type Compacted struct {
	Segments int   // that were removed
	Freed    int64 // bytes of files, less what was written anew
}

// Compact gives back room: it removes segments with nothing left in them, writes what is left of those
// that are less than half full anew, and drops from the index what was deleted. When ctx ends it stops
// between two blocks.
func (s *Store) Compact(ctx context.Context) (Compacted, error) {
	if err := s.writable(); err != nil {
		return Compacted{}, err
	}
	var done Compacted
	live, err := s.liveBytes(ctx)
	if err == nil && s.sealSparse(live) {
		live, err = s.liveBytes(ctx) // of what nobody writes to any more
	}
	if err != nil {
		return done, err
	}
	sizes, err := s.sparse(live)
	if err != nil {
		return done, err
	}
	// What was deleted has to be known before its bytes go: a full disk is no reason, though, to keep
	// segments with nothing in them.
	if err := s.flushAll(); err != nil && !errors.Is(err, syscall.ENOSPC) {
		return done, err
	}
	dead := map[uint32]int64{}
	for n, size := range sizes {
		if live[n] == 0 {
			dead[n] = size
			delete(sizes, n)
		}
	}
	if err := s.remove(dead, &done); err != nil {
		return done, err
	}
	if len(sizes) > 0 {
		moved, err := s.moveOut(ctx, sizes)
		done.Freed -= moved
		if err == nil {
			err = s.flushAll()
		}
		if errors.Is(err, syscall.ENOSPC) {
			return done, s.punch(ctx, sizes)
		}
		if err == nil {
			err = s.remove(sizes, &done)
		}
		if err != nil {
			return done, err
		}
	}
	return done, s.mergeAll()
}

// remove removes segments in which nothing is left.
func (s *Store) remove(segs map[uint32]int64, done *Compacted) error {
	if len(segs) == 0 {
		return nil
	}
	for n, size := range segs {
		if err := s.fs.Remove(s.segmentPath(n)); err != nil && !absent(err) {
			return err
		}
		s.handles.drop(n)
		done.Segments++
		done.Freed += size
	}
	if err := s.fs.SyncDir(s.dir); err != nil {
		return s.fail(err)
	}
	return nil
}

// liveBytes returns how many bytes of each segment are in use.
func (s *Store) liveBytes(ctx context.Context) (map[uint32]int64, error) {
	live := map[uint32]int64{}
	err := s.each(ctx, func(r record) error {
		live[r.seg] += int64(r.size)
		return nil
	})
	return live, err
}

// worthSealing is the size in bytes from which an active segment with little in it is written anew.
const worthSealing = 1 << 20

// sealSparse ends the active segment if it should be written anew.
func (s *Store) sealSparse(live map[uint32]int64) bool {
	s.appending.Lock()
	defer s.appending.Unlock()
	if s.active == nil || s.end.at < worthSealing || 2*live[s.active.number] >= s.end.at {
		return false
	}
	s.seal()
	return true
}

// sparse returns the sealed segments that are worth rewriting and their sizes.
func (s *Store) sparse(live map[uint32]int64) (map[uint32]int64, error) {
	s.appending.Lock()
	defer s.appending.Unlock()
	segs, _, _, err := s.list()
	if err != nil {
		return nil, err
	}
	sizes := map[uint32]int64{}
	for _, n := range segs {
		if s.active != nil && n == s.active.number {
			continue
		}
		h, err := s.handles.get(n)
		if err != nil {
			return nil, err
		}
		size, err := h.Size()
		h.release()
		if err != nil {
			return nil, err
		}
		if 2*live[n] < size {
			sizes[n] = size
		}
	}
	return sizes, nil
}

// moveOut appends what is left in segs to the active segment, and returns how many bytes that are. A
// segment with a damaged block stays, and is taken out of segs: damage stays to be seen.
func (s *Store) moveOut(ctx context.Context, segs map[uint32]int64) (moved int64, err error) {
	left, err := s.left(ctx, segs)
	if err != nil {
		return 0, err
	}
	buf := getBuffer(maxSection)
	defer putBuffer(buf)
	for _, r := range left {
		if ctx.Err() != nil {
			return moved, context.Cause(ctx)
		}
		if _, ok := segs[r.seg]; !ok {
			continue
		}
		err := s.move(r, (*buf)[:r.size])
		var bad *DamageError
		if errors.As(err, &bad) {
			delete(segs, r.seg)
			continue
		}
		if err != nil {
			return moved, err
		}
		moved += int64(r.size)
	}
	return moved, nil
}

// left returns what is in segs, in the order of the files.
func (s *Store) left(ctx context.Context, segs map[uint32]int64) ([]record, error) {
	var all []record
	err := s.each(ctx, func(r record) error {
		if _, ok := segs[r.seg]; ok {
			all = append(all, r)
		}
		return nil
	})
	slices.SortFunc(all, func(a, b record) int {
		return cmp.Or(cmp.Compare(a.seg, b.seg), cmp.Compare(a.at, b.at))
	})
	return all, err
}

// punch gives back what is not in use inside segs, on a disk that has no room to write the rest
// anew. What is left can be read as before; the next compaction writes it anew.
func (s *Store) punch(ctx context.Context, segs map[uint32]int64) error {
	left, err := s.left(ctx, segs)
	if err != nil {
		return err
	}
	for n, size := range segs {
		f, err := s.fs.Open(s.segmentPath(n), true)
		if err != nil {
			return err
		}
		p, ok := f.(puncher)
		from := int64(len(carHeader))
		for _, r := range left {
			if !ok || r.seg != n {
				continue
			}
			name := 34
			if r.kind != 0 {
				name = int(r.kind)
			}
			begin := r.at - int64(len(appendHead(nil, make([]byte, name), int(r.size))))
			err = cmp.Or(err, p.PunchHole(from, begin-from))
			from = r.at + int64(r.size)
		}
		if ok {
			err = cmp.Or(err, p.PunchHole(from, size-from))
		}
		if e := f.Close(); err == nil {
			err = e
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// move appends r's block again, unless it is somewhere else by now.
func (s *Store) move(r record, buf []byte) error {
	mh, err := s.nameOf(r)
	if err != nil || mh == nil {
		return err
	}
	data, err := s.read(r.place, mh, buf)
	if err != nil {
		return err
	}
	s.awaitRoom()
	s.appending.Lock()
	defer s.appending.Unlock()
	if now, err := s.find(r.key); err != nil || now != r.place {
		if errors.Is(err, ErrAbsent) {
			err = nil
		}
		return err
	}
	p, err := s.append(mh, data, r.sum)
	if err != nil {
		return err
	}
	return s.enter(r.key, p)
}

// mergeAll makes one table of all, without what was deleted, when they are several.
func (s *Store) mergeAll() error {
	if err := s.flushAll(); err != nil {
		return err
	}
	s.merging.Lock()
	defer s.merging.Unlock()
	s.mu.RLock()
	all := s.tables
	s.mu.RUnlock()
	if len(all) < 2 {
		return nil
	}
	return s.mergeTables(all)
}
