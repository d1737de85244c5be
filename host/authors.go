package host

import (
	"encoding/binary"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// authors bounds what is taken of each author of gossip, whoever passes it on, and keeps
// out what was heard before. Its memory is bounded: of many authors those are forgotten
// that were silent longest.
type authors struct {
	mu       sync.Mutex
	new, old map[peer.ID]*author
}

type author struct {
	hints, questions, announces, answers bucket
	patience                             bucket // seconds of waiting for what it knows of others
	lastAnnounce, lastAnswer             uint64 // sequence numbers of gossipsub
}

const maxAuthors = 4096 // of each generation

// of returns the row of id. The caller holds the lock.
func (a *authors) of(id peer.ID) *author {
	if r := a.new[id]; r != nil {
		return r
	}
	if len(a.new) >= maxAuthors || a.new == nil {
		a.new, a.old = map[peer.ID]*author{}, a.new
	}
	r := a.old[id]
	if r == nil {
		// An honest author sends a hint per 5 s at most, and asks and answers seldom.
		r = &author{
			hints: bucket{rate: 0.4, burst: 5}, questions: bucket{rate: 0.1, burst: 3},
			announces: bucket{rate: 2, burst: 10}, answers: bucket{rate: 4, burst: 20},
			patience: bucket{rate: 0.1, burst: 5},
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

// question reports whether it is time to ask somebody about id.
func (a *authors) question(id peer.ID, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.of(id).questions.take(now)
}

// patient reports whether id may be asked about others: whether it has not kept this peer
// waiting for long, lately.
func (a *authors) patient(id peer.ID, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.of(id).patience.left(now) > 0
}

// waited notes how long id took to answer.
func (a *authors) waited(id peer.ID, d time.Duration, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.of(id).patience.spend(d.Seconds(), now)
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

// later reports whether seq comes after last, and makes it the last.
func later(last *uint64, seq []byte) bool {
	if len(seq) != 8 || binary.BigEndian.Uint64(seq) <= *last {
		return false
	}
	*last = binary.BigEndian.Uint64(seq)
	return true
}
