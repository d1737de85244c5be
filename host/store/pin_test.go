package store

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/ipfs/go-cid"
)

func TestPins(t *testing.T) {
	now := time.Date(2030, 2, 3, 4, 5, 6, 7, time.UTC)
	cfg := Config{Clock: func() time.Time { return now }}
	s := open(t, t.TempDir(), cfg)
	a, b := raw(1, 1).CID(), node(raw(2, 1).CID()).CID()
	v0 := cid.NewCidV0(b.Hash())
	names := []string{
		"a", "A", "../../etc/passwd", "/", ".", "..", "tmp", ".hidden", "with\nnewline", "\x00", "\x1b[31m",
		"kürbis 🎃", "con", a.String(), strings.Repeat("é", MaxPinName/2), " ", `"quoted"\`, "<&>\u2028",
	}
	want := map[string]Pin{}
	for i, name := range names {
		p := Pin{Name: name, Roots: []Root{{a, false}, {b, true}, {v0, true}}, Created: now.Add(time.Duration(i) * time.Hour)}
		if i%2 == 0 {
			p.Expires = now.Add(time.Duration(i+1) * time.Minute)
		}
		must(t, s.AddPin(t.Context(), p))
		want[name] = p
	}
	must(t, s.AddPin(t.Context(), Pin{Name: "old", Roots: []Root{{a, true}}, Expires: now}))
	must(t, s.AddPin(t.Context(), Pin{Name: "a", Roots: []Root{{a, true}}})) // replaces the first
	want["a"] = Pin{Name: "a", Roots: []Root{{a, true}}, Created: now}
	must(t, s.Close())

	s = open(t, s.Dir(), cfg)
	pins, err := s.Pins()
	must(t, err)
	got := map[string]Pin{}
	for i, p := range pins {
		got[p.Name] = p
		if i > 0 && pins[i-1].Name >= p.Name {
			t.Errorf("%q is before %q", pins[i-1].Name, p.Name)
		}
	}
	if d := cmp.Diff(want, got, cmpopts.EquateComparable(cid.Cid{})); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
	for _, name := range names {
		if p, err := s.Pin(name); err != nil || !cmp.Equal(p, want[name], cmpopts.EquateComparable(cid.Cid{})) {
			t.Errorf("pin %q: %+v, %v", name, p, err)
		}
		must(t, s.RemovePin(name))
		if _, err := s.Pin(name); !errors.As(err, new(*PinNotFoundError)) {
			t.Errorf("pin %q was removed: %v", name, err)
		}
		var missing *PinNotFoundError
		if err := s.RemovePin(name); !errors.As(err, &missing) || missing.Name != name {
			t.Errorf("remove %q again: %v", name, err)
		}
	}
	if pins, err := s.Pins(); err != nil || len(pins) != 0 {
		t.Errorf("%+v, %v", pins, err)
	}
	for _, name := range []string{"old", "", "\xff", strings.Repeat("x", 5000)} { // expired or invalid
		if p, err := s.Pin(name); !errors.As(err, new(*PinNotFoundError)) {
			t.Errorf("pin %.9q: %+v, %v", name, p, err)
		}
		if err := s.RemovePin(name); name != "old" && !errors.As(err, new(*PinNotFoundError)) {
			t.Errorf("remove %.9q: %v", name, err)
		}
	}
}

// TestPinsAreDurable: when AddPin or RemovePin has returned, nothing is unsynced.
func TestPinsAreDurable(t *testing.T) {
	s := newStore(t)
	for range 3 {
		pin(t, s, "p", true, raw(1, 1))
		if s.ledger.Dirty() {
			t.Error("an added pin is not synced")
		}
		must(t, s.RemovePin("p"))
		if s.ledger.Dirty() {
			t.Error("a pin's removal is not synced")
		}
	}
}

func TestInvalidPins(t *testing.T) {
	s := newStore(t)
	c := raw(1, 1).CID()
	for want, p := range map[string]Pin{
		"without a name":        {Roots: []Root{{c, true}}},
		"want at most 1024":     {Name: strings.Repeat("x", 1025), Roots: []Root{{c, true}}},
		"UTF-8":                 {Name: "\xff", Roots: []Root{{c, true}}},
		"no roots":              {Name: "x"},
		"without a CID":         {Name: "x", Roots: []Root{{c, true}, {}}},
		"year outside":          {Name: "x", Roots: []Root{{c, true}}, Expires: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)},
		"want at most 16777216": {Name: "x", Roots: bigRoots(c)},
	} {
		wantErr(t, s.AddPin(t.Context(), p), want)
	}
	if pins, err := s.Pins(); err != nil || len(pins) != 0 {
		t.Errorf("%+v, %v", pins, err)
	}
}

func bigRoots(c cid.Cid) []Root {
	roots := make([]Root, 300_000)
	for i := range roots {
		roots[i].CID = c
	}
	return roots
}

// beforeEach is a storage that lets a test act before a sweep.
type beforeEach struct {
	storage
	act func()
}

func (b beforeEach) Each(ctx context.Context, fn func(entry) error) error {
	b.act()
	return b.storage.Each(ctx, fn)
}

// TestCollectSyncsPins: a pin that replaced another is durable before the blocks of the replaced one are removed.
func TestCollectSyncsPins(t *testing.T) {
	s := newStore(t)
	pin(t, s, "p", true, raw(100, 1))
	b, _ := batch("p", 1)
	must(t, s.Commit(t.Context(), b))
	if !s.ledger.Dirty() {
		t.Skip("SKIPPED: the disk was faster than this test") // syncAfter has passed
	}
	swept := false
	s.blocks = beforeEach{s.blocks, func() {
		if swept = true; s.ledger.Dirty() {
			t.Error("pins are not synced while blocks are removed")
		}
	}}
	collect(t, s)
	if !swept {
		t.Error("the sweep did not run")
	}
}
