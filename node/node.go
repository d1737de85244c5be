package node

import (
	"cmp"
	"context"
	"log/slog"
	"path/filepath"
	goruntime "runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"

	"github.com/ipfs-liftoff/liftoff/host/cluster"
	"github.com/ipfs-liftoff/liftoff/host/exchange"
	"github.com/ipfs-liftoff/liftoff/host/store"
	"github.com/ipfs-liftoff/liftoff/node/api"
	"github.com/ipfs-liftoff/liftoff/runtime"
)

// Config configures how a repo is opened or joined. The zero value of a field is its default.
type Config struct {
	Dir       string                // the repo folder; created if it does not exist
	Wait      time.Duration         // how long Join retries; 0: 10 seconds
	NoSocket  bool                  // do not serve other processes: they wait until this one has closed the repo
	Verify    bool                  // hash every block on each read
	Quota     int64                 // most bytes of blocks on disk; 0: limited by free space only
	Log       *slog.Logger          // nil: no logging
	Clock     func() time.Time      // nil: time.Now in UTC, as the answers of the API
	Version   string                // liftoff version, recorded in receipts
	Compiler  []string              // command line of the child process that compiles untrusted modules; see wasm.Config
	Grace     time.Duration         // time that running jobs get to finish when Serve ends; 0: 10 seconds
	Scrub     time.Duration         // period in which Serve reads and hashes all blocks once, repeatedly; 0: never
	Network   *NetworkConfig        // makes the node a peer while it serves; nil: no network
	Metrics   prometheus.Registerer // registry for the node's metrics; nil: no metrics
	Ready     func()                // called once Serve accepts jobs; nil: not called
	Plugins   []string              // absolute folders searched for plugins after the repo's own
	Executors runtime.Executors     // nil: runtime/wasm and plugins, created at the first run. The caller closes executors that it passes
}

// Node is a repo that this process owns, with everything needed to run jobs over it. It implements the
// interfaces of package api itself; [Node.Begin] creates further views.
type Node struct {
	*View // the node's own view

	store       *store.Store
	log         *slog.Logger
	clock       func() time.Time
	history     *history
	self        self
	version     string   // liftoff version
	compiler    []string // see Config
	grace       time.Duration
	scrubPeriod time.Duration // of one scrub pass; 0: no scrubbing
	coverage    *coverage
	fuel        fuelEstimates
	ready       func()
	metrics     *metrics                // nil: no metrics
	network     *NetworkConfig          // nil: Serve opens no network
	net         atomic.Pointer[network] // nil: not a peer now
	ephemeral   ephemeral               // the peer of a process that does not serve

	full      atomic.Bool             // the full disk was logged
	isServing atomic.Bool             // Serve is running
	serving   atomic.Pointer[service] // nil: submitted jobs are not accepted

	lazy struct {
		sync.Mutex
		cluster   *cluster.Cluster    // nil: not read yet
		published *exchange.Published // nil: not read yet
	}

	pluginDirs []string

	mu             sync.Mutex
	slots          *semaphore.Weighted // nil: not created yet. Slots for runs that execute, in FIFO order
	executors      runtime.Executors   // nil: not created yet
	closeExecutors func() error        // nil: not created, or owned by the caller
	runs           int                 // running now
	closed         bool
}

var (
	_ api.Data        = (*Node)(nil)
	_ api.Pins        = (*Node)(nil)
	_ api.Maintenance = (*Node)(nil)
	_ api.Jobs        = (*Node)(nil)
	_ api.Receipts    = (*Node)(nil)
	_ api.Cache       = (*Node)(nil)
	_ api.Trust       = (*Node)(nil)
	_ api.Identity    = (*Node)(nil)
	_ api.Storage     = (*Node)(nil)
	_ api.Plugins     = (*Node)(nil)
)

// Open opens the repo for this process alone. The error wraps store.ErrLocked when another process has it open:
// see [Join].
func Open(cfg Config) (*Node, error) {
	s, err := store.Open(cfg.Dir, store.Config{Verify: cfg.Verify, Clock: cfg.Clock, Quota: cfg.Quota})
	if err != nil {
		return nil, err
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Clock == nil {
		cfg.Clock = func() time.Time { return time.Now().UTC() }
	}
	n := &Node{
		store: s, log: cfg.Log, clock: cfg.Clock,
		version: cfg.Version, compiler: cfg.Compiler, self: self{store: s},
		history:    newHistory(s, cfg.Clock, cfg.Log),
		pluginDirs: append([]string{filepath.Join(s.Dir(), "plugins")}, cfg.Plugins...),
		executors:  cfg.Executors, grace: cmp.Or(cfg.Grace, defaultGrace), scrubPeriod: cfg.Scrub,
		coverage: newCoverage(s, cfg.Clock), network: cfg.Network, ready: cfg.Ready,
	}
	if n.metrics, err = newMetrics(cfg.Metrics, n); err != nil {
		s.Close()
		return nil, err
	}
	n.View = n.Begin()
	return n, nil
}

// Begin returns a view of the node. Garbage collection keeps the blocks of the view until it is closed.
func (n *Node) Begin() *View { return &View{node: n, session: n.store.Begin()} }

// Close closes the repo. Runs should have ended: a run that cannot be interrupted continues without a store
// until the process ends.
func (n *Node) Close() error {
	n.closeEphemeral()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil
	}
	n.closed = true
	n.View.Close()
	var err error
	if n.closeExecutors != nil && n.runs == 0 { // a running guest still needs its code
		err = n.closeExecutors()
	}
	if e := n.store.Close(); err == nil {
		err = e
	}
	return err
}

// startRun counts a run and returns the executors. The caller calls endRun when the run has ended.
func (n *Node) startRun(ctx context.Context) (runtime.Executors, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil, store.ErrClosed
	}
	if n.executors == nil {
		var err error
		if n.executors, n.closeExecutors, err = n.makeExecutors(ctx); err != nil {
			return nil, err
		}
	}
	if n.slots == nil {
		n.slots = semaphore.NewWeighted(int64(goruntime.GOMAXPROCS(0)))
	}
	n.runs++
	return n.executors, nil
}

func (n *Node) endRun() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.runs--
}
