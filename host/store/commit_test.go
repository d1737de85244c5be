package store

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
)

// batch is like the result of a run: two small blocks, a large one, a pin, two records.
func batch(name string, seed uint64) (Batch, []dag.Block) {
	leaf, large := raw(seed, 100), raw(seed+1, smallBlock+1)
	root := node(leaf.CID(), large.CID())
	all := []dag.Block{leaf, large, root}
	return Batch{
		Blocks:  all,
		Pins:    []Pin{{Name: name, Roots: []Root{{root.CID(), true}}}},
		Records: []Record{{Name: "a/" + name, Value: []byte("1")}, {Name: "b/" + name}},
	}, all
}

func TestCommit(t *testing.T) {
	s := newStore(t)
	b, blocks := batch("job", 1)
	n := s.Begin()
	must(t, n.Commit(t.Context(), b))
	n.End()
	wantHere(t, s, blocks...)
	if done := collect(t, s); done.Removed != 0 || done.Kept != 3 {
		t.Errorf("%+v", done)
	}
	must(t, s.Close())

	s = open(t, s.Dir(), Config{})
	wantHere(t, s, blocks...)
	clean(t, s)
	pins, err := s.Pins()
	must(t, err)
	if len(pins) != 1 || pins[0].Name != "job" || pins[0].Roots[0].CID != blocks[2].CID() || pins[0].Created.IsZero() {
		t.Errorf("%+v", pins)
	}
	if v, ok, err := s.Lookup("a/job"); string(v) != "1" || !ok || err != nil {
		t.Errorf("%q, %v, %v", v, ok, err)
	}
	if _, ok, err := s.Lookup("c"); ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
	must(t, s.Put(t.Context(), blocks...)) // the small ones are not written again
	if u, err := s.Stat(t.Context()); err != nil || u.Blocks != 3 {
		t.Errorf("%+v, %v", u, err)
	}
	must(t, s.RemovePin("job"))
	var none *PinNotFoundError
	if err := s.RemovePin("job"); !errors.As(err, &none) {
		t.Errorf("%v", err)
	}
	before, err := s.Generation()
	must(t, err)
	if done := collect(t, s); done.Removed != 3 {
		t.Errorf("%+v", done)
	}
	wantGone(t, s, blocks...)
	if after, err := s.Generation(); err != nil || after != before+1 {
		t.Errorf("generation %d after %d, %v", after, before, err)
	}
	collect(t, s)
	if after, err := s.Generation(); err != nil || after != before+1 {
		t.Errorf("generation %d after a collection of nothing, %v", after, err)
	}
	var names []string
	must(t, s.Records(t.Context(), "", func(name string, value func() ([]byte, error)) error {
		names = append(names, name)
		_, err := value()
		return err
	}))
	if len(names) != 2 || names[0] != "a/job" {
		t.Errorf("%q", names)
	}
}

func TestCommitReplacesAndExpires(t *testing.T) {
	now := time.Unix(1000, 0)
	s := open(t, filepath.Join(t.TempDir(), "repo"), Config{Clock: func() time.Time { return now }})
	b, _ := batch("p", 1)
	b.Pins[0].Expires = now.Add(time.Hour)
	must(t, s.Commit(t.Context(), b))
	must(t, s.AddPin(t.Context(), Pin{Name: "p", Roots: b.Pins[0].Roots})) // replaces the pin
	if pins, err := s.Pins(); err != nil || len(pins) != 1 || !pins[0].Expires.IsZero() {
		t.Errorf("%+v, %v", pins, err)
	}
	must(t, s.RemovePin("p"))
	must(t, s.Commit(t.Context(), b))
	now = now.Add(time.Hour)
	if done, err := s.Collect(t.Context(), now); err != nil || done.Removed != 3 {
		t.Errorf("%+v, %v", done, err)
	}
	for name, bad := range map[string]Batch{
		"no name":   {Pins: []Pin{{Roots: b.Pins[0].Roots}}},
		"no roots":  {Pins: []Pin{{Name: "x"}}},
		"undefined": {Blocks: []dag.Block{{}}},
	} {
		if err := s.Commit(t.Context(), bad); err == nil {
			t.Errorf("%s: committed", name)
		}
	}
}

// TestCommitIsSynced: a commit is made durable soon, without a call of Sync.
func TestCommitIsSynced(t *testing.T) {
	s := newStore(t)
	b, _ := batch("p", 1)
	must(t, s.Commit(t.Context(), b))
	if !s.ledger.Dirty() {
		t.Error("the commit waited for the disk")
	}
	for end := time.Now().Add(30 * time.Second); s.ledger.Dirty(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the commit was not synced")
		}
	}
}

// TestLedgerDamage damages each part of a repo's ledger: Check reports it, Get fails with it, and Collect removes
// nothing while a pin may be lost.
func TestLedgerDamage(t *testing.T) {
	damage := func(t *testing.T, what []byte, compact bool) (*Store, []dag.Block, int) {
		s := newStore(t)
		b, blocks := batch("p", 1)
		must(t, s.Commit(t.Context(), b))
		other, _ := batch("q", 10)
		must(t, s.Commit(t.Context(), other))
		if compact {
			must(t, s.ledger.Compact())
		}
		must(t, s.Close())
		files, err := filepath.Glob(filepath.Join(s.Dir(), ledgerDir, "*"))
		must(t, err)
		for _, f := range files {
			raw, err := os.ReadFile(f)
			must(t, err)
			if i := bytes.Index(raw, what); i >= 0 {
				raw[i] ^= 1
				must(t, os.WriteFile(f, raw, 0o600))
			}
		}
		s = open(t, s.Dir(), Config{})
		n := 0
		v, err := s.Check(t.Context(), func(d Damage) { n++ })
		must(t, err)
		if n == 0 || v.Damaged == 0 {
			t.Errorf("damage was not detected: %+v", v)
		}
		return s, blocks, n
	}
	t.Run("block in a table", func(t *testing.T) {
		s, blocks, _ := damage(t, raw(1, 100).Data(), true)
		var bad *dag.DamagedError
		if _, err := s.Get(t.Context(), blocks[0].CID()); !errors.As(err, &bad) || bad.CID != blocks[0].CID() {
			t.Errorf("%v", err)
		}
		must(t, s.Put(t.Context(), blocks[0]))
		wantHere(t, s, blocks...)
		clean(t, s)
	})
	t.Run("pin in a table", func(t *testing.T) {
		s, blocks, _ := damage(t, []byte(`{"name":"p"`), true)
		_, err := s.Collect(t.Context(), time.Now())
		var bad *PinError
		if !errors.As(err, &bad) {
			t.Errorf("%v", err)
		}
		wantHere(t, s, blocks...)
	})
	t.Run("log", func(t *testing.T) {
		s, _, _ := damage(t, raw(1, 100).Data(), false)
		_, err := s.Collect(t.Context(), time.Now())
		var bad *PinError
		if !errors.As(err, &bad) {
			t.Fatalf("%v", err)
		}
		must(t, os.Remove(bad.File))
		collect(t, s)
	})
}

func BenchmarkCommit(b *testing.B) {
	s := newStore(b)
	n := s.Begin()
	defer n.End()
	i := uint64(0)
	for b.Loop() {
		i++
		one, two := raw(i, 400), raw(i+1<<40, 600)
		must(b, n.Commit(b.Context(), Batch{
			Blocks:  []dag.Block{one, two},
			Pins:    []Pin{{Name: one.CID().String(), Roots: []Root{{CID: one.CID()}}}},
			Records: []Record{{Name: one.CID().String(), Value: make([]byte, 1000)}},
		}))
	}
}
