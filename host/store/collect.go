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
// recursive one, is an error and nothing is removed. When ctx ends it stops between
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
		if e := s.renewCoverage(ctx, live, before, now); e != nil && !diskfs.Full(e) && err == nil { // else they are counted again when somebody asks
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

// mark returns the keys of all that pins and sessions keep.
func (s *Store) mark(ctx context.Context, pins []Pin) (keySet, error) {
	marked := keySet{}
	seen := map[cid.Cid]struct{}{} // blocks with links: exact, as one taken for another would lose what is below it
	for _, p := range pins {
		for _, r := range p.Roots {
			if !r.Recursive {
				marked.add(r.CID.Hash())
				continue
			}
			if err := s.markBelow(ctx, r.CID, marked, seen); err != nil {
				return nil, fmt.Errorf("pin %q: %w", p.Name, err)
			}
		}
	}
	for _, c := range s.held.roots() {
		if err := s.markBelow(ctx, c, marked, seen); err != nil {
			return nil, fmt.Errorf("a root in use: %w", err)
		}
	}
	return marked, nil
}

// markBelow marks root and all below it that is here. It has a loop of its own because
// dag.Walk looks for every leaf and remembers it by its CID: here leaves cost 15 bytes
// and no look at the disk.
func (s *Store) markBelow(ctx context.Context, root cid.Cid, marked keySet, seen map[cid.Cid]struct{}) error {
	todo := []cid.Cid{root}
	for len(todo) > 0 {
		c := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if c.Type() == cid.Raw {
			marked.add(c.Hash())
			continue
		}
		if _, ok := seen[c]; ok {
			continue
		}
		seen[c] = struct{}{}
		marked.add(c.Hash())
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		links, err := s.linksOf(c)
		if err != nil {
			return err
		}
		todo = append(todo, links...)
	}
	return nil
}

// linksOf returns what is directly below c. A block that is not here has nothing
// below it, nor has one whose bytes are no instance of its codec: they are what their
// name says, and nobody could follow them.
func (s *Store) linksOf(c cid.Cid) ([]cid.Cid, error) {
	b, err := s.get(c)
	var missing *dag.NotFoundError
	if errors.As(err, &missing) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	links, err := dag.Links(b)
	if err != nil {
		return nil, nil
	}
	return links, nil
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
