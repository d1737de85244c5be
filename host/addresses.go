package host

import (
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/peer"
)

// settle is how long addresses are let change before others are told: several come
// together.
const settle = 500 * time.Millisecond

// tellMoves tells the members that are connected when this peer's addresses have changed.
// Behind a router a peer has none that reach it until AutoNAT has found that out and a
// relay has taken it on, some 20 s after it came up. The hint that follows makes members
// farther away ask where it is now, if they could not dial it.
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
				continue // it is about to be greeted
			}
			wait.Go(func() {
				if err := p.greet(p.ctx, id); err != nil {
					p.cfg.Log.Debug("tell new addresses", "peer", id, "err", err)
				}
			})
		}
		wait.Wait()
		p.mu.Lock()
		p.own.wake()
		p.mu.Unlock()
	}
}

// lost reports whether id is out of reach: not connected, and without an address at which
// it could be dialed.
func (p *Peer) lost(id peer.ID) bool { return !p.connected(id) && p.book.unreached(id) }
