package segment

import (
	"cmp"
	"context"
	"slices"
)

// minHole is the length in bytes of the shortest hole: file systems free whole pages.
const minHole = 4 << 10

// Punch frees the dead ranges inside all segments, for a disk without space to rewrite the live blocks. Live blocks
// stay readable; a later compaction rewrites them. Blocks named by the index on disk or in memory are live. It costs
// a pass over the index and a call for each hole.
func (s *Store) Punch(ctx context.Context) error {
	if err := s.writable(); err != nil {
		return err
	}
	s.appending.Lock()
	segs, _, _, err := s.list()
	end := s.end // later appends are behind it
	s.appending.Unlock()
	if err != nil {
		return err
	}
	named := map[uint32][]extent{}
	err = s.eachNamed(ctx, func(r record) error {
		end := r.at + int64(r.size)
		named[r.seg] = append(named[r.seg], extent{end - r.section(), end})
		return nil
	})
	if err == nil {
		err = s.Sync() // the new place of a moved block must be durable before the old one is freed
	}
	for _, n := range segs {
		if err != nil || ctx.Err() != nil {
			return cmp.Or(err, context.Cause(ctx))
		}
		if n <= end.seg {
			err = s.punchSegment(n, named[n], end)
		}
	}
	return err
}

// extent is the range of a section in its segment.
type extent struct{ from, to int64 }

// punchSegment punches holes between the named extents of segment n, up to end.
func (s *Store) punchSegment(n uint32, named []extent, end position) error {
	f, err := s.fs.Open(s.segmentPath(n), true)
	if absent(err) { // removed in the meantime
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	p, ok := f.(puncher)
	if !ok {
		return nil
	}
	size, err := f.Size()
	if err != nil {
		return err
	}
	if n == end.seg {
		size = min(size, end.at)
	}
	slices.SortFunc(named, func(a, b extent) int { return cmp.Compare(a.from, b.from) })
	from := int64(len(carHeader))
	for _, x := range named {
		if err := hole(p, from, x.from); err != nil {
			return err
		}
		from = max(from, x.to)
	}
	if err := hole(p, from, size); err != nil {
		return err
	}
	holes, err := holesOf(f, size)
	s.appending.Lock()
	defer s.appending.Unlock()
	if s.sealed != nil && err == nil {
		s.holes[n] = holes
	}
	return err
}

func hole(p puncher, from, to int64) error {
	if to-from < minHole {
		return nil
	}
	return p.PunchHole(from, to-from)
}
