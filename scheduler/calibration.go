package scheduler

import (
	"time"

	"github.com/ipfs-liftoff/liftoff/job"
)

// Calibration tracks how much longer peers took than they claimed: a moving average of actual /
// claimed, kept between 0.5 and 8. A peer that makes false claims about the data that it holds, or
// about its speed, only hurts its own later bids. A Calibration belongs to one requester and is
// never shared. The zero value is ready to use.
type Calibration struct {
	peers map[job.DID]*factor
	ticks uint64
}

type factor struct {
	value float64
	used  uint64 // value of ticks at the last observation
}

const (
	weight        = 0.3 // of the newest job
	minFactor     = 0.5
	maxFactor     = 8
	maxCalibrated = 4096 // peers; the one observed least recently is dropped

	// noise is added to both times, so that jobs of a few milliseconds say little.
	noise = 100 * time.Millisecond
)

// Factor returns the factor for the claims of peer: 1 for an unknown peer, and for one whose claims
// are about right. Honest claims are estimates of queue times, and their errors must not drive jobs
// away from their data.
func (c *Calibration) Factor(peer job.DID) float64 {
	f, ok := c.peers[peer]
	if !ok || f.value > 1/maxTrustedFactor && f.value < maxTrustedFactor {
		return 1
	}
	return f.value
}

// Observe records one finished job.
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

// Snapshot returns the factors by peer, for storage on disk. Restore reads them.
func (c *Calibration) Snapshot() map[job.DID]float64 {
	out := make(map[job.DID]float64, len(c.peers))
	for d, f := range c.peers {
		out[d] = f.value
	}
	return out
}

// Restore replaces the whole state. It clamps values that are out of range.
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
