package gate

import (
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"
)

func TestGate(t *testing.T) {
	g := New(3, 2)
	const a, b = peer.ID("a"), peer.ID("b")
	for i, c := range []struct {
		p    peer.ID
		want bool
	}{{a, true}, {a, true}, {a, false}, {b, true}, {b, false}} {
		if got := g.Enter(c.p); got != c.want {
			t.Errorf("stream %d of %s: %v, want %v", i, c.p, got, c.want)
		}
	}
	g.Leave(a)
	if g.Open() != 2 || g.OpenOf(a) != 1 {
		t.Errorf("%d open, %d of a", g.Open(), g.OpenOf(a))
	}
	if !g.Enter(b) {
		t.Error("no room where one has left")
	}
	g.Close()
	g.Leave(a)
	if g.Enter(a) {
		t.Error("somebody came in after the end")
	}
	done := false
	g.Go(func() { done = true })
	g.Leave(b)
	g.Leave(b)
	if g.Wait(); !done || g.Open() != 0 {
		t.Errorf("waited: %v, %d open", done, g.Open())
	}
}
