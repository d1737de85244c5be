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

// Config says how to open or join a repo. Its zero fields are the defaults.
type Config struct {
	Dir       string                // the repo; made if it is not there
	Wait      time.Duration         // how long Join tries; 10 seconds
	Verify    bool                  // hash every block that is read
	Quota     int64                 // bytes that blocks may take on the disk; 0: as many as there is room for
	Log       *slog.Logger          // nil: nothing is logged
	Clock     func() time.Time      // nil: the time in UTC, as answers of the API have it
	Version   string                // of liftoff, for receipts
	Compiler  []string              // the command line of a child that compiles strangers' modules; see wasm.Config
	Grace     time.Duration         // how long jobs may run on when Serve shall end; 10 seconds
	Scrub     time.Duration         // in which Serve reads and hashes all blocks once more, again and again; 0: never
	Network   *NetworkConfig        // makes it a peer while it serves; nil: it is none
	Metrics   prometheus.Registerer // of what the node counts; nil: nothing is counted
	Ready     func()                // called once Serve takes jobs; nil: nobody waits for it
	Plugins   []string              // absolute folders in which plugins are looked for, behind the repo's own
	Executors runtime.Executors     // nil: runtime/wasm and plugins, made at the first run. The caller closes its own
}

// Node is a repo that this process owns, with the means to run jobs over it. It meets
// the interfaces of package api itself; [Node.Begin] makes further views.
type Node struct {
	*View // the node's own

	store    *store.Store
	log      *slog.Logger
	clock    func() time.Time
	history  *history
	self     self
	version  string   // of liftoff
	compiler []string // see Config
	grace    time.Duration
	period   time.Duration // of a scrub; 0: none
	coverage *coverage
	fuel     fuelBook
	ready    func()
	metrics  *metrics                // nil: nothing is counted
	network  *NetworkConfig          // nil: Serve makes it no peer
	net      atomic.Pointer[network] // nil: it is none now
	visits   visits                  // of a process that does not stay

	full    atomic.Bool             // the log says that the disk is full
	stays   atomic.Bool             // Serve is under way
	serving atomic.Pointer[service] // nil: it takes no jobs that outlive their clients

	lazy struct {
		sync.Mutex
		cluster   *cluster.Cluster    // nil: not read yet
		published *exchange.Published // the same
	}

	pluginDirs []string

	mu             sync.Mutex
	places         *semaphore.Weighted // nil: not made yet. For runs that execute; first come, first served
	executors      runtime.Executors   // nil: not made yet
	closeExecutors func() error        // nil: not made, or not ours
	runs           int                 // under way
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

// Open opens the repo for this process alone. The error wraps store.ErrLocked when
// another process has it: see [Join].
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
		executors:  cfg.Executors, grace: cmp.Or(cfg.Grace, defaultGrace), period: cfg.Scrub,
		coverage: newCoverage(s, cfg.Clock), network: cfg.Network, ready: cfg.Ready,
	}
	if n.metrics, err = newMetrics(cfg.Metrics, n); err != nil {
		s.Close()
		return nil, err
	}
	n.View = n.Begin()
	return n, nil
}

// Begin returns a view of the node whose blocks are safe from collection until it is
// closed.
func (n *Node) Begin() *View { return &View{node: n, session: n.store.Begin()} }

// Close gives up the repo. Runs should have ended: one that nothing can interrupt goes
// on without a store until the process ends.
func (n *Node) Close() error {
	n.endVisits()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil
	}
	n.closed = true
	n.View.Close()
	var err error
	if n.closeExecutors != nil && n.runs == 0 { // under a run its code must stay
		err = n.closeExecutors()
	}
	if e := n.store.Close(); err == nil {
		err = e
	}
	return err
}

// startRun counts a run and returns the executors; endRun is its other half.
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
	if n.places == nil {
		n.places = semaphore.NewWeighted(int64(goruntime.GOMAXPROCS(0)))
	}
	n.runs++
	return n.executors, nil
}

func (n *Node) endRun() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.runs--
}
