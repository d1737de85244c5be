package host

import (
	"context"
	"fmt"
	"slices"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/discovery/mdns"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/ipfs-liftoff/liftoff/job"
)

// lookAround looks for members of the cluster on the local network, if the Config says so,
// under a name that only they know to look for. It is called again when the repo has
// joined a cluster.
func (p *Peer) lookAround() error {
	id := p.cluster.ID()
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.cfg.MDNS || id == "" || p.mdns != nil || p.closing {
		return nil
	}
	s := mdns.NewMdnsService(p.raw, mdnsName(id), found{p})
	if err := s.Start(); err != nil {
		return fmt.Errorf("look around on the local network: %w", err)
	}
	p.mdns = s
	return nil
}

func mdnsName(id job.DID) string {
	h := job.CIDOf([]byte("liftoff mdns " + string(id))).Hash()
	return fmt.Sprintf("_liftoff-%x._udp", h[2:6])
}

// found takes what mDNS brings. Anybody can claim anything there: only addresses of local
// networks are dialed, a few at once, and who answers must be a member.
type found struct{ p *Peer }

func (f found) HandlePeerFound(info peer.AddrInfo) {
	p := f.p
	info.Addrs = slices.DeleteFunc(info.Addrs, func(a ma.Multiaddr) bool { return manet.IsPublicAddr(a) })
	if info.ID == p.id || p.connected(info.ID) || len(info.Addrs) == 0 {
		return
	}
	info.Addrs = info.Addrs[:min(len(info.Addrs), maxKnownAddrs)]
	if !p.door.try(info.ID) {
		return
	}
	p.start(func() {
		defer p.door.tried(info.ID)
		ctx, cancel := context.WithTimeout(p.ctx, greetTimeout)
		defer cancel()
		if err := p.dial(ctx, info); err != nil {
			p.cfg.Log.Debug("dial whom mDNS found", "peer", info.ID, "err", err)
		}
	})
}
