package scheduler

import (
	"time"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/job"
)

// Event is an input of a Placement: one of the types below. An event about a peer that the
// Placement is not waiting for is ignored, so a late or repeated one does no harm.
type Event interface{ event() }

type (
	// Start starts the Placement. Self is this node's own bid by Offer; a refusal means that the
	// job cannot run on this node.
	Start struct {
		Self     job.Bid
		Capacity *job.Capacity // this node's own, for preferred labels; may be nil
		Peers    []Candidate
		Prior    []PriorRun // runs of an earlier Placement of this job, to continue
	}

	// Candidates adds peers that were not known at Start, or not known to hold inputs: answers to
	// an Announce, or late results of the search for holders.
	Candidates struct{ Peers []Candidate }

	// Bid is the answer of a peer to an Ask: its bid or its refusal. Peer is the peer at the other
	// end of the stream, whatever the message says.
	Bid struct {
		Peer job.DID
		Bid  job.Bid
		RTT  time.Duration
	}

	// AskFailed means that a peer could not be asked, or ended the stream without a bid.
	AskFailed struct {
		Peer job.DID
		Why  string // a clause: "dial: connection refused"

		Denied bool // this node does not send jobs to the peer: it is not asked again
	}

	// Accepted means that the peer has reserved a slot or a place in its queue. The job starts in
	// about Start, or sooner.
	Accepted struct {
		Peer  job.DID
		Lease Lease
		Start time.Duration
	}

	// Declined ends an Award without a reservation. A peer whose queue has only grown since its bid
	// sends the new queue time, and stays in the ranking with it.
	Declined struct {
		Peer  job.DID
		Lease Lease
		Why   string
		Queue time.Duration // zero: the peer does not want the job
	}

	// Heartbeat means that a provider is alive. It renews the lease.
	Heartbeat struct {
		Peer  job.DID
		Lease Lease
		Phase string // PhaseQueue or another
	}

	// Done is a checked Outcome whose blocks and Receipt are in this repo. The states ok, exit,
	// trap, out of fuel and quota are all final. Peer is Self for a RunHere.
	Done struct {
		Peer    job.DID
		Lease   Lease
		Outcome cid.Cid
		Receipt cid.Cid
		Fuel    uint64        // fuel of the Outcome, the same on every machine
		Moved   time.Duration // time to transfer the blocks of the result, which no bid covers

		Replayed bool // the peer answered from its result cache: the time says nothing about its speed
	}

	// Lost means that the stream of a provider broke, or that an Attach failed. Attach is tried
	// again until Config.Silence has passed, unless Gone.
	Lost struct {
		Peer        job.DID
		Lease       Lease
		Why         string
		FalseOutput bool   // with Gone: the peer printed something else than its Outcome says, which raises its calibration factor
		Gone        bool   // the run has ended there: machine fault, handed back, unknown lease, or false output
		Final       string // not empty: no other peer could do better (CodeTimeout); the job fails with this code
	}

	// Tick means that the time of a Wake has come. Extra Ticks do no harm.
	Tick struct{}

	// Cancel ends the Placement and closes every run.
	Cancel struct{ Why string }
)

// PhaseQueue is the phase in a Heartbeat of a provider whose run has no slot yet. The other phases,
// "fetch", "compile", "run" and "pack", are for display only.
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
