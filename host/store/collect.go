package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/host/store/segment"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/internal/diskfs"
)

// Collected is the result of a collection.
type Collected struct {
	Removed      int   // number of blocks
	RemovedBytes int64 // size of these blocks
	Kept         int
	KeptBytes    int64
}

// Collect removes the pins that expired before now, and then every block that neither a pin nor a live session
// references. An unreadable pin, or a damaged block with links below a recursive pin, is an error, and nothing is
// removed. The same holds for a block whose links cannot be read: it is an *OpaqueError unless a pin's Rest or Opaque
// covers it. If ctx ends, it stops between two blocks; the result describes what was removed.
//
// Why it never removes a block that is in use:
//
// A collection holds the GC lock from before it reads the pins until its last deletion, and AddPin and Protect need
// the same lock. So no root is added while it runs (a pin removed in the meantime only retains too much, once), and
// every block below the roots that was present when they were walked is marked.
//
// Blocks put later are retained by their session. A session holds a key, under the lock of the holdings, before it
// looks up the block or writes it; the sweep checks the holdings and deletes under the same lock. Either the hold
// comes first, and the block is retained; or the deletion is complete before the session looks the block up: the
// session then finds it absent and writes it again if it has the bytes. So if a session found a block
// present, that is true until End. A session that ends during a collection counts until the collection ends: blocks
// that it put below a root that was already walked are not marked; the next collection finds them by walking.
//
// A process killed during the sweep has removed only garbage; one killed earlier has removed only expired pins.
func (s *Store) Collect(ctx context.Context, now time.Time) (Collected, error) {
	if err := s.enterToWrite(ctx); err != nil {
		return Collected{}, err
	}
	defer s.leave()
	if err := s.lockGC(ctx); err != nil {
		return Collected{}, err
	}
	defer s.unlockGC()
	return s.collect(ctx, now, -1)
}

// collect is Collect with the GC lock held. If target is not negative, it removes the least recently used blocks
// first, and only until target bytes are left.
//
// On a full disk it works with the reserves of the ledger and of the segments: it removes as much as the reserves can
// record, frees that space, and repeats.
func (s *Store) collect(ctx context.Context, now time.Time, target int64) (Collected, error) {
	s.held.begin()
	defer s.held.end()

	pins, err := s.readPins()
	if err != nil {
		return Collected{}, fmt.Errorf("collect garbage: %w", err)
	}
	live, expired := splitExpired(pins, now)
	marked, err := s.mark(ctx, live)
	if err != nil {
		return Collected{}, fmt.Errorf("collect garbage: nothing was removed: %w", err)
	}
	late := s.dropPins(expired...) // pins not dropped now are still expired, and their blocks are removed anyway
	if late != nil && !diskfs.Full(late) {
		return Collected{}, fmt.Errorf("collect garbage: %w", late)
	}
	if err := s.ledger.Sync(); err != nil { // a replaced pin must not come back without its blocks
		return Collected{}, fmt.Errorf("collect garbage: %w", err)
	}
	before, err := s.generation()
	if err != nil {
		return Collected{}, fmt.Errorf("collect garbage: %w", err)
	}
	var done Collected
	for {
		removed := done.Removed
		if target < 0 {
			err = s.sweep(ctx, marked, &done)
		} else {
			err = s.sweepTo(ctx, marked, target, &done)
		}
		full := diskfs.Full(err)
		if err != nil && !full {
			break
		}
		if full && done.Removed == removed { // the freed space is not enough to record another removal
			break
		}
		gerr := s.giveBack(ctx, target)
		if !full || gerr != nil && !diskfs.Full(gerr) {
			err = gerr
			break
		}
	}
	if now := s.gen.Load(); now != before {
		s.coverage.forget()
		if e := s.renewCoverage(ctx, live, before, now); e != nil && !diskfs.Full(e) && err == nil { // otherwise recounted at the next request
			err = fmt.Errorf("collect garbage: %w", e)
		}
	}
	if late != nil && err == nil {
		if err = s.dropPins(expired...); diskfs.Full(err) {
			err = nil // they are still expired
		}
	}
	return done, err
}

// giveBack frees the space of removed blocks. It compacts the segments first: that uses only their reserve.
func (s *Store) giveBack(ctx context.Context, target int64) error {
	if err := s.ledger.Sync(); err != nil { // record the generation before blocks are gone for good
		return fmt.Errorf("collect garbage: %w", err)
	}
	g, ok := s.combined.large.(segmentStorage)
	if ok && ctx.Err() == nil {
		eighths := int64(segment.Half)
		if target >= 0 {
			eighths = lowLevel
		}
		if _, err := g.s.Compact(ctx, eighths); err != nil {
			return fmt.Errorf("collect garbage: free disk space: %w", err)
		}
	}
	if err := s.ledger.Compact(); err != nil {
		return fmt.Errorf("collect garbage: %w", err)
	}
	if s.Room() == nil && !diskfs.Scarce(s.dir) || ctx.Err() != nil {
		return nil
	}
	// On a full disk, half-empty segments waste too much space: punch holes.
	err := s.ledger.Punch()
	if ok && err == nil {
		err = g.s.Punch(ctx)
	}
	if err != nil {
		return fmt.Errorf("collect garbage: free disk space: %w", err)
	}
	s.Room() //nolint:errcheck // restores the reserves if possible
	return nil
}

// splitExpired divides pins into live and expired ones.
func splitExpired(pins []Pin, now time.Time) (live, expired []Pin) {
	for _, p := range pins {
		if p.expired(now) {
			expired = append(expired, p)
		} else {
			live = append(live, p)
		}
	}
	return live, expired
}

// mark returns the keys of all blocks that pins and sessions retain. For a block whose links cannot be read, a Rest
// of any of the pins that lead to it lists what belongs to the block, or an Opaque pin declares that it has no links;
// otherwise it is an error. A session retains blocks one by one: a run cannot follow links that cannot be read.
func (s *Store) mark(ctx context.Context, pins []Pin) (keySet, error) {
	m := marking{s: s, keys: keySet{}, seen: map[cid.Cid]struct{}{}}
	strict := func(p Pin) bool { return len(p.Rest) == 0 && !p.Opaque }
	passes := []struct{ has, fails func(Pin) bool }{
		{has: func(p Pin) bool { return len(p.Rest) > 0 }},
		{has: strict, fails: strict},
		{has: func(p Pin) bool { return len(p.Rest) == 0 && p.Opaque }},
	}
	for _, pass := range passes {
		for _, p := range pins {
			if !pass.has(p) {
				continue
			}
			opaque := func(why error) error { return nil }
			if pass.fails != nil {
				opaque = func(why error) error { return &OpaqueError{p.Name, why} }
			}
			if err := m.pin(ctx, p, opaque); err != nil {
				return nil, err
			}
		}
	}
	for _, c := range s.held.roots() {
		if err := m.below(ctx, c, func(error) error { return nil }); err != nil {
			return nil, fmt.Errorf("mark blocks below a root in use: %w", err)
		}
	}
	return m.keys, nil
}

// marking is the state of a mark.
type marking struct {
	s    *Store
	keys keySet
	seen map[cid.Cid]struct{} // blocks with links; exact, because a false positive would skip the blocks below
}

// pin marks the blocks that p retains.
func (m marking) pin(ctx context.Context, p Pin, opaque func(why error) error) error {
	for _, r := range p.allRoots() {
		if !r.Recursive {
			m.keys.add(r.CID.Hash())
			continue
		}
		err := m.below(ctx, r.CID, opaque)
		var known *OpaqueError
		if err != nil && !errors.As(err, &known) {
			err = fmt.Errorf("mark blocks of pin %q: %w", p.Name, err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// below marks root and all present blocks below it, and calls opaque for blocks whose links cannot be read. It does
// not use dag.Walk, which looks up every leaf and remembers its CID: here a leaf costs 15 bytes and no disk access.
func (m marking) below(ctx context.Context, root cid.Cid, opaque func(why error) error) error {
	todo := []cid.Cid{root}
	for len(todo) > 0 {
		c := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if dag.IsLeaf(c.Type()) {
			m.keys.add(c.Hash())
			continue
		}
		if _, ok := m.seen[c]; ok {
			continue
		}
		m.seen[c] = struct{}{}
		m.keys.add(c.Hash())
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		links, why, err := m.s.linksOf(c)
		if err == nil && why != nil {
			err = opaque(why)
		}
		if err != nil {
			return err
		}
		todo = append(todo, links...)
	}
	return nil
}

// linksOf returns the links of c, or nothing if c is absent. why is set if the links cannot be read: the codec is
// unknown, or the bytes match the hash but are not valid in the codec.
func (s *Store) linksOf(c cid.Cid) (links []cid.Cid, why, err error) {
	b, err := s.get(c)
	var missing *dag.NotFoundError
	if errors.As(err, &missing) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	links, why = dag.Links(b)
	return links, why, nil
}

// sweep removes blocks that are neither marked nor held. It adds them to done.Removed and counts the others as kept.
func (s *Store) sweep(ctx context.Context, marked keySet, done *Collected) error {
	done.Kept, done.KeptBytes = 0, 0
	err := s.blocks.Each(ctx, func(e entry) error {
		if e.Key == nil {
			return nil // not a block: Check reports it
		}
		if !marked.has(e.Key) {
			removed, err := s.removeUnheld(e, done.Removed == 0)
			if err != nil {
				return err
			}
			if removed {
				done.Removed++
				done.RemovedBytes += e.Size
				return nil
			}
		}
		done.Kept++
		done.KeptBytes += e.Size
		return nil
	})
	if err != nil {
		return fmt.Errorf("collect garbage: %w", err)
	}
	return nil
}

// removeUnheld deletes e unless a session holds it. The first deletion of a collection begins a new generation.
func (s *Store) removeUnheld(e entry, first bool) (bool, error) {
	return s.held.unlessHeld(e.Key, func() error {
		if first {
			if err := s.nextGeneration(); err != nil {
				return err
			}
		}
		return s.blocks.Delete(e.Key)
	})
}
