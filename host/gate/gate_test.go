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
		t.Error("Enter refuses a stream after another one ended")
	}
	g.Close()
	g.Leave(a)
	if g.Enter(a) {
		t.Error("Enter allows a stream after Close")
	}
	done := false
	g.Go(func() { done = true })
	g.Leave(b)
	g.Leave(b)
	if g.Wait(); !done || g.Open() != 0 {
		t.Errorf("waited: %v, %d open", done, g.Open())
	}
}

// TestNonMembers lets non-members with any number of peer ids use their share: the reserved share stays free for
// members.
func TestNonMembers(t *testing.T) {
	const peers = 40
	g := New(Config{Total: 8, PerPeer: 2, NonMember: func(p peer.ID) bool { return len(p) == 1 }})
	for i := range peers {
		p := peer.ID([]byte{byte(i)})
		for range 2 {
			if got := g.Enter(p); got != (g.Open() <= 6 && i < 3) {
				t.Errorf("non-member %d: %v with %d open", i, got, g.Open())
			}
		}
	}
	const member = peer.ID("member")
	if first, second, third := g.Enter(member), g.Enter(member), g.Enter(member); !first || !second || third {
		t.Error("a member does not get the reserved share")
	}
	if !New(Config{Total: 1, PerPeer: 1, NonMember: func(peer.ID) bool { return true }}).Enter(member) {
		t.Error("a Gate with Total 1 refuses an non-member")
	}
}
