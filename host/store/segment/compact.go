package segment

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/ipfs-liftoff/liftoff/internal/diskfs"
)

// Compacted is the result of a compaction.
type Compacted struct {
	Segments int   // removed segments
	Freed    int64 // bytes of removed files, minus rewritten bytes
}

// Half is the fill level, in eighths, below which a segment is rewritten when there is space.
const Half = 4

// Compact frees space: it removes segments without live blocks, rewrites the live blocks of segments that are less
// than the given number of eighths full, and drops deleted blocks from the index. It handles one segment after the
// other, so that it needs little additional space. If ctx ends, it stops between two blocks.
//
// It also frees space on a full disk: the table of deletions is written over the reserve, and if there is too little
// space to rewrite live blocks, it punches holes where nothing is live. It frees only bytes that the index on disk
// does not name. The error reports a full disk if not all deletions could be written: the caller may then delete less
// at a time and call it again.
func (s *Store) Compact(ctx context.Context, eighths int64) (Compacted, error) {
	if err := s.writable(); err != nil {
		return Compacted{}, err
	}
	flushed := s.flushAll() // deletions must be durable before their bytes are freed
	if flushed != nil && !diskfs.Full(flushed) {
		return Compacted{}, flushed
	}
	if diskfs.Full(s.fillReserve()) { // before moving blocks: a merged table needs less space than the reserve was used for
		if err := s.mergeAll(); err != nil && !diskfs.Full(err) {
			return Compacted{}, err
		}
		s.fillReserve() //nolint:errcheck // retried below
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

// harmless reports whether a flush error is only a full disk and loses no data: the next Open recovers puts from the
// segments, but not deletions.
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

// Reserved returns nil if the reserve is allocated. It tries to allocate it first.
func (s *Store) Reserved() error {
	if s.cfg.ReadOnly {
		return nil
	}
	return s.fillReserve()
}

// compact removes or rewrites whole segments. The error reports a full disk if there is too little space to rewrite a
// segment's live blocks.
func (s *Store) compact(ctx context.Context, eighths int64) (Compacted, error) {
	var done Compacted
	live, err := s.liveBytes(ctx)
	if err == nil && s.sealSparse(live, eighths) {
		live, err = s.liveBytes(ctx) // now without concurrent appends
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
		case errors.As(err, &bad): // keep the segment: damage must stay detectable
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

// remove removes segments without live blocks.
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

// liveBytes returns the live bytes of each segment. Sections count with their headers, so an empty block counts too.
// Records that only the index on disk names, because the deletion is still in memory, count as well.
func (s *Store) liveBytes(ctx context.Context) (map[uint32]int64, error) {
	live := map[uint32]int64{}
	err := s.eachNamed(ctx, func(r record) error {
		live[r.seg] += r.section()
		return nil
	})
	return live, err
}

// eachNamed calls fn with the record of every block, and then with the table records of keys that also have a record
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

// worthSealing is the size in bytes above which a sparse active segment is sealed and rewritten.
const worthSealing = 1 << 20

// Used returns how many bytes on disk the files use.
func (s *Store) Used() (sum int64, err error) {
	s.appending.Lock()
	defer s.appending.Unlock()
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return 0, errClosed
	}
	for _, t := range s.tables {
		sum += int64(len(t.separators)) * (pageSize + 8)
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

// sealSparse seals the active segment if it should be rewritten.
func (s *Store) sealSparse(live map[uint32]int64, eighths int64) bool {
	s.appending.Lock()
	defer s.appending.Unlock()
	if s.active == nil || s.end.at < min(worthSealing, s.cfg.MaxSegment/2) || 8*live[s.active.number] >= eighths*s.end.at {
		return false
	}
	s.seal()
	return true
}

// sparse returns the sealed segments that are worth rewriting, with their sizes.
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

// moveOut durably appends the live blocks of a segment to the active one. It returns the number of bytes moved.
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

// left returns the live records of segs, in file order.
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

// move appends r's block again, unless it was moved or deleted in the meantime.
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

// mergeAll merges all tables into one and drops deletions.
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
	return s.mergeTables(all, true) // one table needs less space than several
}
