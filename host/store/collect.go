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

// Collected is what a collection did.
type Collected struct {
	Removed      int   // blocks
	RemovedBytes int64 // of their data
	Kept         int
	KeptBytes    int64
}

// Collect removes the pins that expired before now and then every block that no pin
// and no live session keeps. An unreadable pin, or a damaged block with links under a
// recursive one, is an error and nothing is removed; so is a block whose links cannot be
// read, an *OpaqueError, unless the pin or another one says what belongs to it. When ctx ends it stops between
// two blocks; what it returns was removed.
//
// Why it never takes a block that somebody keeps:
//
// A collection holds the gate from before it reads the pins until its last deletion,
// and AddPin and Protect need the gate. So the roots are the same all the while
// (removing one meanwhile keeps too much, for once), and all that was here below them
// when they were walked is marked.
//
// What is put later is kept by its session. A session takes hold of a key, under the
// lock of the holdings, before it looks for the key's file or writes it; the sweep asks
// and deletes under the same lock. Either the hold comes first, and the file is
// spared; or the deletion is over before the session looks, which then finds nothing
// and, if it has the bytes, writes the file anew. So a hold that was answered with
// "here" is true until End. A session that ends during a collection counts until the
// collection ends: what it has put below a root that was already walked is not marked,
// and the next collection finds it by walking.
//
// A process that is killed in the sweep has removed garbage only; one that is killed
// before it has removed pins only that were no longer in force.
func (s *Store) Collect(ctx context.Context, now time.Time) (Collected, error) {
	if err := s.enterToWrite(ctx); err != nil {
		return Collected{}, err
	}
	defer s.leave()
	if err := s.passGate(ctx); err != nil {
		return Collected{}, err
	}
	defer s.openGate()
	return s.collect(ctx, now, -1)
}

// collect is Collect behind the gate. With a target that is not negative it removes what was not used for
// longest, and only until so many bytes are left.
//
// On a full disk it works with the reserves of the ledger and of the segments: it removes as much as they have room to
// note, gives back the room of that, and goes on.
func (s *Store) collect(ctx context.Context, now time.Time, target int64) (Collected, error) {
	s.held.begin()
	defer s.held.end()

	pins, err := s.readPins()
	if err != nil {
		return Collected{}, fmt.Errorf("collect: %w", err)
	}
	live, expired := part(pins, now)
	marked, err := s.mark(ctx, live)
	if err != nil {
		return Collected{}, fmt.Errorf("collect: nothing was removed: %w", err)
	}
	late := s.dropPins(expired...) // of what is not dropped now what it kept goes all the same
	if late != nil && !diskfs.Full(late) {
		return Collected{}, fmt.Errorf("collect: %w", late)
	}
	if err := s.ledger.Sync(); err != nil { // a pin that was replaced must not come back without its blocks
		return Collected{}, fmt.Errorf("collect: %w", err)
	}
	before, err := s.generation()
	if err != nil {
		return Collected{}, fmt.Errorf("collect: %w", err)
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
		if full && done.Removed == removed { // what was given back is not enough to note one more
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
		if e := s.renewCoverage(ctx, live, before, now); e != nil && !diskfs.Full(e) && err == nil { // else they are counted again at the next request
			err = fmt.Errorf("collect: %w", e)
		}
	}
	if late != nil && err == nil {
		if err = s.dropPins(expired...); diskfs.Full(err) {
			err = nil // they are expired as before
		}
	}
	return done, err
}

// giveBack gives back the room of what was removed. What is large comes first: it takes nothing but its reserve.
func (s *Store) giveBack(ctx context.Context, target int64) error {
	if err := s.ledger.Sync(); err != nil { // the generation, before anything is gone for good
		return fmt.Errorf("collect: %w", err)
	}
	g, ok := s.layers.large.(segments)
	if ok && ctx.Err() == nil {
		eighths := int64(segment.Half)
		if target >= 0 {
			eighths = lowLevel
		}
		if _, err := g.s.Compact(ctx, eighths); err != nil {
			return fmt.Errorf("collect: give back room: %w", err)
		}
	}
	if err := s.ledger.Compact(); err != nil {
		return fmt.Errorf("collect: %w", err)
	}
	if s.Room() == nil && !diskfs.Scarce(s.dir) || ctx.Err() != nil {
		return nil
	}
	// Half a segment of what was removed is too much to keep here.
	err := s.ledger.Punch()
	if ok && err == nil {
		err = g.s.Punch(ctx)
	}
	if err != nil {
		return fmt.Errorf("collect: give back room: %w", err)
	}
	s.Room() //nolint:errcheck // it makes the reserves whole, if that can be
	return nil
}

// part divides pins into those in force and the others.
func part(pins []Pin, now time.Time) (live, expired []Pin) {
	for _, p := range pins {
		if p.expired(now) {
			expired = append(expired, p)
		} else {
			live = append(live, p)
		}
	}
	return live, expired
}

// mark returns the keys of all that pins and sessions keep. Where links cannot be read, the pin's Rest says what belongs to
// the block, in any of the pins that lead to it; or a pin does without, by its Opaque; or it is an error. What is in use is
// kept block by block, by its session: a run cannot follow what cannot be read.
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
			return nil, fmt.Errorf("a root in use: %w", err)
		}
	}
	return m.keys, nil
}

// marking is a mark under way.
type marking struct {
	s    *Store
	keys keySet
	seen map[cid.Cid]struct{} // blocks with links: exact, as one taken for another would lose what is below it
}

// pin marks what p keeps.
func (m marking) pin(ctx context.Context, p Pin, opaque func(why error) error) error {
	for _, r := range p.kept() {
		if !r.Recursive {
			m.keys.add(r.CID.Hash())
			continue
		}
		err := m.below(ctx, r.CID, opaque)
		var known *OpaqueError
		if err != nil && !errors.As(err, &known) {
			err = fmt.Errorf("pin %q: %w", p.Name, err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// below marks root and all below it that is here, and calls opaque for blocks whose links cannot be read. It has a loop of
// its own because dag.Walk looks for every leaf and remembers it by its CID: here leaves cost 15 bytes and no look at the
// disk.
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

// linksOf returns what is directly below c: nothing, if c is not here. With why, the links of c cannot be read: its
// codec is not known, or its bytes, which are what its name says, are no instance of it.
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

// sweep removes what is neither marked nor held. It adds to what done counts as removed, and counts what is kept.
func (s *Store) sweep(ctx context.Context, marked keySet, done *Collected) error {
	done.Kept, done.KeptBytes = 0, 0
	err := s.blocks.Each(ctx, func(e entry) error {
		if e.Key == nil {
			return nil // not ours to remove: verify names it
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
		return fmt.Errorf("collect: %w", err)
	}
	return nil
}

// removeUnheld deletes e unless a session holds it. The first deletion of a collection begins a new
// generation.
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
