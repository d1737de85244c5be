package gate

import (
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"
)

func TestGate(t *testing.T) {
	g := New(Config{Total: 3, PerPeer: 2})
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

// TestGuests lets guests with any number of names fill what is theirs: there is room left
// for others.
func TestGuests(t *testing.T) {
	const guests = 40
	g := New(Config{Total: 8, PerPeer: 2, Unknown: func(p peer.ID) bool { return len(p) == 1 }})
	for i := range guests {
		p := peer.ID([]byte{byte(i)})
		for range 2 {
			if got := g.Enter(p); got != (g.Open() <= 6 && i < 3) {
				t.Errorf("guest %d: %v with %d open", i, got, g.Open())
			}
		}
	}
	const member = peer.ID("member")
	if first, second, third := g.Enter(member), g.Enter(member), g.Enter(member); !first || !second || third {
		t.Error("a member does not get what is kept for it")
	}
	if !New(Config{Total: 1, PerPeer: 1, Unknown: func(peer.ID) bool { return true }}).Enter(member) {
		t.Error("a gate for one lets no guest in")
	}
}
