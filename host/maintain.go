package host

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/proto"

	"github.com/ipfs-liftoff/liftoff/job"
)

// Intervals and limits of maintain and dialLoop.
const (
	maintainInterval  = 5 * time.Second
	renewInterval     = time.Minute
	handshakeInterval = time.Minute
	saveInterval      = 5 * time.Minute
	targetPeers       = 32 // members to stay connected to, if there are as many
	maxDials          = 4
)

// maintain repeats handshakes, renews the membership, and disconnects peers that are not authorized.
func (p *Peer) maintain() {
	saved := p.cfg.Now()
	for sleep(p.ctx, maintainInterval) {
		p.disconnectUnauthorized(handshakeTimeout)
		p.repeatHandshakes()
		p.renewMembership()
		now := p.cfg.Now()
		p.table.sweep(now, p.connected)
		if now.Sub(saved) >= saveInterval {
			saved = now
			if err := p.addrBook.save(); err != nil {
				p.cfg.Log.Warn("save address book", "err", err)
			}
		}
	}
}

// dialLoop dials members that are not connected, until enough are.
func (p *Peer) dialLoop() {
	for {
		for p.dialMembers() && p.ctx.Err() == nil {
		}
		timer := time.NewTimer(maintainInterval)
		select {
		case <-p.ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		case <-p.dialNow:
			timer.Stop()
			if !sleep(p.ctx, 100*time.Millisecond) { // several requests come together
				return
			}
		}
	}
}

// dialMembers dials a few members. isMore reports that every dial failed, so that other members may be due at once.
func (p *Peer) dialMembers() (isMore bool) {
	have := 0
	for id := range p.gater.connected() {
		if p.gater.allows(id, JoinGossip) {
			have++
		}
	}
	if have >= targetPeers {
		return false
	}
	now := p.cfg.Now()
	var wait sync.WaitGroup
	due := p.addrBook.due(min(maxDials, targetPeers-have), now, func(id peer.ID) bool {
		return p.connected(id) || !p.gater.allows(id, JoinGossip)
	})
	var failed atomic.Int64
	for _, info := range due {
		wait.Go(func() {
			ctx, cancel := context.WithTimeout(p.ctx, 2*handshakeTimeout)
			defer cancel()
			if err := p.dial(ctx, info); err != nil {
				p.addrBook.recordFailure(info.ID, now, err)
				failed.Add(1)
				p.cfg.Log.Debug("dial cluster member", "peer", info.ID, "err", err)
			}
		})
	}
	wait.Wait()
	return failed.Load() == maxDials
}

// repeatHandshakes repeats the handshake with peers that this node has dialed, once it is due.
func (p *Peer) repeatHandshakes() {
	now := p.cfg.Now()
	for id, c := range p.gater.connected() {
		due := c.lastHandshake.Add(handshakeInterval + rand.N(handshakeInterval/2))
		if !c.outbound || c.lastHandshake.IsZero() || now.Before(due) {
			continue
		}
		p.start(func() {
			if err := p.handshake(p.ctx, id); err != nil {
				p.cfg.Log.Debug("repeat handshake with peer", "peer", id, "err", err)
			}
			p.measure(id)
		})
	}
}

// renewMembership renews the membership in its last thirty days: with the cluster's key if it is here, otherwise at a
// connected admin. The admin is chosen at random each time, since some may refuse.
func (p *Peer) renewMembership() {
	now := p.cfg.Now()
	if !p.cluster.Due(now) {
		return
	}
	p.mu.Lock()
	early := now.Before(p.renewal)
	p.mu.Unlock()
	if _, err := p.cluster.Renew(p.DID(), now); err == nil || early {
		return
	}
	for id := range p.gater.connected() {
		did, err := DIDOf(id)
		if err != nil {
			continue
		}
		if role, err := p.cluster.Check(did, now); err != nil || role != job.RoleAdmin {
			continue
		}
		if err := p.renew(p.ctx, id); err != nil {
			p.mu.Lock()
			p.renewal = now.Add(renewInterval)
			p.mu.Unlock()
			p.cfg.Log.Debug("renew own membership", "admin", id, "err", err)
		}
		return
	}
}

// relays offers members that run a relay to libp2p's relay client.
func (p *Peer) relays(ctx context.Context, n int) <-chan peer.AddrInfo {
	out := make(chan peer.AddrInfo, n)
	defer close(out)
	for id := range p.gater.connected() {
		if n == 0 {
			break
		}
		hop, err := p.raw.Peerstore().SupportsProtocols(id, proto.ProtoIDv2Hop)
		if err == nil && len(hop) > 0 && p.gater.allows(id, UseRelay) {
			out <- p.raw.Peerstore().PeerInfo(id)
			n--
		}
	}
	return out
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
