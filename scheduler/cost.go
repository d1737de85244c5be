package scheduler

import (
	"math"
	"time"

	"github.com/ipfs-liftoff/liftoff/job"
)

// The cost of a job at a peer is the time until its result is back:
//
//	T = queue + missing / bandwidth + 2 * rtt * depth of what is missing
//	  + fuel / fuel rate + output / uplink
//	score = (T + grain) * calibration * preference
//
// The provider computes T, by Offer, from what it alone knows; the requester computes
// the score, because only it knows how far to believe that peer. Both use the
// functions of this file, the requester for itself too.

// What a provider that has measured nothing yet assumes, per second.
const (
	DefaultBandwidth = 12 << 20 // bytes: 100 Mbit/s
	DefaultRate      = 500e6    // fuel
)

const (
	// grain is what any job costs anywhere: a round trip, an instance. It keeps
	// calibration at work for a peer that claims to need no time at all.
	grain = 20 * time.Millisecond

	// tie is how much two scores may differ and still be called equal.
	tie = 1.05

	// preferred is what meeting every preferred label is worth: a fifth of the time.
	preferred = 0.8

	// doubtful is the calibration of a peer whose word alone ends no asking.
	doubtful = 2

	// maxTime bounds every time of a bid: a day is never, and sums do not overflow.
	maxTime = 24 * time.Hour
)

// Load is how busy a provider is, see Admission.Load.
type Load struct {
	Free   int           // slots
	Memory uint64        // bytes that are not reserved
	Queue  time.Duration // until one more job would start
	Full   bool          // one more would not even be queued
}

// Locality is what a provider holds of a job's inputs, and how it would get the rest.
type Locality struct {
	Have, Missing uint64        // bytes below the inputs' paths
	Exact         bool          // else Have is a lower bound
	Depth         int           // levels of the DAG that have to be fetched one after the other
	RTT           time.Duration // to who has the rest
}

// cost is T in its three parts.
func cost(w Work, s State, l Locality) (queue, fetch, run time.Duration) {
	fetch = seconds(l.Missing, orDefault(s.Bandwidth, DefaultBandwidth))
	if l.Missing > 0 {
		fetch += 2 * min(l.RTT, time.Minute) * time.Duration(min(max(l.Depth, 1), 64))
	}
	run = seconds(w.Fuel, orDefault(s.Capacity.Rate, DefaultRate)) + seconds(w.Output, orDefault(s.Uplink, DefaultBandwidth))
	return clamp(s.Load.Queue), clamp(fetch), clamp(run)
}

// claimed is the T that b says.
func claimed(b job.Bid) time.Duration {
	return clamp(millis(b.Queue) + millis(b.Fetch) + millis(b.Run))
}

// score orders bids: the smallest is the best. met is the share of preferred labels
// that the peer has, 0 to 1.
func score(b job.Bid, factor, met float64) float64 {
	return (claimed(b) + grain).Seconds() * factor * (1 - (1-preferred)*met)
}

func seconds(n, perSecond uint64) time.Duration {
	s := float64(n) / float64(perSecond)
	if s > maxTime.Seconds() {
		return maxTime
	}
	return time.Duration(s * float64(time.Second))
}

// millis reads a time of a bid, which a peer may have made up.
func millis(ms int64) time.Duration {
	return time.Duration(min(max(ms, 0), maxTime.Milliseconds())) * time.Millisecond
}

// toMillis rounds up: a bid never claims to be quicker than it is.
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
