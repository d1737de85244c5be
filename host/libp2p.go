package host

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/host/autorelay"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/p2p/net/connmgr"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	relayv2 "github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/relay"
	quic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	"github.com/pbnjay/memory"
)

// newLibp2p creates the libp2p host: TCP and QUIC, relay client, hole punching, AutoNAT; no DHT, no bootstrap peers,
// no port mapping.
func newLibp2p(cfg Config, d *gater, relays autorelay.PeerSource) (host.Host, error) {
	key, err := crypto.UnmarshalEd25519PrivateKey(cfg.Identity.Key)
	if err != nil {
		return nil, fmt.Errorf("load repo key: %w", err)
	}
	listen, err := parseAddrs(cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen addresses: %w", err)
	}
	announce, err := parseAddrs(cfg.Announce)
	if err != nil {
		return nil, fmt.Errorf("announced addresses: %w", err)
	}
	if cfg.Reachability != "" && cfg.Reachability != "public" && cfg.Reachability != "private" {
		return nil, fmt.Errorf("reachability: got %q, want public, private or empty", cfg.Reachability)
	}
	rm, err := newResources(cfg)
	if err != nil {
		return nil, err
	}
	cm, err := connmgr.NewConnManager(cfg.MaxPeers*3/4, cfg.MaxPeers, connmgr.WithGracePeriod(time.Minute))
	if err != nil {
		rm.Close()
		return nil, err
	}
	opts := []libp2p.Option{
		libp2p.Identity(key),
		libp2p.UserAgent("liftoff"),
		libp2p.Transport(tcp.NewTCPTransport), libp2p.Transport(quic.NewTransport),
		libp2p.DefaultSecurity, libp2p.DefaultMuxers,
		libp2p.ConnectionGater(d), libp2p.ResourceManager(gatedResources{rm, d}), libp2p.ConnectionManager(cm),
		libp2p.WithDialTimeout(10 * time.Second), libp2p.SwarmOpts(swarm.WithDialRanker(tcpFirst)),
		libp2p.EnableRelay(), libp2p.EnableHolePunching(), libp2p.EnableAutoNATv2(),
		libp2p.NoListenAddrs, // listens below: a libp2p host that cannot start leaks goroutines
	}
	if cfg.Registerer == nil {
		opts = append(opts, libp2p.DisableMetrics())
	} else {
		opts = append(opts, libp2p.PrometheusRegisterer(cfg.Registerer))
	}
	if !cfg.NoListen {
		opts = append(opts, libp2p.EnableAutoRelayWithPeerSource(relays, autorelay.WithNumRelays(2), autorelay.WithMinCandidates(1),
			autorelay.WithBootDelay(2*time.Second), autorelay.WithMinInterval(5*time.Second), autorelay.WithBackoff(time.Minute)))
	}
	if !cfg.NoListen && cfg.Reachability != "private" {
		opts = append(opts, libp2p.EnableNATService())
	}
	if len(announce) > 0 {
		opts = append(opts, libp2p.AddrsFactory(func(own []ma.Multiaddr) []ma.Multiaddr {
			return slices.Concat(announce, slices.DeleteFunc(slices.Clone(own), func(a ma.Multiaddr) bool { return !isRelayed(a) }))
		}))
	}
	switch {
	case cfg.Relay || cfg.Reachability == "public":
		opts = append(opts, libp2p.ForceReachabilityPublic())
	case cfg.Reachability == "private":
		opts = append(opts, libp2p.ForceReachabilityPrivate())
	}
	if cfg.Relay {
		res := relayv2.DefaultResources()
		res.Limit = &relayv2.RelayLimit{Duration: 10 * time.Minute, Data: 64 << 20}
		res.MaxReservationsPerIP, res.MaxReservationsPerASN = res.MaxReservations, res.MaxReservations // members, whatever network they are in
		opts = append(opts, libp2p.EnableRelayService(relayv2.WithACL(relayACL{d}), relayv2.WithResources(res)))
	}
	h, err := libp2p.New(opts...)
	if err != nil {
		cm.Close()
		rm.Close()
		return nil, err
	}
	if err := listenOn(h.Network(), listen); err != nil {
		h.Close()
		return nil, err
	}
	return h, nil
}

// listenOn listens on every address. Libp2p itself accepts one success among them. An IPv6 address may fail: a
// machine may have no IPv6.
func listenOn(n network.Network, addrs []ma.Multiaddr) error {
	for _, a := range addrs {
		first, _ := ma.SplitFirst(a)
		err := checkPortFree(a)
		if err == nil {
			err = n.Listen(a)
		}
		if err != nil && (first == nil || first.Protocol().Code != ma.P_IP6) {
			return fmt.Errorf("listen on %s: %w", a, err)
		}
	}
	return nil
}

// checkPortFree returns an error when another process listens on a TCP address. Libp2p shares ports, because it dials
// from the port on which it listens: two peers would then share one port, and each would get some of the other's
// connections.
func checkPortFree(a ma.Multiaddr) error {
	if _, err := a.ValueForProtocol(ma.P_TCP); err != nil {
		return nil // QUIC does not share ports
	}
	addr, err := manet.ToNetAddr(a)
	if err != nil {
		return nil // libp2p has the better error for it
	}
	network := "tcp4"
	if first, _ := ma.SplitFirst(a); first != nil && first.Protocol().Code == ma.P_IP6 {
		network = "tcp6"
	}
	l, err := net.Listen(network, addr.String())
	if err != nil {
		return err
	}
	return l.Close()
}

// tcpFirst ranks addresses as libp2p does, but delays those of QUIC: blocks move several times faster over the
// kernel's TCP, at less CPU time.
func tcpFirst(addrs []ma.Multiaddr) []network.AddrDelay {
	const later = 250 * time.Millisecond
	var quics, others []ma.Multiaddr
	for _, a := range addrs {
		if _, err := a.ValueForProtocol(ma.P_QUIC_V1); err == nil {
			quics = append(quics, a)
		} else {
			others = append(others, a)
		}
	}
	ranked := swarm.DefaultDialRanker(quics)
	if len(others) > 0 {
		for i := range ranked {
			ranked[i].Delay += later
		}
	}
	return append(swarm.DefaultDialRanker(others), ranked...)
}

func isRelayed(a ma.Multiaddr) bool {
	_, err := a.ValueForProtocol(ma.P_CIRCUIT)
	return err == nil
}

// relayACL is the relay's ACL: it requires the right UseRelay.
type relayACL struct{ gater *gater }

func (m relayACL) AllowReserve(id peer.ID, _ ma.Multiaddr) bool {
	return m.gater.allows(id, UseRelay)
}

func (m relayACL) AllowConnect(src peer.ID, _ ma.Multiaddr, dest peer.ID) bool {
	return m.gater.allows(src, UseRelay) && m.gater.allows(dest, UseRelay)
}

// streamLimits lists liftoff's protocols and the inbound streams allowed per peer and in total. A market stream is
// open while its job runs. A QUIC connection of libp2p has 256 streams; a further one waits.
var streamLimits = []struct {
	id        protocol.ID
	peer, all int
}{
	{handshakeProtocol, 4, 128},
	{joinProtocol, 2, 32},
	{lookupProtocol, 8, 128},
	{marketProtocol, 256, 4096},
	{blocksProtocol, 128, 1024},
}

// newResources limits the resources of libp2p: half of the machine's memory unless the Config says less, and one
// connection per MiB of it, but at most eight times MaxPeers.
func newResources(cfg Config) (network.ResourceManager, error) {
	scaling := rcmgr.DefaultLimits
	libp2p.SetDefaultServiceLimits(&scaling)
	for _, l := range streamLimits {
		out := 4 * l.peer // this node's own requests and handshakes come in bursts
		per := rcmgr.BaseLimit{StreamsInbound: l.peer, StreamsOutbound: out, Streams: l.peer + out, Memory: 32 << 20}
		all := rcmgr.BaseLimit{StreamsInbound: l.all, StreamsOutbound: l.all, Streams: 2 * l.all, Memory: 128 << 20}
		scaling.AddProtocolPeerLimit(l.id, per, rcmgr.BaseLimitIncrease{})
		scaling.AddProtocolLimit(l.id, all, rcmgr.BaseLimitIncrease{})
	}
	mem := cfg.Memory
	if mem <= 0 {
		mem = int64(memory.TotalMemory() / 2)
	}
	mem = max(mem, 64<<20)
	conns := min(max(int(mem>>20), 32), 8*cfg.MaxPeers)
	limits := rcmgr.PartialLimitConfig{
		System: rcmgr.ResourceLimits{
			Memory:       rcmgr.LimitVal64(mem),
			ConnsInbound: rcmgr.LimitVal(conns), ConnsOutbound: rcmgr.LimitVal(conns), Conns: rcmgr.LimitVal(2 * conns),
			StreamsInbound: 8192, StreamsOutbound: 8192, Streams: 16384,
		},
		PeerDefault: rcmgr.ResourceLimits{StreamsInbound: 1024, StreamsOutbound: 2048, Streams: 3072},
	}.Build(scaling.AutoScale())
	opts := []rcmgr.Option{
		// Many members may share one public address.
		rcmgr.WithLimitPerSubnet([]rcmgr.ConnLimitPerSubnet{{ConnCount: conns, PrefixLength: 32}},
			[]rcmgr.ConnLimitPerSubnet{{ConnCount: conns, PrefixLength: 56}}),
	}
	if cfg.Registerer == nil {
		opts = append(opts, rcmgr.WithMetricsDisabled())
	}
	return rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(limits), opts...)
}

// gatedHost is the host on which other protocols run.
type gatedHost struct {
	host.Host
	p *Peer
}

// NewStream waits until the first handshake is over, so that the other peer knows this node, and refuses protocols
// that the gater does not allow. It uses a relayed connection without a direct one.
func (g gatedHost) NewStream(ctx context.Context, id peer.ID, protos ...protocol.ID) (network.Stream, error) {
	if err := g.p.awaitHandshake(ctx, id); err != nil {
		return nil, err
	}
	for _, proto := range protos {
		if err := g.p.gater.admits(id, proto, network.DirOutbound); err != nil {
			return nil, fmt.Errorf("open stream %s to peer %s: %w", proto, id, err)
		}
	}
	return g.Host.NewStream(network.WithAllowLimitedConn(ctx, "no direct connection"), id, protos...)
}

// Connect accepts a relayed connection.
func (g gatedHost) Connect(ctx context.Context, info peer.AddrInfo) error {
	return g.Host.Connect(network.WithAllowLimitedConn(ctx, "no direct connection"), info)
}

// ensureConn connects to id unless there is a connection. Libp2p makes a connection usable before it notifies this
// package of it.
func (p *Peer) ensureConn(ctx context.Context, id peer.ID) (*peerState, error) {
	if c := p.gater.peer(id); c != nil {
		return c, nil
	}
	if noDial, _ := network.GetNoDial(ctx); noDial && !p.connected(id) {
		return nil, network.ErrNoConn
	}
	if err := p.raw.Connect(ctx, peer.AddrInfo{ID: id}); err != nil {
		return nil, err
	}
	for p.connected(id) {
		if c := p.gater.peer(id); c != nil {
			return c, nil
		}
		if !sleep(ctx, time.Millisecond) {
			return nil, context.Cause(ctx)
		}
	}
	return nil, network.ErrNoConn
}

// awaitHandshake connects to id unless there is a connection, and waits for the first handshake.
func (p *Peer) awaitHandshake(ctx context.Context, id peer.ID) error {
	c, err := p.ensureConn(ctx, id)
	if err != nil {
		return err
	}
	timer := time.NewTimer(handshakeTimeout)
	defer timer.Stop()
	select {
	case <-c.handshakeDone:
	case <-timer.C:
		return errors.New("handshake with peer timed out")
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if why := p.gater.refusal(c); why != "" {
		return &RefusedError{ID: id, Why: why}
	}
	if !p.connected(id) {
		return network.ErrNoConn
	}
	return nil
}

// RefusedError reports that another peer refuses this node.
type RefusedError struct {
	ID  peer.ID
	Why string // the peer's own text
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("peer %s refused this node: %s", e.ID, cmp.Or(e.Why, "no reason given"))
}

func parseAddrs(list []string) ([]ma.Multiaddr, error) {
	addrs := make([]ma.Multiaddr, 0, len(list))
	for _, s := range list {
		a, err := ma.NewMultiaddr(s)
		if err != nil {
			return nil, fmt.Errorf("address %.80q: %w", s, err)
		}
		addrs = append(addrs, a)
	}
	return addrs, nil
}
