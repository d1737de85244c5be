package scheduler

import (
	"encoding/hex"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/job"
)

// Lease names one award. It is derived from the job, so that a replayed placement has
// the same ones; it is a name and no secret.
type Lease [16]byte

func (l Lease) String() string { return hex.EncodeToString(l[:]) }

// MarshalText writes l as hex.
func (l Lease) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (l *Lease) UnmarshalText(b []byte) error {
	if len(b) != hex.EncodedLen(len(l)) {
		return hex.ErrLength
	}
	_, err := hex.Decode(l[:], b)
	return err
}

// Action is what the owner of a Placement does next: one of the types below, in the
// order in which Step returned them. After Finish or Fail there is none.
type Action interface{ action() }

type (
	// Ask opens a stream to each peer, sends the Ask, and feeds back a Bid or an
	// AskFailed for each.
	Ask struct {
		Peers   []job.DID
		Attempt int           // of the Job that is sent, from 0
		Window  time.Duration // later answers are of no use
	}

	// Announce tells the network that a peer is looked for; whoever answers is fed
	// back in Candidates.
	Announce struct {
		Window  time.Duration
		Exclude []job.DID
	}

	// Award gives the job to a peer, on the stream that it bid on. Fed back: Accepted
	// or Declined, or Lost.
	Award struct {
		Peer     job.DID
		Attempt  int
		Lease    Lease
		LeaseFor time.Duration
		Queue    time.Duration // what it bid: it declines when it has become much busier
		Sources  []job.DID     // others that hold inputs, the best first; at most MaxSources
	}

	// RunHere runs it on this node. Fed back: Done or Lost of Self with this Lease.
	RunHere struct {
		Attempt int
		Lease   Lease
		Sources []job.DID
	}

	// Attach opens a new stream to a runner whose stream broke. Fed back: a Beat, a Done
	// or Lost.
	Attach struct {
		Peer  job.DID
		Lease Lease
	}

	// Close ends the conversation with a peer. With a Lease that runs, it ends the run:
	// for Self too.
	Close struct {
		Peer  job.DID
		Lease Lease // zero: the peer was only asked
		Why   CloseReason
	}

	// Wake asks for a Tick at At, or a little later. It replaces the one before.
	Wake struct{ At time.Time }

	// Calibrate is fed to Calibration.Observe, which every later placement uses.
	Calibrate struct {
		Peer            job.DID
		Claimed, Actual time.Duration
	}

	// Note is a line for people: one per change of state.
	Note struct{ Text string }

	// Finish ends it with a result of every run.
	Finish struct {
		Outcome  cid.Cid  // of the first winner
		Winners  []Result // as many as runs were asked, from distinct peers
		Disagree bool     // their Outcomes differ
	}

	// Fail ends it without.
	Fail struct {
		Code string // one of the Code constants
		Why  string // a sentence, with the reason of each peer
		Hint string // what to do about it; may be empty
	}
)

// MaxSources bounds Award.Sources.
const MaxSources = 8

// CloseReason is what a peer is told at the end.
type CloseReason string

// The reasons of a Close.
const (
	CloseOK        CloseReason = "ok"        // the result is here
	CloseLost      CloseReason = "lost"      // another peer got the job
	CloseCancelled CloseReason = "cancelled" // nobody wants it any more
)

// Codes of a Fail.
const (
	CodeNoPeer    = "no-peer"   // nobody can run it, or nobody could be reached
	CodeExhausted = "exhausted" // every attempt was lost
	CodeTimeout   = "timeout"   // the job's own time is over
	CodeCancelled = "cancelled"
)

// Result is one run's.
type Result struct {
	Peer    job.DID `json:"peer"`
	Outcome cid.Cid `json:"outcome"`
	Receipt cid.Cid `json:"receipt,omitzero"`
}

func (Ask) action()       {}
func (Announce) action()  {}
func (Award) action()     {}
func (RunHere) action()   {}
func (Attach) action()    {}
func (Close) action()     {}
func (Wake) action()      {}
func (Calibrate) action() {}
func (Note) action()      {}
func (Finish) action()    {}
func (Fail) action()      {}
