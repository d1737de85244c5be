package host

import (
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/peer"
)

// addrDebounce is how long address changes are collected before they are announced: several come together.
const addrDebounce = 500 * time.Millisecond

// advertiseAddresses sends this node's addresses to the connected members when they change. Behind a router a node
// has no reachable address until AutoNAT has detected that and a relay has accepted it, some 20 s after start. The
// hint that follows makes members farther away look up the new addresses if they could not dial this node.
func (p *Peer) advertiseAddresses(updates event.Subscription) {
	defer updates.Close()
	announced := texts(p.advertisedAddrs())
	for {
		select {
		case <-p.ctx.Done():
			return
		case <-updates.Out():
		}
		if !sleep(p.ctx, addrDebounce) {
			return
		}
		now := texts(p.advertisedAddrs())
		if slices.Equal(announced, now) {
			continue
		}
		announced = now
		var wait sync.WaitGroup
		for id, c := range p.gater.connected() {
			if !p.gater.allows(id, JoinGossip) || c.lastHandshake.IsZero() {
				continue // its first handshake is about to start
			}
			wait.Go(func() {
				if err := p.handshake(p.ctx, id); err != nil {
					p.cfg.Log.Debug("announce own addresses to peer", "peer", id, "err", err)
				}
			})
		}
		wait.Wait()
		p.mu.Lock()
		p.own.signalChange()
		p.mu.Unlock()
	}
}

// unreachable reports whether id is unreachable: not connected, and without an address that it could be dialed at.
func (p *Peer) unreachable(id peer.ID) bool { return !p.connected(id) && p.addrBook.unreachable(id) }
