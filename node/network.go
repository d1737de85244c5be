package node

import (
	"context"
	"fmt"
	goruntime "runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"golang.org/x/sync/semaphore"

	"github.com/ipfs-liftoff/liftoff/host"
	"github.com/ipfs-liftoff/liftoff/host/cluster"
	"github.com/ipfs-liftoff/liftoff/host/exchange"
	"github.com/ipfs-liftoff/liftoff/host/market"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

// network is the node's peer: everything that exists only while the node is on the network.
type network struct {
	node        *Node
	cfg         NetworkConfig
	self        host.Identity
	peer        *host.Peer
	access      *exchange.Access
	exchange    *exchange.Exchange
	client      *market.Client
	server      *market.Server // nil: requester only
	provider    *provider
	queue       *admissionQueue
	opened      time.Time
	quota       *quota
	placing     *semaphore.Weighted // limits the jobs that ask peers for bids at once
	capacity    job.Capacity
	loadChanged chan struct{} // of capacity one: the free capacity has changed
	closing     atomic.Bool   // it accepts no more jobs of other peers

	mu          sync.Mutex
	calibration calibration
}

// openNetwork makes n a peer. The caller closes the network.
func openNetwork(ctx context.Context, n *Node, cfg NetworkConfig) (*network, error) {
	if err := cfg.check(); err != nil {
		return nil, api.Errorf(api.CodeUsage, "%v", err)
	}
	w := &network{node: n, cfg: cfg.withDefaults(), opened: n.clock(), loadChanged: make(chan struct{}, 1), placing: semaphore.NewWeighted(maxPlacing)}
	var err error
	if w.self, err = n.self.identity(); err != nil {
		return nil, err
	}
	if err := w.loadCalibration(); err != nil {
		return nil, err
	}
	w.queue = newAdmissionQueue(w.cfg.admission(), n.clock, w.signalLoad)
	w.quota = newQuota(n.store, w.cfg.Disk)
	if w.cfg.ComputeOnly {
		w.quota.collect = n.View.Collect
	}
	w.provider = newProvider(w)
	if w.capacity, err = w.measure(ctx); err != nil {
		return nil, err
	}
	f, err := n.cluster()
	if err != nil {
		return nil, err
	}
	w.peer, err = host.Open(host.Config{
		Dir: n.store.Dir(), Identity: w.self, Cluster: f,
		Listen: w.cfg.Listen, NoListen: w.cfg.NoListen, Announce: w.cfg.Announce, MDNS: w.cfg.MDNS,
		Relay: w.cfg.Relay, Reachability: w.cfg.Reachability, Policy: w.cfg.Policy,
		Bids: w.provider.bids, Log: n.log, Registerer: w.cfg.Registerer, Now: n.clock,
	})
	if err != nil {
		return nil, err
	}
	if err := w.start(ctx); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

// start starts the protocols of the host.
func (w *network) start(ctx context.Context) error {
	n := w.node
	published, err := n.published(ctx)
	if err != nil {
		return err
	}
	w.access = exchange.NewAccess(exchange.AccessConfig{
		Blocks: n.store, Published: published,
		Allows: w.peer.Allows,
	})
	h := w.peer.Libp2p()
	if w.exchange, err = exchange.New(h, exchange.Config{Blocks: n.store, Access: w.access, Bitswap: w.cfg.Bitswap, Logger: n.log}); err != nil {
		return err
	}
	w.cfg.Market.Logger = n.log
	w.cfg.Market.NonMember = func(p peer.ID) bool { return !w.peer.Allows(p, host.FullLimits) }
	w.client = market.NewClient(h, w.cfg.Market)
	if w.cfg.NoListen {
		return nil
	}
	if err := w.provider.recover(ctx); err != nil {
		return err
	}
	if w.server, err = market.Serve(h, counted{w.provider, n.metrics}, w.cfg.Market); err != nil {
		return err
	}
	if err := w.peer.SetCapacity(w.capacity); err != nil {
		return fmt.Errorf("announce capacity of this node: %w", err)
	}
	w.publishState()
	return nil
}

// close ends every stream and connection. The jobs of other peers have ended before.
func (w *network) close() error {
	var err error
	keep := func(e error) {
		if err == nil {
			err = e
		}
	}
	if w.server != nil {
		keep(w.server.Close())
	}
	w.provider.close()
	keep(w.saveCalibration())
	if w.exchange != nil {
		keep(w.exchange.Close())
	}
	keep(w.peer.Close())
	return err
}

// measure returns this peer's capacity.
func (w *network) measure(ctx context.Context) (job.Capacity, error) {
	c := job.Capacity{
		Labels: w.cfg.Labels, OS: goruntime.GOOS, Arch: goruntime.GOARCH, Version: w.node.version,
		Slots: w.cfg.Slots, Memory: w.cfg.Memory, Disk: w.cfg.Disk, Ceiling: w.cfg.Ceiling, Stores: !w.cfg.ComputeOnly,
	}
	if w.cfg.StoreOnly {
		c.Slots = 0
		return c, nil
	}
	executors, err := w.node.startRun(ctx)
	if err != nil {
		return c, err
	}
	defer w.node.endRun()
	for _, x := range executors {
		c.ABIs = append(c.ABIs, x.Traits().ABIs...)
	}
	c.Rate, err = w.node.fuelRate(ctx, executors)
	return c, err
}

// signalLoad is called when the free capacity has changed.
func (w *network) signalLoad() {
	select {
	case w.loadChanged <- struct{}{}:
	default:
	}
}

// publishState publishes the free capacity to other peers.
func (w *network) publishState() {
	l := w.queue.load(job.DefaultLimits.Pages * pageSize)
	w.peer.SetState(l.Free, l.Memory, l.Queue)
}

const pageSize = 64 << 10

// publishChanges publishes the free capacity whenever it changes, until ctx ends. The host limits how often
// peers are told.
func (w *network) publishChanges(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-w.loadChanged:
			w.publishState()
		}
	}
}

// redial is the period in which peers of NetworkConfig.Connect are dialed again.
const redial = 30 * time.Second

// keepConnected dials the configured peers, until ctx ends.
func (w *network) keepConnected(ctx context.Context) error {
	t := time.NewTicker(redial)
	defer t.Stop()
	for {
		for _, addr := range w.cfg.Connect {
			if err := w.connect(ctx, addr); err != nil && ctx.Err() == nil {
				w.node.log.Warn("dial configured peer", "address", addr, "err", err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

// connect dials addr unless its peer is connected.
func (w *network) connect(ctx context.Context, addr string) error {
	info, err := host.ParsePeerAddr(addr)
	if err != nil {
		return err
	}
	if w.connected(info.ID) {
		return nil
	}
	_, err = w.peer.Connect(ctx, addr)
	return err
}

func (w *network) connected(id peer.ID) bool {
	return len(w.peer.Libp2p().Network().ConnsToPeer(id)) > 0
}

// addrInfo returns the known addresses of p.
func (w *network) addrInfo(p peer.ID) peer.AddrInfo {
	return w.peer.Libp2p().Peerstore().PeerInfo(p)
}

// join redeems a join token.
func (w *network) join(ctx context.Context, token string) error {
	t, err := cluster.ParseToken(token)
	if err != nil {
		return api.Errorf(api.CodeUsage, "%v", err)
	}
	return w.peer.Join(ctx, t)
}
