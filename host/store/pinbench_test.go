package store

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/ipfs-liftoff/liftoff/host/store/ledger"
)

// manyPins is a store with n pins, of one root each.
func manyPins(b *testing.B, n int) *Store {
	s := newStore(b)
	var entries []ledger.Entry
	for i := range n {
		p := Pin{Name: pinName(i), Roots: []Root{{raw(uint64(i), 32).CID(), true}}, Created: time.Unix(1e9, 0)}
		e, err := s.pinEntry(&p)
		must(b, err)
		if entries = append(entries, e); len(entries) == 1000 {
			must(b, s.ledger.Write(entries...))
			entries = entries[:0]
		}
	}
	must(b, s.ledger.Write(entries...))
	must(b, s.ledger.Sync())
	return s
}

func pinName(i int) string { return fmt.Sprintf("pin %08d", i*7919%1e8) }

// BenchmarkPins lists all pins, looks up one, and replaces one, at 100,000 pins (1,000,000 with LIFTOFF_TEST_LARGE).
// Adding a pin waits for the disk.
func BenchmarkPins(b *testing.B) {
	n := 100_000
	if large() {
		n = 1_000_000
	}
	s := manyPins(b, n)
	b.Run(fmt.Sprintf("list/%d", n), func(b *testing.B) {
		for b.Loop() {
			pins, err := s.Pins()
			must(b, err)
			if len(pins) != n {
				b.Fatalf("%d pins", len(pins))
			}
		}
	})
	b.Run(fmt.Sprintf("one/%d", n), func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			_, err := s.Pin(pinName(i * 37 % n))
			must(b, err)
		}
	})
	b.Run(fmt.Sprintf("add/%d", n), func(b *testing.B) {
		root := []Root{{raw(1, 32).CID(), true}}
		for i := 0; b.Loop(); i++ {
			must(b, s.AddPin(context.Background(), Pin{Name: pinName(i * 37 % n), Roots: root}))
		}
	})
}

// BenchmarkMovePins opens a repo with 10,000 pins of the old format.
func BenchmarkMovePins(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		s := newStore(b)
		must(b, s.Close())
		for i := range 10_000 {
			oldPin(b, s.Dir(), Pin{Name: pinName(i), Roots: []Root{{raw(uint64(i), 32).CID(), true}}})
		}
		b.StartTimer()
		s, err := Open(s.Dir(), Config{})
		must(b, err)
		must(b, s.Close())
	}
}
