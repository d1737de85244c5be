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

// maxPin is the length in bytes of the longest pin, as JSON.
const maxPin = 16 << 20

// pinEntry returns the ledger's entry for a pin, which it checks and completes. The
// ledger guards it with a checksum: one flipped bit in a CID would name another block,
// and the right one would be collected.
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
		err = fmt.Errorf("it takes %d bytes, at most %d are kept", len(value), maxPin)
	}
	if err != nil {
		return ledger.Entry{}, fmt.Errorf("keep pin %q: %w", p.Name, err)
	}
	return ledger.Entry{Key: pinKey + p.Name, Value: value}, nil
}

// decodePin returns the pin of an entry, or a *PinError that names where it is.
func decodePin(key string, value []byte, where string) (Pin, error) {
	var p Pin
	err := json.Unmarshal(value, &p)
	if err == nil {
		err = p.check()
	}
	if err == nil && pinKey+p.Name != key {
		err = fmt.Errorf("it is not pin %q", key[len(pinKey):])
	}
	if err != nil {
		return Pin{}, &PinError{where, err.Error()}
	}
	return p, nil
}

// pin returns one pin, an expired one too.
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

// readPins returns every pin, by Name, expired ones too. Damage is an error: what a pin
// kept that cannot be read must not be lost.
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

// lostPins returns a *PinError when a part of the ledger is lost in which pins may have been.
func (s *Store) lostPins() error {
	lost, err := s.ledger.Damaged()
	if err != nil {
		return fmt.Errorf("read pins: %w", err)
	}
	if len(lost) > 0 {
		return &PinError{lost[0], "pins that were in it may be lost; remove the file to go on without them"}
	}
	return nil
}

// dropStep is how much is removed with one write: on a full disk a part of them is better than none.
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

// writeRemovals makes changes that let something be collected, for which the ledger has a reserve. When that is used
// up the ledger is compacted, which needs a reserve of its own and gives this one back.
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
