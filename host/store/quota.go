package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/multiformats/go-multihash"

	"github.com/ipfs-liftoff/liftoff/host/store/segment"
)

// QuotaError says that a block does not fit into the repo's quota, after all that nobody keeps was
// removed.
type QuotaError struct {
	Quota, Used int64 // bytes
}

func (e *QuotaError) Error() string {
	return fmt.Sprintf("the repo's quota of %d bytes is used up: %d bytes are kept by pins or in use", e.Quota, e.Used)
}

// quota bounds what the blocks take on the disk.
type quota struct {
	max int64 // bytes; 0: none

	mu     sync.Mutex // held while room is made: others wait for it
	futile time.Time  // when nothing could be removed
	recent recency
}

// After room was made blocks take so many eighths of the quota, or each block would need a collection of
// its own; and segments are so many eighths full, so that their files stay within it.
const (
	lowMark  = 6
	lowLevel = 7
)

// segmentSize returns the size of segments for a quota: small ones can be given back one by one.
func segmentSize(quota int64) int64 {
	if quota == 0 {
		return 0
	}
	return min(256<<20, max(256<<10, quota/32))
}

// restFutile is how long a collection that has found nothing is not tried again.
const restFutile = 5 * time.Second

// fits makes room for n bytes if there is none: it removes what no pin and no session keeps, what was
// read or put longest ago first, and no more than has to go.
func (s *Store) fits(ctx context.Context, n int64) error {
	if s.quota.max == 0 {
		return nil
	}
	used, err := s.used()
	if err != nil || used+n <= s.quota.max {
		return err
	}
	s.quota.mu.Lock()
	defer s.quota.mu.Unlock()
	if used, err = s.used(); err != nil || used+n <= s.quota.max { // another has made room meanwhile
		return err
	}
	if now := s.cfg.Clock(); now.Sub(s.quota.futile) >= restFutile {
		if err := s.passGate(ctx); err != nil {
			return err
		}
		done, err := s.collect(ctx, now, s.quota.max/8*lowMark-n)
		s.openGate()
		if err != nil {
			return fmt.Errorf("make room: %w", err)
		}
		if done.Removed == 0 {
			s.quota.futile = now
		}
		if used, err = s.used(); err != nil {
			return err
		}
	}
	if used+n > s.quota.max {
		return &QuotaError{s.quota.max, used}
	}
	return nil
}

// used returns the bytes that the blocks take, those in files of their own left out.
func (s *Store) used() (int64, error) {
	g, ok := s.layers.large.(segments)
	if !ok {
		return 0, nil
	}
	return g.s.Used()
}

// recency knows when blocks were read last: by the number of a read, for the last so many of them.
type recency struct {
	mu       sync.Mutex
	clock    uint64
	new, old map[uint64]uint64 // by fingerprint
}

// maxRecency is how many blocks one of its two maps holds, at some 40 bytes each.
const maxRecency = 1 << 18

func (r *recency) touch(key multihash.Multihash) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.new == nil || len(r.new) >= maxRecency {
		r.new, r.old = make(map[uint64]uint64), r.new
	}
	r.clock++
	r.new[fingerprint(key)] = r.clock
}

// last returns when key was read; 0: long ago.
func (r *recency) last(key multihash.Multihash) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := fingerprint(key)
	return max(r.new[f], r.old[f])
}

// sweepTo removes blocks that are neither marked nor held, oldest first, until target bytes are left in use.
// A block's room comes back with its segment, so it counts what the blocks left take.
// It counts as sweep does.
func (s *Store) sweepTo(ctx context.Context, marked keySet, target int64, done *Collected) error {
	type candidate struct {
		entry
		read  uint64
		order int64 // of writing
	}
	done.Kept, done.KeptBytes = 0, 0
	var all []candidate
	err := s.blocks.Each(ctx, func(e entry) error {
		if e.Key == nil {
			return nil
		}
		done.Kept++
		done.KeptBytes += e.Size
		if !marked.has(e.Key) {
			all = append(all, candidate{e, s.quota.recent.last(e.Key), s.writtenAt(e.Key)})
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("collect: %w", err)
	}
	slices.SortFunc(all, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.read, b.read), cmp.Compare(a.order, b.order))
	})
	for _, c := range all {
		if done.KeptBytes <= target {
			break
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		removed, err := s.removeUnheld(c.entry, done.Removed == 0)
		if err != nil {
			return fmt.Errorf("collect: %w", err)
		}
		if removed {
			done.Removed++
			done.RemovedBytes += c.Size
			done.Kept--
			done.KeptBytes -= c.Size
		}
	}
	return nil
}

// writtenAt orders blocks by when they were put.
func (s *Store) writtenAt(key multihash.Multihash) int64 {
	g, ok := s.layers.large.(segments)
	if !ok {
		return 0
	}
	seq, err := g.s.Sequence(key)
	if errors.Is(err, segment.ErrAbsent) {
		return 0
	}
	return seq
}
