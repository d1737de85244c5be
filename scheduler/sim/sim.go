// Package sim runs whole markets on a virtual clock: every requester places its jobs
// with a scheduler.Placement and every provider answers with scheduler.Offer and a
// scheduler.Admission, the very code that a node runs. Peers have latencies, links,
// speeds and caches, they crash, and some of them lie.
//
// The same world can be given to two other ways of placing, to compare with: one that
// knows the true state of every peer without any delay, and one that throws a die.
//
// A run depends on its Config alone.
package sim

import (
	"math/rand/v2"
	"time"
)

// Policy is a way of placing jobs.
type Policy string

// The policies.
const (
	Market Policy = "market" // the scheduler's
	Oracle Policy = "oracle" // the same cost function, of the true state of everybody, at once
	Random Policy = "random" // any peer that is up
)

// Config is one run. The zero value of each field but Peers is its default.
type Config struct {
	Peers    int
	Policy   Policy        // Market
	Seed     uint64        // of everything that is left to chance
	Load     float64       // work that arrives, as a share of what all slots can run: 0.8
	Jobs     int           // that are counted: 10 for each peer
	Warm     int           // that are placed before and not counted: 10 for each peer
	Slots    int           // of a peer: 2
	Liars    float64       // share of peers that claim to hold everything and to be idle: 0.05; negative: none
	Zipf     float64       // skew of what the jobs read: 1; negative: none
	Copies   int           // of each data set, before any job has run: 3
	Lifetime time.Duration // mean time between two crashes of a peer: 15 min; negative: for ever
}

func (c Config) orDefault() Config {
	set(&c.Policy, Market)
	set(&c.Load, 0.8)
	set(&c.Jobs, 10*c.Peers)
	set(&c.Warm, 10*c.Peers)
	set(&c.Slots, 2)
	set(&c.Liars, 0.05)
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

// Result is what a run came to; times are in seconds.
type Result struct {
	Jobs, Failed int
	Mean, P95    float64 // from submission to the result
	Award        float64 // median from submission to the award
	Award95      float64
	Possible     int // jobs at whose submission an honest holder of all inputs had a free slot
	Local        int // of those, the ones that ran at a holder
	LocalAll     int // of all
	Lost         int // awards that were lost to a crash, or to silence
	Declined     int
	Messages     float64 // on streams, for each job
	Heartbeats   float64 // of those, the beats
	PerPeer      float64 // on streams, for each peer and second
	Hints        float64 // hints that each peer hears in a second
	Busy         float64 // share of the slots' time that was in use
	End          time.Duration
}

// Locality is the share of the jobs that ran where their data is, of those that could.
func (r Result) Locality() float64 { return float64(r.Local) / float64(max(r.Possible, 1)) }

// Run plays one market to its end.
func Run(c Config) Result {
	c = c.orDefault()
	chance := func(of uint64) *rand.Rand { return rand.New(rand.NewPCG(c.Seed, of)) }
	w := &world{Config: c, rng: chance(1), fate: chance(2), die: chance(3), clock: newClock()}
	w.populate()
	w.arrive()
	for w.left > 0 && w.clock.next() {
	}
	return w.result()
}
