package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ipfs-liftoff/liftoff/host/store/ledger"
	"github.com/ipfs-liftoff/liftoff/internal/diskfs"
)

// maxPin is the maximum length in bytes of a pin, as JSON.
const maxPin = 16 << 20

// pinEntry checks and completes a pin and returns its ledger entry. The ledger protects it with a checksum: a flipped
// bit in a CID would name another block, and the right one would be collected.
func (s *Store) pinEntry(p *Pin) (ledger.Entry, error) {
	if err := p.check(); err != nil {
		return ledger.Entry{}, err
	}
	if p.Created.IsZero() {
		p.Created = s.cfg.Clock()
	}
	p.Created = p.Created.UTC()
	if !p.Expires.IsZero() {
		p.Expires = p.Expires.UTC()
	}
	value, err := json.Marshal(p)
	if err == nil && len(value) > maxPin {
		err = fmt.Errorf("pin has too many roots: its record has %d bytes, want at most %d", len(value), maxPin)
	}
	if err != nil {
		return ledger.Entry{}, fmt.Errorf("add pin %q: %w", p.Name, err)
	}
	return ledger.Entry{Key: pinKey + p.Name, Value: value}, nil
}

// decodePin decodes the pin of a ledger entry. The error is a *PinError that names where.
func decodePin(key string, value []byte, where string) (Pin, error) {
	var p Pin
	err := json.Unmarshal(value, &p)
	if err == nil {
		err = p.check()
	}
	if err == nil && pinKey+p.Name != key {
		err = fmt.Errorf("ledger entry holds pin %q, want %q", p.Name, key[len(pinKey):])
	}
	if err != nil {
		return Pin{}, &PinError{where, err.Error()}
	}
	return p, nil
}

// pin returns one pin, even an expired one.
func (s *Store) pin(name string) (Pin, error) {
	key := pinKey + name
	old, oldErr := s.oldPins.find(name)
	if oldErr != nil && !absent(oldErr) {
		return Pin{}, oldErr
	}
	var p Pin
	value, err := s.ledger.Get(key)
	if err == nil {
		p, err = decodePin(key, value, s.ledger.Where(key))
	}
	var bad *ledger.DamageError
	switch {
	case err == nil && oldErr == nil:
		return p.join(old), nil
	case err == nil:
		return p, nil
	case errors.As(err, &bad):
		return Pin{}, &PinError{bad.File, bad.Why}
	case !errors.Is(err, ledger.ErrAbsent):
		return Pin{}, err
	case oldErr == nil:
		return old, nil
	}
	if err := s.lostPins(); err != nil {
		return Pin{}, err
	}
	return Pin{}, &PinNotFoundError{name}
}

// readPins returns every pin, ordered by Name, including expired ones. Damage is an error: the blocks of an
// unreadable pin must not be lost.
func (s *Store) readPins() ([]Pin, error) {
	if err := s.lostPins(); err != nil {
		return nil, err
	}
	var pins []Pin
	err := s.ledger.Each(context.Background(), pinKey, func(i ledger.Item) error {
		value, err := i.Value()
		if err != nil {
			return &PinError{i.Where, err.Error()}
		}
		p, err := decodePin(i.Key, value, i.Where)
		pins = append(pins, p)
		return err
	})
	if err != nil {
		return nil, err
	}
	n := len(pins)
	err = s.oldPins.each(func(_ string, p Pin, err error) error {
		pins = append(pins, p)
		return err
	})
	if err != nil || len(pins) == n {
		return pins, err
	}
	slices.SortStableFunc(pins, func(a, b Pin) int { return strings.Compare(a.Name, b.Name) })
	one := pins[:1]
	for _, p := range pins[1:] {
		if last := &one[len(one)-1]; last.Name == p.Name {
			*last = last.join(p)
		} else {
			one = append(one, p)
		}
	}
	return one, nil
}

// lostPins returns a *PinError if a part of the ledger that may have contained pins is lost.
func (s *Store) lostPins() error {
	lost, err := s.ledger.Damaged()
	if err != nil {
		return fmt.Errorf("read pins: %w", err)
	}
	if len(lost) > 0 {
		return &PinError{lost[0], "pins in this ledger log may be lost; remove it to continue without them"}
	}
	return nil
}

// dropStep is how many pins are removed with one write: on a full disk removing some is better than none.
const dropStep = 64

// dropPins removes pins from the ledger.
func (s *Store) dropPins(pins ...Pin) error {
	var entries []ledger.Entry
	for _, p := range pins {
		key := pinKey + p.Name
		if _, err := s.ledger.Size(key); !errors.Is(err, ledger.ErrAbsent) {
			entries = append(entries, ledger.Entry{Key: key, Delete: true})
		}
	}
	return s.writeRemovals(entries...)
}

// writeRemovals writes changes that make data collectable, for which the ledger has reserved space. If that is used
// up, it compacts the ledger, which uses another reserve and restores this one.
func (s *Store) writeRemovals(entries ...ledger.Entry) error {
	for some := range slices.Chunk(entries, dropStep) {
		err := s.ledger.WriteFor(ledger.Removal, some...)
		if diskfs.Full(err) && s.ledger.Compact() == nil {
			err = s.ledger.WriteFor(ledger.Removal, some...)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
