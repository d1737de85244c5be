package host

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/ipfs-liftoff/liftoff/host/cluster"
)

// Open starts the peer of a repo. It listens where cfg says, and dials only cluster members in its address book.
func Open(cfg Config) (*Peer, error) {
	cfg = cfg.withDefaults()
	id, err := peer.Decode(cfg.Identity.PeerID)
	if err != nil {
		return nil, fmt.Errorf("peer id of this repo: %w", err)
	}
	p := &Peer{
		cfg: cfg, id: id, cluster: cfg.Cluster, table: newTable(), refusals: bucket{rate: 0.1, burst: 20}, joining: map[peer.ID]int{},
		dialNow: make(chan struct{}, 1), changes: make(chan struct{}, 1),
	}
	p.own.changed = make(chan struct{}, 1)
	if p.cluster == nil {
		p.cluster = cluster.None(cfg.Identity.Key)
	}
	if p.addrBook, err = openAddressBook(cfg.Dir); err != nil {
		return nil, err
	}
	if p.gater, err = newGater(id, p.cluster, cfg.Now, cfg.Policy); err != nil {
		return nil, err
	}
	p.gater.disconnect = func(id peer.ID) { p.start(func() { p.raw.Network().ClosePeer(id) }) }
	p.ctx, p.cancel = context.WithCancelCause(context.Background())
	if p.raw, err = newLibp2p(cfg, p.gater, p.relays); err != nil {
		p.cancel(err)
		return nil, fmt.Errorf("start libp2p: %w", err)
	}
	p.host = gatedHost{p.raw, p}
	if err := p.startServices(); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

func (p *Peer) startServices() (err error) {
	p.raw.SetStreamHandler(handshakeProtocol, p.streamHandler(p.answerHandshake))
	p.raw.SetStreamHandler(joinProtocol, p.streamHandler(p.answerJoin))
	p.raw.SetStreamHandler(lookupProtocol, p.streamHandler(p.answerLookup))
	p.raw.Network().Notify(&network.NotifyBundle{
		ConnectedF:    func(_ network.Network, c network.Conn) { p.connOpened(c) },
		DisconnectedF: func(n network.Network, c network.Conn) { p.connClosed(c.RemotePeer()) },
	})
	if p.gossip, err = newGossip(p); err != nil {
		return err
	}
	updates, err := p.raw.EventBus().Subscribe(new(event.EvtLocalAddressesUpdated))
	if err != nil {
		return err
	}
	p.start(func() { p.advertiseAddresses(updates) })
	p.start(p.publish)
	p.start(p.maintain)
	p.start(p.dialLoop)
	p.start(p.notifyLoop)
	return p.discover()
}

// Close ends every connection and returns when every goroutine has ended.
func (p *Peer) Close() error {
	p.mu.Lock()
	p.closing = true
	service := p.mdns
	p.mu.Unlock()
	p.cancel(ErrClosed)
	var errs []error
	if service != nil {
		errs = append(errs, service.Close())
	}
	errs = append(errs, p.raw.Close())
	p.tasks.Wait()
	errs = append(errs, p.addrBook.save())
	return errors.Join(errs...)
}

// start runs f in a goroutine that Close waits for. After Close it does nothing.
func (p *Peer) start(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closing {
		p.tasks.Go(f)
	}
}

// streamHandler returns h as a stream handler: Close waits for it, it ends after handshakeTimeout, and streams above
// a peer's rate limit are reset.
func (p *Peer) streamHandler(h func(network.Stream) error) network.StreamHandler {
	return func(s network.Stream) {
		p.mu.Lock()
		if p.closing || !p.gater.takeStream(s.Conn().RemotePeer()) {
			p.mu.Unlock()
			s.Reset()
			return
		}
		p.tasks.Add(1)
		p.mu.Unlock()
		defer p.tasks.Done()
		s.SetDeadline(time.Now().Add(handshakeTimeout))
		err := h(s)
		closeStream(s, err)
		if err != nil {
			p.cfg.Log.Debug("handle stream of peer", "protocol", s.Protocol(), "peer", s.Conn().RemotePeer(), "err", err)
		}
	}
}

// closeStream closes a stream after a success and resets it after an error. A closed stream must not be reset: the last
// bytes written might be lost.
func closeStream(s network.Stream, err error) {
	if err != nil {
		s.Reset()
	} else {
		s.Close()
	}
}

// connOpened starts the handshake with a peer that this node has dialed. It does so on each connection: when two peers
// dial each other at the same moment, each may see the other's connection first, and both would wait. A connection
// that is the second one here may also be the first one for the other peer, which has seen an earlier one end.
func (p *Peer) connOpened(c network.Conn) {
	id := c.RemotePeer()
	outward := c.Stat().Direction == network.DirOutbound
	call := p.gater.addConn(id, outward)
	p.mu.Lock()
	joining := p.joining[id] > 0
	p.mu.Unlock()
	closest := p.gater.relation(id)
	if slices.Contains(p.gater.relations(id), Content) {
		call.finishHandshake() // the peer may speak only bitswap, and does no handshake
		p.notifyChanged()
	}
	if outward && !joining && closest != Content {
		p.start(func() {
			if err := p.firstHandshake(p.ctx, id); err != nil && p.ctx.Err() == nil {
				p.cfg.Log.Debug("handshake", "peer", id, "err", err)
			}
		})
	}
	p.wakeDialer()
}

func (p *Peer) connClosed(id peer.ID) {
	if p.gater.removeConn(id) {
		p.notifyChanged()
		p.wakeDialer()
	}
}

// wakeDialer makes dialLoop check which members to dial.
func (p *Peer) wakeDialer() {
	select {
	case p.dialNow <- struct{}{}:
	default:
	}
}

// notifyChanged makes notifyLoop call Config.Changed.
func (p *Peer) notifyChanged() {
	select {
	case p.changes <- struct{}{}:
	default:
	}
}

func (p *Peer) notifyLoop() {
	for {
		select {
		case <-p.ctx.Done():
			return
		case <-p.changes:
		}
		if p.cfg.Changed == nil {
			continue
		}
		p.cfg.Changed()
		if !sleep(p.ctx, 100*time.Millisecond) {
			return
		}
	}
}

// advertisedAddrs returns the addresses that are announced to other peers. Loopback addresses are included only if
// there are no others.
func (p *Peer) advertisedAddrs() []ma.Multiaddr {
	all := p.raw.Addrs()
	far := slices.DeleteFunc(slices.Clone(all), manet.IsIPLoopback)
	if len(far) > 0 {
		return far
	}
	return all
}

// Addrs returns the multiaddrs at which this node can be dialed, with its peer id.
func (p *Peer) Addrs() []string {
	list := texts(p.raw.Addrs())
	for i := range list {
		list[i] += "/p2p/" + p.id.String()
	}
	return list
}

// dialable returns the addresses at which a peer was dialed and those in the peerstore.
func (p *Peer) dialable(id peer.ID) []string {
	var addrs []ma.Multiaddr
	for _, c := range p.raw.Network().ConnsToPeer(id) {
		if c.Stat().Direction == network.DirOutbound && !c.Stat().Limited {
			addrs = append(addrs, c.RemoteMultiaddr())
		}
	}
	addrs = append(addrs, p.raw.Peerstore().Addrs(id)...)
	list := texts(addrs)
	slices.Sort(list)
	return slices.Compact(list)
}

// SetPolicy replaces Config.Policy, and disconnects peers that it does not authorize.
func (p *Peer) SetPolicy(policy Policy) error {
	if err := p.gater.setPolicy(policy); err != nil {
		return err
	}
	p.disconnectUnauthorized(0)
	return nil
}

// Peers returns the connected peers and the other known peers: members with a known address, and authors of hints.
func (p *Peer) Peers() []PeerInfo {
	now := p.cfg.Now()
	connected := p.gater.connected()
	ids := append(p.table.ids(), p.addrBook.members()...)
	for id := range connected {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	all := make([]PeerInfo, 0, len(ids))
	for _, id := range ids {
		info := PeerInfo{ID: id}
		info.Relation, info.Rights = p.gater.rights(id)
		info.Addrs, info.Unreachable = p.addrBook.lookup(id)
		if !info.Allows(StayConnected) {
			continue
		}
		info.DID, _ = DIDOf(id) // a content peer may have a key of another type
		if info.Relation == Member {
			info.Role, _ = p.cluster.Check(info.DID, now) // the relation implies a valid membership
		}
		if c, ok := connected[id]; ok {
			info.Connected, info.RTT, info.LastSeen, info.Unreachable = true, c.rtt, c.lastHandshake, nil
			info.HandshakeDone = c.handshakeDone && !c.lastHandshake.IsZero()
			info.Relayed = p.raw.Network().Connectedness(id) == network.Limited
			info.Addrs = p.dialable(id)
		}
		if info.Allows(BeCounted) {
			p.table.fill(&info, now)
		}
		all = append(all, info)
	}
	return all
}
