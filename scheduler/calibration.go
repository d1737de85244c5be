package scheduler

import (
	"time"

	"github.com/ipfs-liftoff/liftoff/job"
)

// Calibration remembers how much longer peers took than they claimed: a moving average
// of actual / claimed, kept within 0.5 and 8. Who lies about what it holds, or how
// fast it is, only hurts itself next time. It belongs to one requester and is told to
// nobody. The zero value is ready.
type Calibration struct {
	peers map[job.DID]*factor
	ticks uint64
}

type factor struct {
	value float64
	used  uint64 // when it was last observed, by count
}

const (
	weight        = 0.3 // of the newest job
	minFactor     = 0.5
	maxFactor     = 8
	maxCalibrated = 4096 // peers; the one not heard of for the longest is forgotten

	// noise is added to both times, so that jobs of a few milliseconds say little.
	noise = 100 * time.Millisecond
)

// Factor is what a claim of peer is multiplied by: 1 for one that is not known, and for
// one that is about right. Honest claims are guesses about queues, and what they miss
// by must not drive jobs away from their data.
func (c *Calibration) Factor(peer job.DID) float64 {
	f, ok := c.peers[peer]
	if !ok || f.value > 1/doubtful && f.value < doubtful {
		return 1
	}
	return f.value
}

// Observe takes one finished job into account.
func (c *Calibration) Observe(peer job.DID, claimed, actual time.Duration) {
	ratio := float64(clamp(actual)+noise) / float64(clamp(claimed)+noise)
	ratio = min(max(ratio, minFactor), maxFactor)
	if c.peers == nil {
		c.peers = map[job.DID]*factor{}
	}
	f, ok := c.peers[peer]
	if !ok {
		if len(c.peers) >= maxCalibrated {
			c.forget()
		}
		f = &factor{value: 1}
		c.peers[peer] = f
	}
	c.ticks++
	f.used = c.ticks
	f.value += weight * (ratio - f.value)
}

func (c *Calibration) forget() {
	var oldest job.DID
	at := c.ticks + 1
	for d, f := range c.peers {
		if f.used < at {
			oldest, at = d, f.used
		}
	}
	delete(c.peers, oldest)
}

// Snapshot returns the factors by peer, to be kept on disk; Restore reads them.
func (c *Calibration) Snapshot() map[job.DID]float64 {
	out := make(map[job.DID]float64, len(c.peers))
	for d, f := range c.peers {
		out[d] = f.value
	}
	return out
}

// Restore replaces all that is known. Values out of range are brought into it.
func (c *Calibration) Restore(factors map[job.DID]float64) {
	*c = Calibration{peers: make(map[job.DID]*factor, len(factors))}
	for d, v := range factors {
		if len(c.peers) == maxCalibrated {
			break
		}
		if v > 0 { // neither zero nor NaN
			c.peers[d] = &factor{value: min(max(v, minFactor), maxFactor)}
		}
	}
}
