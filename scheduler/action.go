package scheduler

import (
	"encoding/hex"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/job"
)

// Lease is the id of one award. It is derived from the order, so that a replayed placement has the
// same leases. It is not a secret.
type Lease [16]byte

func (l Lease) String() string { return hex.EncodeToString(l[:]) }

// MarshalText returns l as hex.
func (l Lease) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText decodes what MarshalText returned.
func (l *Lease) UnmarshalText(b []byte) error {
	if len(b) != hex.EncodedLen(len(l)) {
		return hex.ErrLength
	}
	_, err := hex.Decode(l[:], b)
	return err
}

// Action is an instruction to the owner of a Placement: one of the types below. The owner carries
// them out in the order in which Step returned them. Nothing follows a Finish or a Fail.
type Action interface{ action() }

type (
	// Ask opens a stream to each peer, sends the Ask message, and feeds back a Bid or an AskFailed
	// for each.
	Ask struct {
		Peers   []job.DID
		Attempt int           // Order.Attempt of the order to send, from 0
		Window  time.Duration // answers after it are ignored
	}

	// Announce gossips that the job looks for a provider. Each peer that answers is fed back in
	// Candidates.
	Announce struct {
		Window  time.Duration
		Exclude []job.DID
	}

	// Award awards the job to a peer, on the stream of its bid. Fed back: Accepted, Declined or
	// Lost.
	Award struct {
		Peer     job.DID
		Attempt  int
		Lease    Lease
		LeaseFor time.Duration
		Queue    time.Duration // queue time of the bid: the provider declines when its queue has become much longer
		Sources  []job.DID     // other peers that hold inputs, the best first; at most MaxSources
	}

	// RunHere runs the job on this node. Fed back: Done or Lost of Self with this Lease.
	RunHere struct {
		Attempt int
		Lease   Lease
		Sources []job.DID
	}

	// Attach opens a new stream to a provider whose stream broke. Fed back: a Heartbeat, a Done or
	// Lost.
	Attach struct {
		Peer  job.DID
		Lease Lease
	}

	// Close ends the conversation with a peer. If Lease is the lease of a run, it also stops the
	// run, on this node too.
	Close struct {
		Peer  job.DID
		Lease Lease // zero: the peer was asked but not awarded
		Why   CloseReason
	}

	// Wake requests a Tick at At, or a little later. It replaces the previous Wake.
	Wake struct{ At time.Time }

	// Calibrate is to be fed to Calibration.Observe, which every later placement uses.
	Calibrate struct {
		Peer            job.DID
		Claimed, Actual time.Duration
	}

	// Note is one line for display: one per change of state.
	Note struct{ Text string }

	// Finish ends the Placement successfully: every run has a result.
	Finish struct {
		Outcome  cid.Cid  // that of the first winner
		Winners  []Result // one for each run, from distinct peers
		Disagree bool     // their Outcomes differ
	}

	// Fail ends the Placement without a result.
	Fail struct {
		Code string // one of the Code constants
		Why  string // a sentence that includes the reason of each peer
		Hint string // what to do next; may be empty
	}
)

// MaxSources is the maximum length of Award.Sources.
const MaxSources = 8

// CloseReason tells a peer why a conversation ends.
type CloseReason string

// The reasons of a Close.
const (
	CloseOK        CloseReason = "ok"        // the requester has the result
	CloseLost      CloseReason = "lost"      // another peer got the job
	CloseCancelled CloseReason = "cancelled" // the job was cancelled
)

// Codes of a Fail.
const (
	CodeNoPeer    = "no-peer"   // no peer can run it or could be reached
	CodeExhausted = "exhausted" // every attempt was lost
	CodeTimeout   = "timeout"   // the job's own timeout has passed
	CodeCancelled = "cancelled"
)

// Result is the result of one run.
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
