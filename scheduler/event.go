package scheduler

import (
	"time"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/job"
)

// Event is what happened to a Placement: one of the types below. An event of a peer
// that is not waited for is ignored, so a late or a repeated one does no harm.
type Event interface{ event() }

type (
	// Start begins it. Self is this node's own price by Offer; one with a Refusal
	// means that it cannot run here.
	Start struct {
		Self     job.Bid
		Capacity *job.Capacity // this node's own, for preferred labels; may be nil
		Peers    []Candidate
		Left     []Left // by an earlier Placement of this job: it is taken up
	}

	// Candidates brings peers that were not known, or not known to hold anything, at
	// Start: answers to an Announce, or late results of looking for holders.
	Candidates struct{ Peers []Candidate }

	// Bid is a peer's answer to an Ask: its price, or its refusal. Peer is who answered
	// on the stream, whatever the bid says.
	Bid struct {
		Peer job.DID
		Bid  job.Bid
		RTT  time.Duration
	}

	// AskFailed means that a peer could not be asked, or ended the stream without a bid.
	AskFailed struct {
		Peer job.DID
		Why  string // a clause: "dial: connection refused"

		Denied bool // this node itself does not let the peer have jobs: it is not asked again
	}

	// Accepted reserves: the peer starts in about Start, or sooner.
	Accepted struct {
		Peer  job.DID
		Lease Lease
		Start time.Duration
	}

	// Declined ends an Award without a reservation. A peer that only got busier since
	// its bid says its new queue, and stays in the ranking at that price.
	Declined struct {
		Peer  job.DID
		Lease Lease
		Why   string
		Queue time.Duration // zero: it does not want the job
	}

	// Beat is a sign of life of a runner; it renews the lease.
	Heartbeat struct {
		Peer  job.DID
		Lease Lease
		Phase string // PhaseQueue or another
	}

	// Done is a checked Outcome: its blocks and the Receipt are held here. Ok, exit,
	// trap, out of fuel and quota are all final. Peer is Self for a RunHere.
	Done struct {
		Peer    job.DID
		Lease   Lease
		Outcome cid.Cid
		Receipt cid.Cid
		Fuel    uint64        // of the Outcome: what the run cost, the same everywhere
		Moved   time.Duration // how long the result's blocks took to come: no claim covers it

		Replayed bool // the peer answered from a run before: how fast it was says nothing
	}

	// Lost means that a runner's stream broke, or that an Attach failed. The peer is
	// tried again by Attach until Config.Silence has passed, unless Gone.
	Lost struct {
		Peer  job.DID
		Lease Lease
		Why   string
		Lied  bool   // with Gone: what it printed is not what its Outcome says; it costs credit
		Gone  bool   // it is over there: failed by the machine, handed back, lease unknown, or a lie was caught
		Final string // not empty: no other peer would do better (CodeTimeout); the job fails with this code
	}

	// Tick says that a time asked for by Wake has come; one more does no harm.
	Tick struct{}

	// Cancel ends the Placement: every runner is closed.
	Cancel struct{ Why string }
)

// PhaseQueue is the phase of a Beat of a runner that has no slot yet. The other phases,
// "fetch", "compile", "run" and "pack", are for people.
const PhaseQueue = "queue"

func (Start) event()      {}
func (Candidates) event() {}
func (Bid) event()        {}
func (AskFailed) event()  {}
func (Accepted) event()   {}
func (Declined) event()   {}
func (Heartbeat) event()  {}
func (Done) event()       {}
func (Lost) event()       {}
func (Tick) event()       {}
func (Cancel) event()     {}
