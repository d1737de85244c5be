// Package request is the requester's side of one job: it carries out the decisions of a
// scheduler.Placement. The Placement has no connection to a peer and no clock. This package has the
// conversations with peers, the time and the goroutines, and makes no decisions.
//
// One goroutine owns the Placement and feeds it events. Each peer that is asked has one more
// goroutine, which ends before [Run.Do] returns.
package request

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/ipfs-liftoff/liftoff/host/market"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node/api"
	"github.com/ipfs-liftoff/liftoff/scheduler"
)

// Run is the placement of one job. All fields but Config and Checkpoint are required.
type Run struct {
	Request    scheduler.Request
	Config     scheduler.Config
	Task       []byte     // the encoded Task
	Limits     job.Limits // limits of the job
	Market     *market.Client
	Node       Node
	Clock      func() time.Time
	Printed    *Printed   // receives the output of the guest
	Checkpoint Checkpoint // of an earlier process; zero: a new job
}

// Node is the part of the node that a Run needs. Its methods are called from several goroutines,
// except Event.
type Node interface {
	// Sign returns the envelope of the order for one attempt. to is "" for an Ask.
	Sign(attempt int, to job.DID) ([]byte, error)
	// Peers returns the currently known peers.
	Peers(ctx context.Context) []scheduler.Candidate
	// Announce gossips that the job looks for a provider, and calls found for each peer that
	// answers, until ctx ends.
	Announce(ctx context.Context, a scheduler.Announce, found func(scheduler.Candidate)) error
	// AddrInfo returns the addresses of p.
	AddrInfo(p peer.ID) peer.AddrInfo
	// RunLocal runs the Task on this node and fetches missing blocks from sources.
	RunLocal(ctx context.Context, sources []job.DID, out Output) (Result, error)
	// Keep stores the blocks of a result, each of which matches its CID, and checks that none is
	// missing. An error is the peer's fault, unless it is a *KeepError.
	Keep(ctx context.Context, from job.DID, d market.Done, blocks func(yield func(dag.Block, error) bool)) (Result, error)
	// Open opens a file with the output of a run, of a Result that Keep returned.
	Open(ctx context.Context, c cid.Cid) (*dag.File, error)
	// Mismatch records a peer whose printed output differs from its Outcome. It is called from the
	// goroutine of Event.
	Mismatch(Mismatch)
	// CheckModule returns an error if this node refuses the module too, after a peer has refused
	// it.
	CheckModule(ctx context.Context) error
	// SaveCheckpoint is called with the new Checkpoint whenever it changes.
	SaveCheckpoint(Checkpoint)
	// Calibrate records how long a peer took.
	Calibrate(scheduler.Calibrate)
	// Event records a change of the job. It is called from one goroutine.
	Event(api.Event)
}

// Output receives the output of a guest. Progress and Restart may be nil.
type Output struct {
	Stdout, Stderr io.Writer
	Progress       func(done, total int64)
	// Restart is called when the text of a stream, 1 or 2, starts again from the beginning. What
	// was written to it before belongs to a run that has ended without an Outcome or, if isFalse,
	// is not what the guest printed.
	Restart func(stream byte, isFalse bool)
}

// Result is the result of one run.
type Result struct {
	Peer    job.DID     `json:"peer"`
	Outcome cid.Cid     `json:"outcome"`
	Receipt cid.Cid     `json:"receipt"`
	Value   job.Outcome `json:"-"` // the decoded block Outcome
	Remote  bool        `json:"remote"`
}

// Lease is an active award at a peer: with it a restarted requester finds the run again.
type Lease struct {
	Peer     job.DID      `json:"peer"`
	Lease    market.Lease `json:"lease"`
	Envelope []byte       `json:"envelope"` // the signed order of the award
}

// CodeUnknown is the code of a peer's answer when it does not have the lease: it was restarted, or
// has dropped the job.
const CodeUnknown = "unknown"

// KeepError is a fault of this machine, not of a peer.
type KeepError struct{ Err error }

func (e *KeepError) Error() string { return e.Err.Error() }
func (e *KeepError) Unwrap() error { return e.Err }

// FailedError means that the job has no result.
type FailedError struct {
	Code string // code of the scheduler.Fail
	Why  string
	Hint string
}

func (e *FailedError) Error() string {
	return fmt.Sprintf("%s (%s)", cmp.Or(e.Why, "failed without a reason"), e.Code)
}

// Ending is the result of the job.
type Ending struct {
	Results  []Result // one for each run; the first is the job's
	Disagree bool     // their Outcomes differ
	Broken   bool     // a peer was lost without a reason: it may be back soon
	Record   scheduler.Record
}
