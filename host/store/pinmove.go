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

// pinMove moves pins of the old format to the ledger. A file is removed after its pin is durable in the ledger, so a
// process killed in between leaves a pin in both places; the next move joins them.
type pinMove struct {
	from   pinFiles
	store  func([]Pin) (kept []Pin, err error) // returns when they are durable
	remove func(path string) error
}

// pinMoveStep is about how many bytes of pins are moved with one sync.
const pinMoveStep = 8 << 20

// moveOldPins is called by Open, before other writers exist.
func (s *Store) moveOldPins() error {
	m := pinMove{from: s.oldPins, store: s.storeOldPins, remove: os.Remove}
	if err := m.run(); err != nil {
		return fmt.Errorf("move pins to the ledger: %w", err)
	}
	return nil
}

// run moves every readable pin. Other files stay: reading the pins or checking the repo reports them.
func (m pinMove) run() error {
	dir := m.from.dir
	if exists, err := isFolder(dir); err != nil || !exists {
		return err
	}
	var pins []Pin
	room := pinMoveStep
	flush := func() error {
		kept, err := m.store(pins)
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
		err = removeAll(filepath.Join(dir, tempDir)) // of a killed process
	}
	if err == nil {
		err = fsync(dir) // a pin that is later removed from the ledger must not come back from here
	}
	if err == nil {
		os.Remove(dir) // fails if files remain
	}
	return err
}

// storeOldPins writes pins to the ledger and syncs it. It skips a pin if the ledger may have an unreadable pin with
// the same name.
func (s *Store) storeOldPins(pins []Pin) (kept []Pin, err error) {
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

// join merges two pins with the same name: it retains the roots of both until the later expiry. It is unknown which
// pin replaced the other.
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
