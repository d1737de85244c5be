// Package gate is a concurrency limiter for peers: it limits the total and the number per peer of streams or of
// blocks being read. A share is reserved for members, since a non-member may use many peer ids. Wait blocks
// until all have ended.
package gate

import (
	"sync"

	"github.com/libp2p/go-libp2p/core/peer"
)

// Config is the limits of a Gate.
type Config struct {
	Total   int
	PerPeer int
	// NonMember reports whether a peer is refused when three quarters of Total are in use. nil: no peer is.
	NonMember func(peer.ID) bool
}

// Gate counts the open streams (or other units) of each peer. Its methods may be called concurrently.
type Gate struct {
	cfg Config

	mu      sync.Mutex
	open    map[peer.ID]int
	streams int
	closed  bool
	inside  sync.WaitGroup
}

// New returns a Gate without open streams.
func New(cfg Config) *Gate { return &Gate{cfg: cfg, open: map[peer.ID]int{}} }

// Enter reports whether p may open a stream, and counts it. The caller must call Leave when it ends.
func (g *Gate) Enter(p peer.ID) bool {
	total := g.cfg.Total
	if g.cfg.NonMember != nil && g.cfg.NonMember(p) {
		total = max(total*3/4, 1)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed || g.streams >= total || g.open[p] >= g.cfg.PerPeer {
		return false
	}
	g.streams++
	g.open[p]++
	g.inside.Add(1)
	return true
}

// Leave ends a stream of p.
func (g *Gate) Leave(p peer.ID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.streams--
	if g.open[p]--; g.open[p] == 0 {
		delete(g.open, p)
	}
	g.inside.Done()
}

// Go runs f in a goroutine, for an open stream. Wait waits for it, too.
func (g *Gate) Go(f func()) { g.inside.Go(f) }

// Open returns the number of open streams.
func (g *Gate) Open() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.streams
}

// OpenOf returns the number of open streams of p.
func (g *Gate) OpenOf(p peer.ID) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.open[p]
}

// Close makes Enter refuse all further streams.
func (g *Gate) Close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
}

// Wait blocks until no stream is open. The Gate must be closed.
func (g *Gate) Wait() { g.inside.Wait() }
