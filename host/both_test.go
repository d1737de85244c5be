package host

import (
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// TestBothDial lets two members dial each other at the same moment, many times: each may see the other's connection
// first, and the handshake still succeeds.
func TestBothDial(t *testing.T) {
	t.Parallel()
	peers := newCluster(t, 2, nil)
	a, b := peers[0], peers[1]
	both := 0
	for range 100 {
		eventually(t, "they are disconnected", func() bool {
			a.raw.Network().ClosePeer(b.id)
			b.raw.Network().ClosePeer(a.id)
			return a.gater.peer(b.id) == nil && b.gater.peer(a.id) == nil
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
			c := d.at.gater.peer(d.of.id)
			if c == nil {
				t.Fatal("they are not connected")
			}
			select {
			case <-c.handshakeDone:
			case <-time.After(5 * time.Second):
				t.Fatalf("no handshake: %d connections, outbound: %v and %v", len(a.raw.Network().ConnsToPeer(b.id)),
					a.gater.connected()[b.id].outbound, b.gater.connected()[a.id].outbound)
			}
		}
	}
	t.Logf("two connections in %d of 100 rounds", both)
}
