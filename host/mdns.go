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

// discover starts mDNS discovery of cluster members on the local network, if the Config enables it. The service
// name is derived from the cluster's key, so only members search for it. It is called again after the repo has joined
// a cluster.
func (p *Peer) discover() error {
	id := p.cluster.ID()
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.cfg.MDNS || id == "" || p.mdns != nil || p.closing {
		return nil
	}
	s := mdns.NewMdnsService(p.raw, mdnsName(id), mdnsNotifee{p})
	if err := s.Start(); err != nil {
		return fmt.Errorf("start mDNS: %w", err)
	}
	p.mdns = s
	return nil
}

func mdnsName(id job.DID) string {
	h := job.CIDOf([]byte("liftoff mdns " + string(id))).Hash()
	return fmt.Sprintf("_liftoff-%x._udp", h[2:6])
}

// mdnsNotifee handles mDNS results. Any machine can claim anything there: only local addresses are dialed, a few at
// once, and the peer must prove in the handshake that it is a member.
type mdnsNotifee struct{ p *Peer }

func (f mdnsNotifee) HandlePeerFound(info peer.AddrInfo) {
	p := f.p
	info.Addrs = slices.DeleteFunc(info.Addrs, func(a ma.Multiaddr) bool { return manet.IsPublicAddr(a) })
	if info.ID == p.id || p.connected(info.ID) || len(info.Addrs) == 0 {
		return
	}
	info.Addrs = info.Addrs[:min(len(info.Addrs), maxKnownAddrs)]
	if !p.gater.addCandidate(info.ID) {
		return
	}
	p.start(func() {
		defer p.gater.removeCandidate(info.ID)
		ctx, cancel := context.WithTimeout(p.ctx, handshakeTimeout)
		defer cancel()
		if err := p.dial(ctx, info); err != nil {
			p.cfg.Log.Debug("dial peer found by mDNS", "peer", info.ID, "err", err)
		}
	})
}
