package store

import (
	"context"
	"fmt"
	"time"
)

// ScrubParts is the number of parts into which the blocks are divided by multihash, so that a slow scrub of a large
// repo can stop and continue with the next part.
const ScrubParts = 256

// ScrubPart is [Store.Check] of one part, 0 to ScrubParts-1, at no more than rate bytes a second, one block after the
// other; between two blocks the store is free for other calls. Part 0 also covers files that are not blocks, and the
// ledger's records. Blocks removed since the part began are skipped.
func (s *Store) ScrubPart(ctx context.Context, part int, rate int64, damaged func(Damage)) (Checked, error) {
	var sum Checked
	list, err := s.scrubList(ctx, part)
	for _, e := range list {
		if err != nil {
			break
		}
		var size int64
		if size, err = s.scrub(ctx, e, &sum, damaged); err == nil {
			err = pause(ctx, time.Duration(float64(size)/float64(rate)*float64(time.Second)))
		}
	}
	if err == nil && part == 0 {
		if err = s.enter(ctx); err == nil {
			err = s.verifyRecords(ctx, &sum, damaged)
			s.leave()
		}
	}
	if err != nil {
		return sum, fmt.Errorf("scrub repo %s: not completed: %w", s.dir, err)
	}
	return sum, nil
}

// scrubList returns the entries of a part.
func (s *Store) scrubList(ctx context.Context, part int) ([]entry, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.leave()
	var list []entry
	err := s.blocks.Each(ctx, func(e entry) error {
		if n := len(e.Key); n == 0 && part == 0 || n > 0 && int(e.Key[n-1]) == part {
			list = append(list, e)
		}
		return nil
	})
	return list, err
}

// scrub checks one entry and returns how many bytes it read.
func (s *Store) scrub(ctx context.Context, e entry, sum *Checked, damaged func(Damage)) (int64, error) {
	if err := s.enter(ctx); err != nil {
		return 0, err
	}
	defer s.leave()
	v := s.checkEntry(e)
	sum.count(v, damaged)
	return max(v.size, e.Size), nil
}

// pause waits for d or until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
