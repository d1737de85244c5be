package host

import (
	"sync"
	"time"
)

// bucket is a token bucket: rate tokens per second, at most burst tokens.
type bucket struct {
	rate, burst float64

	mu   sync.Mutex
	have float64
	last time.Time
}

// take takes a token, and reports whether there was one.
func (b *bucket) take(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fill(now)
	if b.have < 1 {
		return false
	}
	b.have--
	return true
}

// left returns the number of tokens, which is negative after too much was spent.
func (b *bucket) left(now time.Time) float64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fill(now)
	return b.have
}

// spend takes n tokens, whether they are there or not.
func (b *bucket) spend(n float64, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fill(now)
	b.have -= n
}

func (b *bucket) fill(now time.Time) {
	if b.last.IsZero() {
		b.have = b.burst
	} else if d := now.Sub(b.last).Seconds(); d > 0 {
		b.have = min(b.burst, b.have+d*b.rate)
	}
	b.last = now
}
