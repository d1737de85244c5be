package fuel

import (
	"bytes"
	"context"
	"errors"
	"math"
	"testing"

	"github.com/ipfs-liftoff/liftoff/abi"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
)

// out reports whether f ended the run with ErrOut.
func out(t *testing.T, f func()) (ended bool) {
	t.Helper()
	defer func() {
		if p := recover(); p != nil {
			if err, ok := p.(error); !ok || !errors.Is(err, ErrOut) {
				panic(p)
			}
			ended = true
		}
	}()
	f()
	return false
}

func TestSpend(t *testing.T) {
	a := New(1000, 100)
	a.Spend(10) // before the guest exists
	g := &counter{}
	a.Bind(g)
	if a.Spent() != 10 {
		t.Errorf("spent %d before the guest began", a.Spent())
	}
	g.v -= 7 // spent by the guest itself
	if got := a.Refill(int64(g.v)); got != 93 {
		t.Errorf("a refill of -7 left %d", got)
	} else {
		g.v = uint64(got)
	}
	a.Spend(483) // far below zero
	if a.Spent() != 500 || int64(g.v) != 93-483 {
		t.Errorf("spent %d, counter %d", a.Spent(), int64(g.v))
	}
	g.v = uint64(a.Refill(int64(g.v)))
	if a.Spent() != 500 || int64(g.v) != 10 {
		t.Errorf("spent %d, counter %d after grants of whole slices", a.Spent(), int64(g.v))
	}
	if out(t, func() { a.Spend(500) }) || a.Spent() != 1000 || a.Over() {
		t.Errorf("cannot spend the whole limit: %d", a.Spent())
	}
	if !out(t, func() { a.Spend(1) }) || !a.Over() {
		t.Error("spent more than the limit")
	}
	if !out(t, func() { a.Refill(int64(g.v)) }) {
		t.Error("refill after the end")
	}
}

func TestLimits(t *testing.T) {
	for _, limit := range []uint64{1, 99, 100, 101, math.MaxInt64, math.MaxUint64} {
		a := New(limit, 100)
		if a.Over() || !out(t, func() { a.Spend(math.MaxUint64) }) {
			t.Errorf("limit %d", limit)
		}
		a = New(limit, 100)
		if most := min(limit, math.MaxInt64); out(t, func() { a.Spend(most) }) || a.Spent() != most {
			t.Errorf("limit %d: spent %d", limit, a.Spent())
		}
	}
	a := New(150, 100)
	if out(t, func() { a.Refill(-150) }) || !out(t, func() { New(150, 100).Refill(-151) }) {
		t.Error("a guest must end when it has spent more than its limit, and no sooner")
	}
}

// TestReadAt checks that the price of a read depends on the leaves that it overlaps, whatever
// was read before.
func TestReadAt(t *testing.T) {
	const leaf = 1 << 20
	content := bytes.Repeat([]byte("0123456789abcde\n"), 3*leaf/16)
	bs := &dag.MemBlocks{}
	e, err := dag.AddFile(t.Context(), bs, bytes.NewReader(content), dag.UnixFSv1)
	if err != nil {
		t.Fatal(err)
	}
	f, err := dag.OpenFile(t.Context(), bs, e.CID)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for range 2 {
		for _, c := range []struct{ off, n, leaves, copied int }{
			{0, 0, 0, 0},
			{0, 1, 1, 1},
			{leaf - 1, 1, 1, 1},
			{leaf - 1, 2, 2, 2},
			{leaf, leaf, 1, leaf},
			{0, 4 * leaf, 3, 3 * leaf},
			{3*leaf - 1, 10, 1, 1},
			{3 * leaf, 10, 0, 0},
			{1 << 40, 10, 0, 0},
		} {
			a := New(1<<40, 100)
			p := make([]byte, c.n)
			n, err := a.ReadAt(t.Context(), f, p, int64(c.off), false)
			if err != nil || n != c.copied || !bytes.Equal(p[:n], content[min(c.off, len(content)):][:n]) {
				t.Errorf("%+v: read %d, %v", c, n, err)
			}
			want := uint64(c.leaves * abi.FuelBlock)
			for at, end := c.off, c.off+c.copied; at < end; { // each leaf's part is rounded up
				next := min(end, (at/leaf+1)*leaf)
				want += abi.FuelCopy(uint64(next - at))
				at = next
			}
			if a.Spent() != want {
				t.Errorf("%+v costs %d, want %d", c, a.Spent(), want)
			}
		}
	}
	poor := New(2*abi.FuelBlock+leaf/abi.FuelCopyBytes, 100)
	p := make([]byte, 2*leaf)
	if !out(t, func() { _, _ = poor.ReadAt(t.Context(), f, p, 0, false) }) || p[leaf-1] == 0 || p[leaf] != 0 {
		t.Error("a leaf was read without fuel for it")
	}
}

func TestSteps(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("enough")
	var seen int
	defer func() {
		if err, _ := recover().(error); !errors.Is(err, cause) || seen != 2*Step {
			t.Errorf("ended with %v after %d bytes", err, seen)
		}
	}()
	Steps(ctx, make([]byte, 4*Step), func(b []byte) {
		if seen += len(b); seen == 2*Step {
			cancel(cause)
		}
	})
}
