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

// Open makes the repo a peer. It listens where cfg says and dials nobody but members of
// the cluster that it was in touch with before.
func Open(cfg Config) (*Peer, error) {
	cfg = cfg.withDefaults()
	id, err := peer.Decode(cfg.Identity.PeerID)
	if err != nil {
		return nil, fmt.Errorf("the repo's identity: %w", err)
	}
	p := &Peer{
		cfg: cfg, id: id, cluster: cfg.Cluster, table: newTable(), refusals: bucket{rate: 0.1, burst: 20}, joining: map[peer.ID]int{},
		kick: make(chan struct{}, 1), news: make(chan struct{}, 1),
	}
	p.own.changed = make(chan struct{}, 1)
	if p.cluster == nil {
		p.cluster = cluster.None(cfg.Identity.Key)
	}
	if p.book, err = openBook(cfg.Dir); err != nil {
		return nil, err
	}
	if p.door, err = newDoor(id, p.cluster, cfg.Now, cfg.Policy); err != nil {
		return nil, err
	}
	p.door.cut = func(id peer.ID) { p.start(func() { p.raw.Network().ClosePeer(id) }) }
	p.ctx, p.cancel = context.WithCancelCause(context.Background())
	if p.raw, err = newLibp2p(cfg, p.door, p.relays); err != nil {
		p.cancel(err)
		return nil, fmt.Errorf("start the network: %w", err)
	}
	p.host = guarded{p.raw, p}
	if err := p.begin(); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

func (p *Peer) begin() (err error) {
	p.raw.SetStreamHandler(handshakeProtocol, p.bounded(p.answerGreeting))
	p.raw.SetStreamHandler(joinProtocol, p.bounded(p.answerJoin))
	p.raw.SetStreamHandler(lookupProtocol, p.bounded(p.answerWho))
	p.raw.Network().Notify(&network.NotifyBundle{
		ConnectedF:    func(_ network.Network, c network.Conn) { p.arrived(c) },
		DisconnectedF: func(n network.Network, c network.Conn) { p.parted(c.RemotePeer()) },
	})
	if p.gossip, err = newGossip(p); err != nil {
		return err
	}
	moves, err := p.raw.EventBus().Subscribe(new(event.EvtLocalAddressesUpdated))
	if err != nil {
		return err
	}
	p.start(func() { p.tellMoves(moves) })
	p.start(p.publish)
	p.start(p.keepUp)
	p.start(p.keepDialing)
	p.start(p.tell)
	return p.lookAround()
}

// Close ends every connection and returns when every goroutine has ended.
func (p *Peer) Close() error {
	p.mu.Lock()
	p.closing = true
	around := p.mdns
	p.mu.Unlock()
	p.cancel(ErrClosed)
	var errs []error
	if around != nil {
		errs = append(errs, around.Close())
	}
	errs = append(errs, p.raw.Close())
	p.tasks.Wait()
	errs = append(errs, p.book.save())
	return errors.Join(errs...)
}

// start runs f in a goroutine that Close waits for; not at all after Close.
func (p *Peer) start(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closing {
		p.tasks.Go(f)
	}
}

// bounded makes a stream handler of h: Close waits for it, it has greetTimeout, and
// streams of who opens too many are dropped.
func (p *Peer) bounded(h func(network.Stream) error) network.StreamHandler {
	return func(s network.Stream) {
		p.mu.Lock()
		if p.closing || !p.door.within(s.Conn().RemotePeer()) {
			p.mu.Unlock()
			s.Reset()
			return
		}
		p.tasks.Add(1)
		p.mu.Unlock()
		defer p.tasks.Done()
		s.SetDeadline(time.Now().Add(greetTimeout))
		err := h(s)
		done(s, err)
		if err != nil {
			p.cfg.Log.Debug("answer a stream", "protocol", s.Protocol(), "peer", s.Conn().RemotePeer(), "err", err)
		}
	}
}

// done closes a stream that went well and resets another. One that was closed must not be
// reset: what was written last might be lost.
func done(s network.Stream, err error) {
	if err != nil {
		s.Reset()
	} else {
		s.Close()
	}
}

// arrived greets whom this peer has dialed. It does so on each connection: when two dial
// each other at the same moment, each may see the other's connection first, and both would
// wait; and what this peer takes for a second one may be the first for the other, which has
// seen an earlier one end.
func (p *Peer) arrived(c network.Conn) {
	id := c.RemotePeer()
	outward := c.Stat().Direction == network.DirOutbound
	call := p.door.arrived(id, outward)
	p.mu.Lock()
	joining := p.joining[id] > 0
	p.mu.Unlock()
	closest := p.door.relation(id)
	if slices.Contains(p.door.relations(id), Content) {
		call.over() // it may speak bitswap alone, and no greeting
		p.changed()
	}
	if outward && !joining && closest != Content {
		p.start(func() {
			if err := p.meet(p.ctx, id); err != nil && p.ctx.Err() == nil {
				p.cfg.Log.Debug("greet", "peer", id, "err", err)
			}
		})
	}
	p.wake()
}

func (p *Peer) parted(id peer.ID) {
	if p.door.left(id) {
		p.changed()
		p.wake()
	}
}

// wake makes keepDialing look whom to dial.
func (p *Peer) wake() {
	select {
	case p.kick <- struct{}{}:
	default:
	}
}

// changed makes tell call Config.Changed.
func (p *Peer) changed() {
	select {
	case p.news <- struct{}{}:
	default:
	}
}

func (p *Peer) tell() {
	for {
		select {
		case <-p.ctx.Done():
			return
		case <-p.news:
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

// tellable returns the addresses that others are told: those of this machine's loopback
// only if there are no others.
func (p *Peer) tellable() []ma.Multiaddr {
	all := p.raw.Addrs()
	far := slices.DeleteFunc(slices.Clone(all), manet.IsIPLoopback)
	if len(far) > 0 {
		return far
	}
	return all
}

// Addrs returns the multiaddrs that this peer can be dialed at, with its peer id.
func (p *Peer) Addrs() []string {
	list := texts(p.raw.Addrs())
	for i := range list {
		list[i] += "/p2p/" + p.id.String()
	}
	return list
}

// dialable returns the addresses that a peer has signed, or where it was dialed.
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

// SetPolicy replaces Config.Policy, and cuts who is nobody by it.
func (p *Peer) SetPolicy(policy Policy) error {
	if err := p.door.setPolicy(policy); err != nil {
		return err
	}
	p.cutNobodies(0)
	return nil
}

// Peers returns whom this peer is connected to, and whom it has heard of: members whose
// address it knows, and authors of hints.
func (p *Peer) Peers() []PeerInfo {
	now := p.cfg.Now()
	connected := p.door.connected()
	ids := append(p.table.ids(), p.book.members()...)
	for id := range connected {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	all := make([]PeerInfo, 0, len(ids))
	for _, id := range ids {
		info := PeerInfo{ID: id}
		info.Relation, info.Rights = p.door.rights(id)
		info.Addrs, info.Unreachable = p.book.look(id)
		if !info.Allows(StayConnected) {
			continue
		}
		info.DID, _ = DIDOf(id) // a content peer may have another key
		if info.Relation == Member {
			info.Role, _ = p.cluster.Check(info.DID, now) // it is a member
		}
		if c, ok := connected[id]; ok {
			info.Connected, info.RTT, info.LastSeen, info.Unreachable = true, c.rtt, c.spoke, nil
			info.HandshakeDone = c.greeted && !c.spoke.IsZero()
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
