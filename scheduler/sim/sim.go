// Package sim simulates whole markets on a virtual clock. Every requester places its jobs with a
// scheduler.Placement and every provider answers with scheduler.Offer and a scheduler.Admission:
// the code that a node runs. Peers have latencies, links, speeds and caches; they crash, and some
// of them make false claims.
//
// The same network can be simulated with two other placement policies for comparison: one that
// knows the true state of every peer without delay, and one that is random.
//
// A run depends only on its Config.
package sim

import (
	"math/rand/v2"
	"time"
)

// Policy is a placement policy.
type Policy string

// The policies.
const (
	Market Policy = "market" // the scheduler's
	Oracle Policy = "oracle" // the same cost function, with the true state of every peer, without delay
	Random Policy = "random" // any peer that is up
)

// Config is one run. The zero value of each field but Peers is its default.
type Config struct {
	Peers     int
	Policy    Policy        // default: Market
	Seed      uint64        // of all random choices
	Load      float64       // arriving work as a share of what all slots can run: 0.8
	Jobs      int           // counted jobs: 10 for each peer
	Warm      int           // earlier jobs that are not counted: 10 for each peer
	Slots     int           // slots of a peer: 2
	Dishonest float64       // share of peers that claim to hold everything and to be idle: 0.05; negative: none
	Zipf      float64       // skew of the popularity of data sets: 1; negative: none
	Copies    int           // copies of each data set before any job has run: 3
	Lifetime  time.Duration // mean time between two crashes of a peer: 15 min; negative: for ever
}

func (c Config) orDefault() Config {
	set(&c.Policy, Market)
	set(&c.Load, 0.8)
	set(&c.Jobs, 10*c.Peers)
	set(&c.Warm, 10*c.Peers)
	set(&c.Slots, 2)
	set(&c.Dishonest, 0.05)
	set(&c.Zipf, 1)
	set(&c.Copies, 3)
	set(&c.Lifetime, 15*time.Minute)
	return c
}

func set[T comparable](p *T, def T) {
	var zero T
	if *p == zero {
		*p = def
	}
}

// Result is the result of a simulation. Times are in seconds.
type Result struct {
	Jobs, Failed int
	Mean, P95    float64 // time from submission to the result
	Award        float64 // median time from submission to the award
	Award95      float64
	Possible     int // jobs for which an honest holder of all inputs had a free slot at submission
	Local        int // of Possible, the jobs that ran on a holder
	LocalAll     int // of all jobs, the jobs that ran on a holder
	Lost         int // awards that were lost to a crash or to silence
	Declined     int
	Messages     float64 // messages on streams per job
	Heartbeats   float64 // of Messages, the heartbeats
	PerPeer      float64 // messages on streams per peer and second
	Hints        float64 // hints that each peer receives per second
	Busy         float64 // share of the slots' time in use
	End          time.Duration
}

// Locality returns the share of the Possible jobs that ran where their data is.
func (r Result) Locality() float64 { return float64(r.Local) / float64(max(r.Possible, 1)) }

// Run simulates one market to its end.
func Run(c Config) Result {
	c = c.orDefault()
	chance := func(of uint64) *rand.Rand { return rand.New(rand.NewPCG(c.Seed, of)) }
	net := &network{Config: c, rng: chance(1), crashRand: chance(2), policyRand: chance(3), clock: newClock()}
	net.populate()
	net.arrive()
	for net.left > 0 && net.clock.next() {
	}
	return net.result()
}
