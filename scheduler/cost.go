package scheduler

import (
	"math"
	"time"

	"github.com/ipfs-liftoff/liftoff/job"
)

// The cost of a job at a peer is the time until its result has arrived:
//
//	T = queue + missing / bandwidth + 2 * rtt * depth of what is missing
//	  + fuel / fuel rate + output / uplink
//	score = (T + fixedCost) * calibration * preference
//
// The provider computes T in Offer, from values that only it knows. The requester computes the
// score, because only it knows how accurate the claims of that peer are. Both use the functions of
// this file; the requester uses them for its own bid too.

// Defaults of a provider that has measured nothing yet, per second.
const (
	DefaultBandwidth = 12 << 20 // bytes: 100 Mbit/s
	DefaultRate      = 500e6    // fuel
)

const (
	// fixedCost is the fixed cost of any job anywhere: a round trip, an instance. It keeps calibration
	// effective for a peer that claims to need no time at all.
	fixedCost = 20 * time.Millisecond

	// tie is the ratio up to which two scores count as equal.
	tie = 1.05

	// preferred is the factor for meeting every preferred label: it takes a fifth off the score.
	preferred = 0.8

	// maxTrustedFactor is the calibration factor from which the bid of a peer alone does not end the
	// asking.
	maxTrustedFactor = 2

	// maxTime is the maximum of every time in a bid. A day means never, and sums do not overflow.
	maxTime = 24 * time.Hour
)

// Load is how busy a provider is, see Admission.Load.
type Load struct {
	Free   int           // free slots
	Memory uint64        // unreserved bytes
	Queue  time.Duration // until one more job would start
	Full   bool          // one more job would not even be queued
}

// Locality is what a provider holds of a job's inputs, and the cost to fetch the rest.
type Locality struct {
	Have, Missing uint64        // bytes below the paths of the inputs
	Exact         bool          // false: Have is a lower bound
	Depth         int           // levels of the DAG that have to be fetched one after the other
	RTT           time.Duration // to the peer that has the rest
}

// cost returns T in its three parts.
func cost(w Work, s State, l Locality) (queue, fetch, run time.Duration) {
	fetch = seconds(l.Missing, orDefault(s.Bandwidth, DefaultBandwidth))
	if l.Missing > 0 {
		fetch += 2 * min(l.RTT, time.Minute) * time.Duration(min(max(l.Depth, 1), 64))
	}
	run = seconds(w.Fuel, orDefault(s.Capacity.Rate, DefaultRate)) + seconds(w.Output, orDefault(s.Uplink, DefaultBandwidth))
	return clamp(s.Load.Queue), clamp(fetch), clamp(run)
}

// claimed returns the T of a bid.
func claimed(b job.Bid) time.Duration {
	return clamp(millis(b.Queue) + millis(b.Fetch) + millis(b.Run))
}

// score orders bids: the lowest is the best. met is the share of preferred labels that the peer
// has, 0 to 1.
func score(b job.Bid, factor, met float64) float64 {
	return (claimed(b) + fixedCost).Seconds() * factor * (1 - (1-preferred)*met)
}

func seconds(n, perSecond uint64) time.Duration {
	s := float64(n) / float64(perSecond)
	if s > maxTime.Seconds() {
		return maxTime
	}
	return time.Duration(s * float64(time.Second))
}

// millis converts a time of a bid, which may be any number, and clamps it.
func millis(ms int64) time.Duration {
	return time.Duration(min(max(ms, 0), maxTime.Milliseconds())) * time.Millisecond
}

// toMillis rounds up: a bid never claims to be faster than it is.
func toMillis(d time.Duration) int64 {
	return int64(math.Ceil(float64(d) / float64(time.Millisecond)))
}

func clamp(d time.Duration) time.Duration { return min(max(d, 0), maxTime) }

func orDefault[T ~int | ~int64 | ~uint64 | ~float64](v, def T) T {
	if v == 0 {
		return def
	}
	return v
}
