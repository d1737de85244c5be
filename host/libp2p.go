package host

import (
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

// newLibp2p makes the host: TCP and QUIC, relay client, hole punching, AutoNAT; no DHT,
// no bootstrap, no port mapping.
func newLibp2p(cfg Config, d *gater, relays autorelay.PeerSource) (host.Host, error) {
	key, err := crypto.UnmarshalEd25519PrivateKey(cfg.Identity.Key)
	if err != nil {
		return nil, fmt.Errorf("the repo's key: %w", err)
	}
	listen, err := parseAddrs(cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	announce, err := parseAddrs(cfg.Announce)
	if err != nil {
		return nil, fmt.Errorf("announce: %w", err)
	}
	if cfg.Reachability != "" && cfg.Reachability != "public" && cfg.Reachability != "private" {
		return nil, fmt.Errorf("reachability is public, private or empty, not %q", cfg.Reachability)
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
		libp2p.ConnectionGater(d), libp2p.ResourceManager(resources{rm, d}), libp2p.ConnectionManager(cm),
		libp2p.WithDialTimeout(10 * time.Second), libp2p.SwarmOpts(swarm.WithDialRanker(tcpFirst)),
		libp2p.EnableRelay(), libp2p.EnableHolePunching(), libp2p.EnableAutoNATv2(),
		libp2p.NoListenAddrs, // listens below: a libp2p that cannot start leaves goroutines behind
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
		opts = append(opts, libp2p.EnableRelayService(relayv2.WithACL(membersOnly{d}), relayv2.WithResources(res)))
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

// listenOn listens on every address. Libp2p is content with one of them; a machine may
// have no IPv6.
func listenOn(n network.Network, addrs []ma.Multiaddr) error {
	for _, a := range addrs {
		first, _ := ma.SplitFirst(a)
		err := vacant(a)
		if err == nil {
			err = n.Listen(a)
		}
		if err != nil && (first == nil || first.Protocol().Code != ma.P_IP6) {
			return fmt.Errorf("listen on %s: %w", a, err)
		}
	}
	return nil
}

// vacant returns an error when another process listens on a TCP address. Libp2p shares
// ports, to dial from that on which it listens: two peers would then share one port, too,
// and each get some of the other's connections.
func vacant(a ma.Multiaddr) error {
	if _, err := a.ValueForProtocol(ma.P_TCP); err != nil {
		return nil // QUIC shares nothing
	}
	addr, err := manet.ToNetAddr(a)
	if err != nil {
		return nil // libp2p says better what is wrong with it
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

// tcpFirst ranks addresses as libp2p does, but those of QUIC a little later than others:
// blocks move several times faster over the kernel's TCP, at less of a core.
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

// membersOnly lets peers use this one as a relay that may.
type membersOnly struct{ door *gater }

func (m membersOnly) AllowReserve(id peer.ID, _ ma.Multiaddr) bool {
	return m.door.allows(id, UseRelay)
}

func (m membersOnly) AllowConnect(src peer.ID, _ ma.Multiaddr, dest peer.ID) bool {
	return m.door.allows(src, UseRelay) && m.door.allows(dest, UseRelay)
}

// streamLimits lists liftoff's protocols with how many streams of one peer and of all
// peers may come in at once. A conversation of the market is open while its job runs; a QUIC
// connection of libp2p has 256 streams, and a further one waits.
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

// newResources bounds what libp2p may take: half of the machine's memory unless the
// Config says less, and a connection for each MiB of it, but at most eight times as many
// as are kept.
func newResources(cfg Config) (network.ResourceManager, error) {
	scaling := rcmgr.DefaultLimits
	libp2p.SetDefaultServiceLimits(&scaling)
	for _, l := range streamLimits {
		out := 4 * l.peer // its own asks and greetings of many at once are not attacks
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
		// Many members may stand behind one address.
		rcmgr.WithLimitPerSubnet([]rcmgr.ConnLimitPerSubnet{{ConnCount: conns, PrefixLength: 32}},
			[]rcmgr.ConnLimitPerSubnet{{ConnCount: conns, PrefixLength: 56}}),
	}
	if cfg.Registerer == nil {
		opts = append(opts, rcmgr.WithMetricsDisabled())
	}
	return rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(limits), opts...)
}

// guarded is the host that further protocols get.
type guarded struct {
	host.Host
	p *Peer
}

// NewStream waits until the first greeting is over, so that the other side knows this
// peer, and refuses what the door does not let out. It takes a relayed connection if there
// is no other.
func (g guarded) NewStream(ctx context.Context, id peer.ID, protos ...protocol.ID) (network.Stream, error) {
	if err := g.p.await(ctx, id); err != nil {
		return nil, err
	}
	for _, proto := range protos {
		if err := g.p.door.admits(id, proto, network.DirOutbound); err != nil {
			return nil, fmt.Errorf("open %s to %s: %w", proto, id, err)
		}
	}
	return g.Host.NewStream(network.WithAllowLimitedConn(ctx, "no other way"), id, protos...)
}

// Connect is content with a relayed connection.
func (g guarded) Connect(ctx context.Context, info peer.AddrInfo) error {
	return g.Host.Connect(network.WithAllowLimitedConn(ctx, "no other way"), info)
}

// reached connects to id unless there is a connection. Libp2p lets others use one before
// it has told this package of it.
func (p *Peer) reached(ctx context.Context, id peer.ID) (*caller, error) {
	if c := p.door.caller(id); c != nil {
		return c, nil
	}
	if noDial, _ := network.GetNoDial(ctx); noDial && !p.connected(id) {
		return nil, network.ErrNoConn
	}
	if err := p.raw.Connect(ctx, peer.AddrInfo{ID: id}); err != nil {
		return nil, err
	}
	for p.connected(id) {
		if c := p.door.caller(id); c != nil {
			return c, nil
		}
		if !sleep(ctx, time.Millisecond) {
			return nil, context.Cause(ctx)
		}
	}
	return nil, network.ErrNoConn
}

// await connects to id unless there is a connection, and waits for the first greeting.
func (p *Peer) await(ctx context.Context, id peer.ID) error {
	c, err := p.reached(ctx, id)
	if err != nil {
		return err
	}
	timer := time.NewTimer(greetTimeout)
	defer timer.Stop()
	select {
	case <-c.greeted:
	case <-timer.C:
		return errors.New("the peer did not greet in time")
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if why := p.door.refusal(c); why != "" {
		return &RefusedError{ID: id, Why: why}
	}
	if !p.connected(id) {
		return network.ErrNoConn
	}
	return nil
}

// RefusedError says that another peer wants nothing to do with this one.
type RefusedError struct {
	ID  peer.ID
	Why string // in its words
}

func (e *RefusedError) Error() string { return fmt.Sprintf("%s refuses this peer: %s", e.ID, e.Why) }

func parseAddrs(list []string) ([]ma.Multiaddr, error) {
	addrs := make([]ma.Multiaddr, 0, len(list))
	for _, s := range list {
		a, err := ma.NewMultiaddr(s)
		if err != nil {
			return nil, fmt.Errorf("%.80q: %w", s, err)
		}
		addrs = append(addrs, a)
	}
	return addrs, nil
}
