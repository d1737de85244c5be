package scheduler

import (
	"time"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/job"
)

// Values of Request.Where. Any other value is the did:key of the one peer that may run the job.
const (
	Anywhere  = ""        // the best of this node and its peers
	Local     = "local"   // only this node; nothing is sent
	OnNetwork = "network" // any peer, not this node
)

// Request is a job to place.
type Request struct {
	Job   job.Order // need, prefer, runs, nonce and times are used
	CID   cid.Cid   // of the signed order: the seed of every random choice
	Self  job.DID   // this node
	Where string    // Anywhere, Local, OnNetwork or a did:key
	Work  Work      // what the job demands of a provider
	Alone bool      // no connected peer could receive an Announce
}

// Work is what a job demands of a machine, as far as its requester knows. It is sent with the Ask,
// and both ends compute costs from it by the same function.
type Work struct {
	ABI    string // Task.ABI
	Bytes  uint64 // of the inputs and the module together
	Fuel   uint64 // from earlier runs of this module at this size; zero: unknown
	Module uint64 // bytes of the module alone; zero: unknown
	Output uint64 // expected bytes of the result; zero: unknown
}

// Config bounds a Placement. The zero value of each field is its default.
type Config struct {
	Window   time.Duration // how long to wait for bids: 400 ms; at most MaxWindow
	Reply    time.Duration // how long to wait for the answer to an Award: 2 s
	Lease    time.Duration // lease time of an Award, renewed by each Heartbeat: 15 s
	Silence  time.Duration // a provider without a Heartbeat for this long is lost: 6 s
	BidAge   time.Duration // an older bid is not accepted: 30 s
	Backoff  time.Duration // pause before the second round, doubled for each later one: 500 ms
	Attempts int           // rounds of asking: 5, or 3 for a peer that the Request names; at most job.MaxAttempt
	Asked    int           // peers asked in one round: max(8, 4N) for N runs; at most MaxAsked

	// Factor returns how much longer than claimed a peer's jobs took, see Calibration.Factor. It is
	// called from within Step. Nil: 1 for every peer.
	Factor func(job.DID) float64
}

// Bounds that apply to every Config.
const (
	MaxWindow = 2 * time.Second
	MaxAsked  = 256
	MaxKnown  = 1 << 14 // peers that a Placement keeps track of
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

// Candidate is a peer that the requester knows.
type Candidate struct {
	Peer     job.DID
	Holder   bool          // adverts, provider records or a HAVE say that it holds inputs
	Capacity *job.Capacity // its capacity record; nil: unknown, so the peer is asked to find out
	Slots    int           // free slots by its last hint; negative: no hint
}
