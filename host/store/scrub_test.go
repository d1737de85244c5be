package store

import (
	"testing"
	"time"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
)

// TestScrub: the parts together report each block once and each damage once, and respect the rate.
func TestScrub(t *testing.T) {
	s := newStore(t)
	const blocks, size = 500, 2000
	var bad dag.Block
	for i := range uint64(blocks) {
		b := raw(i, size)
		must(t, s.Put(t.Context(), b))
		if i == 99 {
			bad = b
		}
	}
	damageBlock(t, s, bad)
	var sum Checked
	var found []Damage
	began := time.Now()
	const rate = blocks * size * 20 // so 50 ms
	for part := range ScrubParts {
		one, err := s.ScrubPart(t.Context(), part, rate, func(d Damage) { found = append(found, d) })
		must(t, err)
		sum.Blocks += one.Blocks
		sum.Bytes += one.Bytes
		sum.Damaged += one.Damaged
	}
	if want := (Checked{Blocks: blocks, Bytes: (blocks - 1) * size, Damaged: 1}); sum != want {
		t.Errorf("%+v, want %+v", sum, want)
	}
	if len(found) != 1 || string(found[0].CID.Hash()) != string(bad.CID().Hash()) {
		t.Errorf("%+v", found)
	}
	if d := time.Since(began); d < 45*time.Millisecond {
		t.Errorf("scrub took %v, faster than the rate limit", d)
	}
}
