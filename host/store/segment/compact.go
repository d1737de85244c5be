package segment

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/ipfs-liftoff/liftoff/internal/diskfs"
)

// Compacted is what a compaction did.
type Compacted struct {
	Segments int   // that were removed
	Freed    int64 // bytes of files, less what was written anew
}

// Half is the fullness, in eighths, below which a segment is written anew when there is room.
const Half = 4

// Compact gives back room: it removes segments with nothing left in them, writes what is left of those
// that are less than so many eighths full anew, and drops from the index what was deleted. It takes one
// segment after the other, so that little more room is taken meanwhile. When ctx ends it stops between two
// blocks.
//
// A full disk does not keep it from giving back room: the table of what was deleted is written over the reserve, and
// where there is too little room to rewrite what is left, holes are made of what is not in use. Only what the index on the
// disk does not name is taken. The error says that the disk is full when not all deletions could be written down:
// those that could have given back their room, and the caller goes on.
func (s *Store) Compact(ctx context.Context, eighths int64) (Compacted, error) {
	if err := s.writable(); err != nil {
		return Compacted{}, err
	}
	flushed := s.flushAll() // what was deleted has to be known before its bytes go
	if flushed != nil && !diskfs.Full(flushed) {
		return Compacted{}, flushed
	}
	if diskfs.Full(s.fillReserve()) { // before anything is moved: what the reserve was used for takes less in one table
		if err := s.mergeAll(); err != nil && !diskfs.Full(err) {
			return Compacted{}, err
		}
		s.fillReserve() //nolint:errcheck // once more below
	}
	done, err := s.compact(ctx, eighths)
	if err == nil {
		err = s.mergeAll()
	}
	if err == nil && flushed == nil {
		err = s.fillReserve()
	}
	if !diskfs.Full(err) && (err != nil || flushed == nil) {
		return done, err
	}
	if err := s.Punch(ctx); err != nil {
		return done, err
	}
	if err := s.flushAll(); err != nil && !s.harmless(err) {
		return done, err
	}
	for _, err := range []error{s.mergeAll(), s.fillReserve()} {
		if err != nil && !diskfs.Full(err) {
			return done, err
		}
	}
	return done, nil
}

// harmless reports whether err, of a flush, says that the disk is full and nothing is lost by it: of what was put the
// next Open finds out, of deletions it would not.
func (s *Store) harmless(err error) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return diskfs.Full(err) && s.recent.deleted == 0 && (s.frozen == nil || s.frozen.deleted == 0)
}

func (s *Store) fillReserve() error {
	s.merging.Lock()
	defer s.merging.Unlock()
	return s.reserve.Fill()
}

// Reserved returns nil when the reserve is whole, which it makes it if there is room.
func (s *Store) Reserved() error {
	if s.cfg.ReadOnly {
		return nil
	}
	return s.fillReserve()
}

// compact removes or rewrites whole segments. The error says that the disk is full when there is too little room for what
// is left of one.
func (s *Store) compact(ctx context.Context, eighths int64) (Compacted, error) {
	var done Compacted
	live, err := s.liveBytes(ctx)
	if err == nil && s.sealSparse(live, eighths) {
		live, err = s.liveBytes(ctx) // of what nobody writes to any more
	}
	if err != nil {
		return done, err
	}
	sizes, err := s.sparse(live, eighths)
	if err != nil {
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
	left, err := s.left(ctx, sizes)
	if err != nil {
		return done, err
	}
	for len(left) > 0 {
		n := left[0].seg
		end := slices.IndexFunc(left, func(r record) bool { return r.seg != n })
		if end < 0 {
			end = len(left)
		}
		moved, err := s.moveOut(ctx, left[:end])
		done.Freed -= moved
		var bad *DamageError
		switch {
		case errors.As(err, &bad): // damage stays to be seen
		case err == nil:
			err = s.remove(map[uint32]int64{n: sizes[n]}, &done)
		}
		if err != nil && bad == nil {
			return done, err
		}
		left = left[end:]
		delete(sizes, n)
	}
	return done, nil
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
		s.appending.Lock()
		delete(s.sealed, n)
		delete(s.holes, n)
		s.appending.Unlock()
		done.Segments++
		done.Freed += size
	}
	if err := s.fs.SyncDir(s.dir); err != nil {
		return s.fail(err)
	}
	return nil
}

// liveBytes returns how many bytes of each segment are in use: not none where an empty block is. What is named by the
// index on the disk alone, because the deletion is in memory yet, counts too.
func (s *Store) liveBytes(ctx context.Context) (map[uint32]int64, error) {
	live := map[uint32]int64{}
	err := s.eachNamed(ctx, func(r record) error {
		live[r.seg] += r.section()
		return nil
	})
	return live, err
}

// eachNamed calls fn with the record of every block, and then with what the tables say of those of which there is more
// in memory.
func (s *Store) eachNamed(ctx context.Context, fn func(record) error) error {
	if err := s.each(ctx, fn); err != nil {
		return err
	}
	s.mu.RLock()
	newer := make(map[key]struct{}, len(s.recent.m))
	for _, f := range []*recent{s.recent, s.frozenRecent()} {
		if f != nil {
			for k := range f.m {
				newer[k] = struct{}{}
			}
		}
	}
	s.mu.RUnlock()
	if len(newer) == 0 {
		return nil
	}
	return s.eachOf(ctx, true, func(r record) error {
		if _, ok := newer[r.key]; !ok {
			return nil
		}
		return fn(r)
	})
}

func (s *Store) frozenRecent() *recent {
	if s.frozen == nil {
		return nil
	}
	return s.frozen.recent
}

// worthSealing is the size in bytes from which an active segment with little in it is written anew.
const worthSealing = 1 << 20

// Used returns how many bytes of the disk the files take.
func (s *Store) Used() (sum int64, err error) {
	s.appending.Lock()
	defer s.appending.Unlock()
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return 0, errClosed
	}
	for _, t := range s.tables {
		sum += int64(len(t.fences)) * (pageSize + 8)
	}
	if s.sealed == nil {
		segs, _, _, err := s.list()
		if err != nil {
			return 0, err
		}
		s.sealed, s.holes = map[uint32]int64{}, map[uint32]int64{}
		for _, n := range segs {
			h, err := s.handles.get(n)
			if err != nil {
				return 0, err
			}
			s.sealed[n], err = h.Size()
			if err == nil {
				s.holes[n], err = holesOf(h.File, s.sealed[n])
			}
			h.release()
			if err != nil {
				return 0, err
			}
		}
	}
	if s.active != nil {
		s.sealed[s.active.number] = s.end.at
	}
	for n, size := range s.sealed {
		sum += size - s.holes[n]
	}
	return sum, nil
}

// sealSparse ends the active segment if it should be written anew.
func (s *Store) sealSparse(live map[uint32]int64, eighths int64) bool {
	s.appending.Lock()
	defer s.appending.Unlock()
	if s.active == nil || s.end.at < min(worthSealing, s.cfg.MaxSegment/2) || 8*live[s.active.number] >= eighths*s.end.at {
		return false
	}
	s.seal()
	return true
}

// sparse returns the sealed segments that are worth rewriting and their sizes.
func (s *Store) sparse(live map[uint32]int64, eighths int64) (map[uint32]int64, error) {
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
		if 8*live[n] < eighths*size {
			sizes[n] = size
		}
	}
	return sizes, nil
}

// moveOut appends what is left in a segment to the active one, durably, and returns how many bytes that
// are.
func (s *Store) moveOut(ctx context.Context, left []record) (moved int64, err error) {
	buf := getBuffer(maxSection)
	defer putBuffer(buf)
	for _, r := range left {
		if ctx.Err() != nil {
			return moved, context.Cause(ctx)
		}
		if err := s.move(r, (*buf)[:r.size]); err != nil {
			return moved, err
		}
		moved += r.section()
	}
	return moved, s.flushAll()
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
	return s.mergeTables(all, true) // one table takes less than several
}
