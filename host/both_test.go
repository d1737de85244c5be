package host

import (
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// TestBothDial lets two members dial each other at the same moment, again and again: each
// may see the other's connection first, and yet they greet.
func TestBothDial(t *testing.T) {
	t.Parallel()
	peers := newCluster(t, 2, nil)
	a, b := peers[0], peers[1]
	both := 0
	for range 100 {
		eventually(t, "they are parted", func() bool {
			a.raw.Network().ClosePeer(b.id)
			b.raw.Network().ClosePeer(a.id)
			return a.door.caller(b.id) == nil && b.door.caller(a.id) == nil
		})
		var dials sync.WaitGroup
		for _, d := range []struct{ from, to *Peer }{{a, b}, {b, a}} {
			dials.Go(func() {
				if err := d.from.raw.Connect(limited(t), peer.AddrInfo{ID: d.to.id, Addrs: d.to.raw.Addrs()}); err != nil {
					t.Log(err)
				}
			})
		}
		dials.Wait()
		if len(a.raw.Network().ConnsToPeer(b.id)) > 1 {
			both++
		}
		for _, d := range []struct{ at, of *Peer }{{a, b}, {b, a}} {
			c := d.at.door.caller(d.of.id)
			if c == nil {
				t.Fatal("they are not connected")
			}
			select {
			case <-c.greeted:
			case <-time.After(5 * time.Second):
				t.Fatalf("they do not greet: %d connections, outward: %v and %v", len(a.raw.Network().ConnsToPeer(b.id)),
					a.door.connected()[b.id].outward, b.door.connected()[a.id].outward)
			}
		}
	}
	t.Logf("%d times with two connections", both)
}
