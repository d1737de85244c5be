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

// The pace of keepUp and keepDialing.
const (
	lookEvery   = 5 * time.Second
	renewEvery  = time.Minute
	greetEvery  = time.Minute
	saveEvery   = 5 * time.Minute
	wantPeers   = 32 // members to be connected to, if there are as many
	dialsAtOnce = 4
)

// keepUp repeats greetings, renews the membership, and cuts who has no business here.
func (p *Peer) keepUp() {
	saved := p.cfg.Now()
	for sleep(p.ctx, lookEvery) {
		p.cutNobodies(greetTimeout)
		p.greetAgain()
		p.renewSoon()
		now := p.cfg.Now()
		p.table.sweep(now, p.connected)
		if now.Sub(saved) >= saveEvery {
			saved = now
			if err := p.book.save(); err != nil {
				p.cfg.Log.Warn("known peers", "err", err)
			}
		}
	}
}

// keepDialing dials members that it is not connected to, until there are enough.
func (p *Peer) keepDialing() {
	for {
		for p.dialMembers() && p.ctx.Err() == nil {
		}
		timer := time.NewTimer(lookEvery)
		select {
		case <-p.ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		case <-p.kick:
			timer.Stop()
			if !sleep(p.ctx, 100*time.Millisecond) { // several come together
				return
			}
		}
	}
}

// dialMembers dials a few members. isMore reports that none of them was reached, so that
// there may be others to dial at once.
func (p *Peer) dialMembers() (isMore bool) {
	have := 0
	for id := range p.door.connected() {
		if p.door.allows(id, JoinGossip) {
			have++
		}
	}
	if have >= wantPeers {
		return false
	}
	now := p.cfg.Now()
	var wait sync.WaitGroup
	due := p.book.due(min(dialsAtOnce, wantPeers-have), now, func(id peer.ID) bool {
		return p.connected(id) || !p.door.allows(id, JoinGossip)
	})
	var failed atomic.Int64
	for _, info := range due {
		wait.Go(func() {
			ctx, cancel := context.WithTimeout(p.ctx, 2*greetTimeout)
			defer cancel()
			if err := p.dial(ctx, info); err != nil {
				p.book.failed(info.ID, now, err)
				failed.Add(1)
				p.cfg.Log.Debug("dial a member", "peer", info.ID, "err", err)
			}
		})
	}
	wait.Wait()
	return failed.Load() == dialsAtOnce
}

// greetAgain greets whom this peer has dialed and not greeted for a while.
func (p *Peer) greetAgain() {
	now := p.cfg.Now()
	for id, c := range p.door.connected() {
		due := c.spoke.Add(greetEvery + rand.N(greetEvery/2))
		if !c.outward || c.spoke.IsZero() || now.Before(due) {
			continue
		}
		p.start(func() {
			if err := p.greet(p.ctx, id); err != nil {
				p.cfg.Log.Debug("greet again", "peer", id, "err", err)
			}
			p.measure(id)
		})
	}
}

// renewSoon renews the membership in its last thirty days, by itself if the cluster's key
// is here, else at an admin that is connected: by chance one each time, since there may be
// some that will not.
func (p *Peer) renewSoon() {
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
	for id := range p.door.connected() {
		did, err := DIDOf(id)
		if err != nil {
			continue
		}
		if role, err := p.cluster.Check(did, now); err != nil || role != job.RoleAdmin {
			continue
		}
		if err := p.renew(p.ctx, id); err != nil {
			p.mu.Lock()
			p.renewal = now.Add(renewEvery)
			p.mu.Unlock()
			p.cfg.Log.Debug("renew the membership", "admin", id, "err", err)
		}
		return
	}
}

// relays offers members that carry connections to libp2p's relay client.
func (p *Peer) relays(ctx context.Context, n int) <-chan peer.AddrInfo {
	out := make(chan peer.AddrInfo, n)
	defer close(out)
	for id := range p.door.connected() {
		if n == 0 {
			break
		}
		hop, err := p.raw.Peerstore().SupportsProtocols(id, proto.ProtoIDv2Hop)
		if err == nil && len(hop) > 0 && p.door.allows(id, UseRelay) {
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
