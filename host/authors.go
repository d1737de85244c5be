package host

import (
	"encoding/binary"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// authors limits the rate of gossip per author, whichever peer forwards it, and rejects replayed messages. Its memory
// is bounded: when it is full, the authors that were silent longest are evicted.
type authors struct {
	mu       sync.Mutex
	new, old map[peer.ID]*author
}

type author struct {
	hints, lookups, announces, answers bucket
	lookupWait                         bucket // seconds that this node may wait for its answers to lookups
	lastAnnounce, lastAnswer           uint64 // gossipsub sequence numbers
}

const maxAuthors = 4096 // per generation

// of returns the state of id. The caller holds the lock.
func (a *authors) of(id peer.ID) *author {
	if r := a.new[id]; r != nil {
		return r
	}
	if len(a.new) >= maxAuthors || a.new == nil {
		a.new, a.old = map[peer.ID]*author{}, a.new
	}
	r := a.old[id]
	if r == nil {
		// An honest author sends at most one hint per 5 s, and announces and answers seldom.
		r = &author{
			hints: bucket{rate: 0.4, burst: 5}, lookups: bucket{rate: 0.1, burst: 3},
			announces: bucket{rate: 2, burst: 10}, answers: bucket{rate: 4, burst: 20},
			lookupWait: bucket{rate: 0.1, burst: 5},
		}
	}
	a.new[id] = r
	return r
}

func (a *authors) hint(id peer.ID, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.of(id).hints.take(now)
}

// allowLookup reports whether a lookup of id is within its rate limit.
func (a *authors) allowLookup(id peer.ID, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.of(id).lookups.take(now)
}

// mayQuery reports whether id may be queried about other peers: whether it has not kept this node waiting for long
// recently.
func (a *authors) mayQuery(id peer.ID, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.of(id).lookupWait.left(now) > 0
}

// chargeWait charges id for the time that it took to answer.
func (a *authors) chargeWait(id peer.ID, d time.Duration, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.of(id).lookupWait.spend(d.Seconds(), now)
}

func (a *authors) announce(id peer.ID, seq []byte, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := a.of(id)
	return later(&r.lastAnnounce, seq) && r.announces.take(now)
}

func (a *authors) answer(id peer.ID, seq []byte, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := a.of(id)
	return later(&r.lastAnswer, seq) && r.answers.take(now)
}

// later reports whether seq comes after last, and stores it in last.
func later(last *uint64, seq []byte) bool {
	if len(seq) != 8 || binary.BigEndian.Uint64(seq) <= *last {
		return false
	}
	*last = binary.BigEndian.Uint64(seq)
	return true
}
