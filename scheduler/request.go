package scheduler

import (
	"time"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/job"
)

// Where values of a Request. Any other value is the did:key of the one peer that the
// job may run on.
const (
	Anywhere  = ""        // the best of this node and its peers
	Local     = "local"   // this node, and nothing is sent
	OnNetwork = "network" // any peer but this node
)

// Request is a job to place.
type Request struct {
	Job   job.Order // need, prefer, runs, nonce and times are taken from it
	CID   cid.Cid   // of the signed Job: it seeds every choice and decides ties
	Self  job.DID   // this node
	Where string    // Anywhere, Local, OnNetwork or a did:key
	Work  Work      // what the job asks of whoever runs it
	Alone bool      // nobody is connected who could hear an Announce
}

// Work is what a job asks of a machine, as far as its requester knows: it goes out
// with the Ask, and both ends price it by the same function.
type Work struct {
	ABI    string // of the Task: job.ABIWASI
	Bytes  uint64 // of the inputs and the module together
	Fuel   uint64 // from earlier runs of this module at this size; zero: unknown
	Module uint64 // bytes of the module alone; zero: unknown
	Output uint64 // bytes that are expected to come back; zero: unknown
}

// Config bounds a Placement. The zero value of each field is its default.
type Config struct {
	Window   time.Duration // how long bids are waited for: 400 ms; at most MaxWindow
	Reply    time.Duration // how long an Award may stay unanswered: 2 s
	Lease    time.Duration // what an Award asks for and a Beat renews: 15 s
	Silence  time.Duration // without a Beat for so long a runner is given up: 6 s
	BidAge   time.Duration // an older bid is not awarded any more: 30 s
	Backoff  time.Duration // before the second round; doubles from then: 500 ms
	Attempts int           // rounds of asking: 5, or 3 of a peer that the Request names; at most job.MaxAttempt
	Asked    int           // peers asked in one round: max(8, 4N); at most MaxAsked

	// Factor tells how much longer a peer's jobs took than it claimed, see
	// Calibration.Factor. It is called from within Step. Nil: 1 for everybody.
	Factor func(job.DID) float64
}

// Bounds that no Config exceeds.
const (
	MaxWindow = 2 * time.Second
	MaxAsked  = 256
	MaxKnown  = 1 << 14 // peers that a Placement takes notice of
)

func (c Config) orDefault(runs int) Config {
	c.Window = min(orDefault(c.Window, 400*time.Millisecond), MaxWindow)
	c.Reply = orDefault(c.Reply, 2*time.Second)
	c.Lease = orDefault(c.Lease, 15*time.Second)
	c.Silence = min(orDefault(c.Silence, 6*time.Second), c.Lease)
	c.BidAge = orDefault(c.BidAge, 30*time.Second)
	c.Backoff = orDefault(c.Backoff, 500*time.Millisecond)
	c.Attempts = min(orDefault(c.Attempts, 5), job.MaxAttempt)
	c.Asked = min(orDefault(c.Asked, max(8, 4*runs)), MaxAsked)
	if c.Factor == nil {
		c.Factor = func(job.DID) float64 { return 1 }
	}
	return c
}

// Candidate is a peer that the requester knows of.
type Candidate struct {
	Peer     job.DID
	Holder   bool          // holds inputs, as adverts, provider records or a HAVE say
	Capacity *job.Capacity // its static record; nil: not known, so it is asked to find out
	Slots    int           // free ones by its last hint; negative: no hint
}
