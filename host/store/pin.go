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

// MaxPinName is the length in bytes of the longest name of a pin.
const MaxPinName = 1024

// Pin is a name under which roots are kept.
type Pin struct {
	Name    string    `json:"name"` // unique; UTF-8, not empty
	Roots   []Root    `json:"roots"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires,omitzero"` // zero: never
	// Rest leads to what the roots lead to in ways that cannot be read: each is a list, see [dag.RestList], and kept
	// as a root is.
	Rest []cid.Cid `json:"rest,omitempty"`
	// Opaque says that blocks whose links cannot be read count as blocks without links. Without it a collection that
	// finds one below the pin, and no Rest, removes nothing.
	Opaque bool `json:"opaque,omitempty"`
}

// Root is one kept block, alone or with all below it that is here.
type Root struct {
	CID       cid.Cid `json:"cid"`
	Recursive bool    `json:"recursive,omitempty"`
}

// kept returns the roots of all that p keeps.
func (p Pin) kept() []Root {
	all := slices.Clip(p.Roots)
	for _, c := range p.Rest {
		all = append(all, Root{c, true})
	}
	return all
}

// expired reports whether p counts no longer.
func (p Pin) expired(now time.Time) bool { return !p.Expires.IsZero() && !now.Before(p.Expires) }

// check returns an error unless p can be kept.
func (p Pin) check() error {
	switch {
	case p.Name == "":
		return errors.New("a pin needs a name")
	case len(p.Name) > MaxPinName:
		return fmt.Errorf("the name of a pin has at most %d bytes, this one has %d", MaxPinName, len(p.Name))
	case !utf8.ValidString(p.Name):
		return fmt.Errorf("the name of a pin is UTF-8, which %q is not", p.Name)
	case len(p.Roots) == 0:
		return fmt.Errorf("pin %q has no roots", p.Name)
	}
	for _, r := range p.kept() {
		if !r.CID.Defined() {
			return fmt.Errorf("pin %q has a root without a CID", p.Name)
		}
	}
	return nil
}

// AddPin keeps a pin, durably, in place of one of the same name. A zero Created is
// now. It waits while a collection is running. It does not look whether the roots are
// here: hold or protect them in a session first.
func (s *Store) AddPin(ctx context.Context, p Pin) error {
	e, err := s.pinEntry(&p)
	if err != nil {
		return err
	}
	if err := s.enterToWrite(ctx); err != nil {
		return err
	}
	defer s.leave()
	if err := s.passGate(ctx); err != nil {
		return err
	}
	err = s.ledger.Write(e)
	s.openGate() // a collection syncs what it relies on, and others that add share a sync
	if err == nil {
		err = s.ledger.Sync()
	}
	if err == nil {
		_, err = s.oldPins.remove(p.Name)
	}
	if err != nil {
		return fmt.Errorf("keep pin %q: %w", p.Name, s.noteFull(err))
	}
	return nil
}

// RemovePin removes the pin of that name, durably. A *PinNotFoundError says that there
// is none.
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

// Pin returns the pin of that name, which costs the same however many there are. A
// *PinNotFoundError says that there is none or that it has expired, a *PinError that
// nobody can know.
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

// Pins returns the pins that have not expired, by Name. A *PinError names a file in
// which there is, or may have been, a pin that cannot be read.
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
