// Package gate bounds how much of something other peers take at once, all together and
// each of them: streams of one of this peer's protocols, blocks that are read for them.
// Some of it is kept for those that are no guests, since a guest may have many names. At
// the end it waits for all.
package gate

import (
	"sync"

	"github.com/libp2p/go-libp2p/core/peer"
)

// Config says how many a Gate lets in.
type Config struct {
	Total   int
	PerPeer int
	// Guest says who is left out when three quarters of Total are inside. nil: nobody.
	Unknown func(peer.ID) bool
}

// Gate counts streams, or what else it is made for, in and out. Its methods may be called
// from several goroutines.
type Gate struct {
	cfg Config

	mu      sync.Mutex
	open    map[peer.ID]int
	streams int
	closed  bool
	inside  sync.WaitGroup
}

// New returns a Gate with nobody inside.
func New(cfg Config) *Gate { return &Gate{cfg: cfg, open: map[peer.ID]int{}} }

// Enter counts a stream of p in, if there is room for it. Then Leave must follow.
func (g *Gate) Enter(p peer.ID) bool {
	total := g.cfg.Total
	if g.cfg.Unknown != nil && g.cfg.Unknown(p) {
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

// Leave counts a stream of p out.
func (g *Gate) Leave(p peer.ID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.streams--
	if g.open[p]--; g.open[p] == 0 {
		delete(g.open, p)
	}
	g.inside.Done()
}

// Go runs f for a stream that is inside: Wait waits for it, too.
func (g *Gate) Go(f func()) { g.inside.Go(f) }

// Open returns how many streams are inside.
func (g *Gate) Open() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.streams
}

// OpenOf returns how many streams of p are inside.
func (g *Gate) OpenOf(p peer.ID) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.open[p]
}

// Close lets nobody in any more.
func (g *Gate) Close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
}

// Wait returns when nobody is inside. The Gate is closed before.
func (g *Gate) Wait() { g.inside.Wait() }
