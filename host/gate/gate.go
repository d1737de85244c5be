// Package gate bounds how many streams other peers have open at once with one of this
// peer's protocols, all together and each of them, and waits for them at the end.
package gate

import (
	"sync"

	"github.com/libp2p/go-libp2p/core/peer"
)

// Gate counts streams in and out. Its methods may be called from several goroutines.
type Gate struct {
	total, perPeer int // the most that are open

	mu      sync.Mutex
	open    map[peer.ID]int
	streams int
	closed  bool
	inside  sync.WaitGroup
}

// New returns a Gate that lets in total streams, perPeer of one peer.
func New(total, perPeer int) *Gate {
	return &Gate{total: total, perPeer: perPeer, open: map[peer.ID]int{}}
}

// Enter counts a stream of p in, if there is room for it. Then Leave must follow.
func (g *Gate) Enter(p peer.ID) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed || g.streams >= g.total || g.open[p] >= g.perPeer {
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
