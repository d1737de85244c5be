package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/host/store/ledger"
)

// MaxPinName is the maximum length in bytes of a pin's name.
const MaxPinName = 1024

// Pin protects roots from collection, under a name.
type Pin struct {
	Name    string    `json:"name"` // unique; UTF-8, not empty
	Roots   []Root    `json:"roots"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires,omitzero"` // zero: never
	// Rest lists what is reachable from the roots through links that cannot be read: each CID is a list, see
	// [dag.RestList], and is retained like a root.
	Rest []cid.Cid `json:"rest,omitempty"`
	// Opaque makes blocks whose links cannot be read count as blocks without links. Without it, and without Rest, a
	// collection that finds one below the pin removes nothing.
	Opaque bool `json:"opaque,omitempty"`
}

// Root is one pinned block, alone or with all present blocks below it.
type Root struct {
	CID       cid.Cid `json:"cid"`
	Recursive bool    `json:"recursive,omitempty"`
}

// allRoots returns all roots that p retains, including Rest.
func (p Pin) allRoots() []Root {
	all := slices.Clip(p.Roots)
	for _, c := range p.Rest {
		all = append(all, Root{c, true})
	}
	return all
}

// expired reports whether p has expired.
func (p Pin) expired(now time.Time) bool { return !p.Expires.IsZero() && !now.Before(p.Expires) }

// check returns an error if p is invalid.
func (p Pin) check() error {
	switch {
	case p.Name == "":
		return errors.New("pin without a name")
	case len(p.Name) > MaxPinName:
		return fmt.Errorf("pin name: got %d bytes, want at most %d", len(p.Name), MaxPinName)
	case !utf8.ValidString(p.Name):
		return fmt.Errorf("pin name %q is not valid UTF-8", p.Name)
	case len(p.Roots) == 0:
		return fmt.Errorf("pin %q has no roots", p.Name)
	}
	for _, r := range p.allRoots() {
		if !r.CID.Defined() {
			return fmt.Errorf("pin %q has a root without a CID", p.Name)
		}
	}
	return nil
}

// AddPin durably stores a pin and replaces one with the same name. A zero Created means now. It waits while a
// collection is running. It does not check whether the roots are present: hold or protect them in a session first.
func (s *Store) AddPin(ctx context.Context, p Pin) error {
	e, err := s.pinEntry(&p)
	if err != nil {
		return err
	}
	if err := s.enterToWrite(ctx); err != nil {
		return err
	}
	defer s.leave()
	if err := s.lockGC(ctx); err != nil {
		return err
	}
	err = s.ledger.Write(e)
	s.unlockGC() // a collection syncs the ledger itself, and concurrent AddPins share a sync
	if err == nil {
		err = s.ledger.Sync()
	}
	if err == nil {
		_, err = s.oldPins.remove(p.Name)
	}
	if err != nil {
		return fmt.Errorf("add pin %q: %w", p.Name, s.noteFull(err))
	}
	return nil
}

// RemovePin durably removes the pin with that name. A missing pin is a *PinNotFoundError.
func (s *Store) RemovePin(name string) error {
	if err := s.enterToWrite(context.Background()); err != nil {
		return err
	}
	defer s.leave()
	key := pinKey + name
	_, err := s.ledger.Size(key)
	found := !errors.Is(err, ledger.ErrAbsent)
	if err = nil; found {
		err = s.writeRemovals(ledger.Entry{Key: key, Delete: true})
	}
	if err == nil && found {
		err = s.ledger.Sync()
	}
	if err != nil {
		return fmt.Errorf("remove pin %q: %w", name, err)
	}
	old, err := s.oldPins.remove(name)
	if err != nil {
		return fmt.Errorf("remove pin %q: %w", name, err)
	}
	if !found && !old {
		return &PinNotFoundError{name}
	}
	return nil
}

// Pin returns the pin with that name, at a cost independent of the number of pins. A missing or expired pin is a
// *PinNotFoundError; if damage hides whether it exists, the error is a *PinError.
func (s *Store) Pin(name string) (Pin, error) {
	if err := s.enter(context.Background()); err != nil {
		return Pin{}, err
	}
	defer s.leave()
	p, err := s.pin(name)
	if err == nil && p.expired(s.cfg.Clock()) {
		err = &PinNotFoundError{name}
	}
	return p, err
}

// Pins returns the pins that have not expired, ordered by Name. A *PinError names a file that contains, or may have
// contained, an unreadable pin.
func (s *Store) Pins() ([]Pin, error) {
	if err := s.enter(context.Background()); err != nil {
		return nil, err
	}
	defer s.leave()
	now := s.cfg.Clock()
	pins, err := s.readPins()
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(pins, func(p Pin) bool { return p.expired(now) }), nil
}
