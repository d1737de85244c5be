package host

import (
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/peer"
)

// settle debounces address changes: several come together.
const settle = 500 * time.Millisecond

// tellMoves sends this node's addresses to the connected members when they change. Behind a router a node has no
// reachable address until AutoNAT has detected that and a relay has accepted it, some 20 s after start. The hint that
// follows makes members farther away look up the new addresses if they could not dial this node.
func (p *Peer) tellMoves(moves event.Subscription) {
	defer moves.Close()
	told := texts(p.tellable())
	for {
		select {
		case <-p.ctx.Done():
			return
		case <-moves.Out():
		}
		if !sleep(p.ctx, settle) {
			return
		}
		now := texts(p.tellable())
		if slices.Equal(told, now) {
			continue
		}
		told = now
		var wait sync.WaitGroup
		for id, c := range p.door.connected() {
			if !p.door.allows(id, JoinGossip) || c.spoke.IsZero() {
				continue // its first handshake is about to start
			}
			wait.Go(func() {
				if err := p.greet(p.ctx, id); err != nil {
					p.cfg.Log.Debug("announce addresses", "peer", id, "err", err)
				}
			})
		}
		wait.Wait()
		p.mu.Lock()
		p.own.wake()
		p.mu.Unlock()
	}
}

// lost reports whether id is unreachable: not connected, and without an address that it could be dialed at.
func (p *Peer) lost(id peer.ID) bool { return !p.connected(id) && p.book.unreached(id) }
