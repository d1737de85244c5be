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

// QuotaError means that a block does not fit into the repo's quota, even after all unreferenced blocks were removed.
type QuotaError struct {
	Quota, Used int64 // bytes
}

func (e *QuotaError) Error() string {
	return fmt.Sprintf("repo quota of %d bytes exceeded: %d bytes are pinned or in use", e.Quota, e.Used)
}

// quota limits the disk space of the blocks.
type quota struct {
	max int64 // in bytes; 0: no limit

	mu         sync.Mutex // held while freeing space: other puts wait
	lastFutile time.Time  // time of the last collection that removed nothing
	recent     recency
}

// After a collection, blocks use at most lowMark eighths of the quota, so that not every put needs a collection; and
// segments are at least lowLevel eighths full, so that their files stay within the quota.
const (
	lowMark  = 6
	lowLevel = 7
)

// segmentSize returns the segment size for a quota: small segments can be freed one by one.
func segmentSize(quota int64) int64 {
	if quota == 0 {
		return 0
	}
	return min(256<<20, max(256<<10, quota/32))
}

// futileRetryAfter is the delay after a collection that removed nothing.
const futileRetryAfter = 5 * time.Second

// ensureQuota makes sure that n more bytes fit into the quota. If necessary it removes blocks that neither a pin nor a
// session references, least recently read or put first, and no more than needed.
func (s *Store) ensureQuota(ctx context.Context, n int64) error {
	if s.quota.max == 0 {
		return nil
	}
	used, err := s.used()
	if err != nil || used+n <= s.quota.max {
		return err
	}
	s.quota.mu.Lock()
	defer s.quota.mu.Unlock()
	if used, err = s.used(); err != nil || used+n <= s.quota.max { // another put has freed space
		return err
	}
	if now := s.cfg.Clock(); now.Sub(s.quota.lastFutile) >= futileRetryAfter {
		if err := s.lockGC(ctx); err != nil {
			return err
		}
		done, err := s.collect(ctx, now, s.quota.max/8*lowMark-n)
		s.unlockGC()
		if err != nil {
			return fmt.Errorf("free space below the repo quota: %w", err)
		}
		if done.Removed == 0 {
			s.quota.lastFutile = now
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

// used returns the disk space used by the blocks, without block files.
func (s *Store) used() (int64, error) {
	g, ok := s.combined.large.(segmentStorage)
	if !ok {
		return 0, nil
	}
	return g.s.Used()
}

// recency records the order of the most recent reads.
type recency struct {
	mu       sync.Mutex
	clock    uint64
	new, old map[uint64]uint64 // by fingerprint
}

// maxRecency is the size of each of the two maps, about 40 bytes per block.
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

// last returns the sequence number of the last read of key; 0 if it was long ago.
func (r *recency) last(key multihash.Multihash) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := fingerprint(key)
	return max(r.new[f], r.old[f])
}

// sweepTo removes blocks that are neither marked nor held, oldest first, until at most target bytes are in use. A
// block's space is only freed with its segment, so it counts the size of the remaining blocks. It updates done like
// sweep.
func (s *Store) sweepTo(ctx context.Context, marked keySet, target int64, done *Collected) error {
	type candidate struct {
		entry
		read  uint64
		order int64 // of the put
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
		return fmt.Errorf("collect garbage: %w", err)
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
			return fmt.Errorf("collect garbage: %w", err)
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

// writtenAt returns a number that orders blocks by the time of their put.
func (s *Store) writtenAt(key multihash.Multihash) int64 {
	g, ok := s.combined.large.(segmentStorage)
	if !ok {
		return 0
	}
	seq, err := g.s.Sequence(key)
	if errors.Is(err, segment.ErrAbsent) {
		return 0
	}
	return seq
}
