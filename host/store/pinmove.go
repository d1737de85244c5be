package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/ipfs-liftoff/liftoff/host/store/ledger"
)

// pinMove takes pins of the old form over into the ledger. A file goes after its pin
// is durable there, so a process that is killed in between leaves a pin in both places,
// which the next one joins.
type pinMove struct {
	from   pinFiles
	keep   func([]Pin) (kept []Pin, err error) // returns when they are durable
	remove func(path string) error
}

// pinMoveStep is about how many bytes of pins are kept with one sync.
const pinMoveStep = 8 << 20

// moveOldPins is for Open, before anybody else can write.
func (s *Store) moveOldPins() error {
	m := pinMove{from: s.oldPins, keep: s.keepOldPins, remove: os.Remove}
	if err := m.run(); err != nil {
		return fmt.Errorf("move pins to the ledger: %w", err)
	}
	return nil
}

// run moves every pin that can be read. Other files stay: who reads the pins, or
// verifies the repo, is told.
func (m pinMove) run() error {
	dir := m.from.dir
	if exists, err := isFolder(dir); err != nil || !exists {
		return err
	}
	var pins []Pin
	room := pinMoveStep
	flush := func() error {
		kept, err := m.keep(pins)
		if err != nil {
			return err
		}
		for _, p := range kept {
			if err := m.remove(m.from.path(p.Name)); err != nil {
				return err
			}
		}
		pins, room = nil, pinMoveStep
		return nil
	}
	err := m.from.each(func(_ string, p Pin, err error) error {
		if err != nil {
			return nil
		}
		pins = append(pins, p)
		if room -= 256 + 128*len(p.Roots); room > 0 {
			return nil
		}
		return flush()
	})
	if err == nil {
		err = flush()
	}
	if err == nil {
		err = removeAll(filepath.Join(dir, tempDir)) // what a killed process was writing
	}
	if err == nil {
		err = fsync(dir) // a pin that is removed from the ledger must not come back from here
	}
	if err == nil {
		os.Remove(dir) // unless something is left
	}
	return err
}

// keepOldPins writes pins to the ledger and syncs it. A pin stays where it is when the
// ledger may have one of that name that cannot be read.
func (s *Store) keepOldPins(pins []Pin) (kept []Pin, err error) {
	var entries []ledger.Entry
	for _, p := range pins {
		key := pinKey + p.Name
		value, err := s.ledger.Get(key)
		if err == nil {
			var have Pin
			if have, err = decodePin(key, value, ""); err == nil {
				p = have.join(p)
			}
		}
		if err != nil && !errors.Is(err, ledger.ErrAbsent) {
			continue
		}
		if value, err = json.Marshal(p); err != nil {
			return nil, err
		}
		entries = append(entries, ledger.Entry{Key: key, Value: value})
		kept = append(kept, p)
	}
	if err := s.ledger.Write(entries...); err != nil {
		return nil, err
	}
	return kept, s.ledger.Sync()
}

// join returns a pin that keeps what two of the same name do, for as long as one of them
// does: which of them replaced the other is not known.
func (p Pin) join(o Pin) Pin {
	roots := map[Root]bool{}
	for _, r := range p.Roots {
		roots[r] = true
	}
	for _, r := range o.Roots {
		if !roots[r] {
			p.Roots = append(p.Roots, r)
			roots[r] = true
		}
	}
	for _, c := range o.Rest {
		if !slices.Contains(p.Rest, c) {
			p.Rest = append(p.Rest, c)
		}
	}
	p.Opaque = p.Opaque && o.Opaque
	if o.Created.After(p.Created) {
		p.Created = o.Created
	}
	if o.Expires.IsZero() || !p.Expires.IsZero() && o.Expires.After(p.Expires) {
		p.Expires = o.Expires
	}
	return p
}
