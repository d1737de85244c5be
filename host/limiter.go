package host

import (
	"sync"
	"time"
)

// bucket is a token bucket: rate per second, and at most burst at once.
type bucket struct {
	rate, burst float64

	mu   sync.Mutex
	have float64
	last time.Time
}

// take reports whether there was a token, and takes it.
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

// left returns how many tokens there are, less than none after too much was spent.
func (b *bucket) left(now time.Time) float64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fill(now)
	return b.have
}

// spend takes n tokens, be they there or not.
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
