// Package request is the requester's side of one job: it carries out what a
// scheduler.Placement decides. The Placement knows no peer and no clock; this package
// has the conversations with peers, the time, and the goroutines, and nothing to decide.
//
// One goroutine owns the Placement and feeds it events; each peer that is asked has one
// more, which ends before [Run.Do] returns.
package request

import (
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

// Run is one job on its way through the market. All fields but Config and Left are
// needed.
type Run struct {
	Request scheduler.Request
	Config  scheduler.Config
	Task    []byte     // its bytes
	Limits  job.Limits // of the job
	Market  *market.Client
	Node    Node
	Clock   func() time.Time
	Printed *Printed // takes what the guest prints
	Left    Left     // by a process that has ended
}

// World is what a Run needs of the node. Its methods are called from several goroutines,
// but for Event.
type Node interface {
	// Sign returns the envelope of the job for one attempt; to is "" for an Ask.
	Sign(attempt int, to job.DID) ([]byte, error)
	// Peers returns the peers that are known now.
	Peers(ctx context.Context) []scheduler.Candidate
	// Announce tells the network, and calls found for each peer that answers, until ctx ends.
	Announce(ctx context.Context, a scheduler.Announce, found func(scheduler.Candidate)) error
	// AddrInfo says how p is reached.
	AddrInfo(p peer.ID) peer.AddrInfo
	// Here runs the Task on this node, fetching what it lacks from sources.
	Here(ctx context.Context, sources []job.DID, out Output) (Result, error)
	// Keep keeps the blocks of a result, each of which is what its name says, and looks
	// that all are there. The error, but a *KeepError, is the peer's fault.
	Keep(ctx context.Context, from job.DID, d market.Done, blocks func(yield func(dag.Block, error) bool)) (Result, error)
	// Open opens what a run has printed, of a Result that Keep has kept.
	Open(ctx context.Context, c cid.Cid) (*dag.File, error)
	// Mismatch is told of a peer that has printed what its Outcome does not say, from the
	// goroutine of Event.
	Mismatch(Mismatch)
	// Refused reports whether the module, which a peer says cannot run, is refused here, too.
	Refused(ctx context.Context) error
	// Left is told what would be left if this process ended, whenever that changes.
	Left(Left)
	// Calibrate is told how long a peer took.
	Calibrate(scheduler.Calibrate)
	// Event is told of each change, from one goroutine.
	Event(api.Event)
}

// Output takes what a guest prints. Progress and Restart may be nil.
type Output struct {
	Stdout, Stderr io.Writer
	Progress       func(done, total int64)
	// Restart is called when the text of a stream, 1 or 2, begins again: what was written to
	// it is of a run that has ended without an Outcome or, if isFalse, is not what the guest
	// has printed.
	Restart func(stream byte, isFalse bool)
}

// Result is what one run came to.
type Result struct {
	Peer    job.DID     `json:"peer"`
	Outcome cid.Cid     `json:"outcome"`
	Receipt cid.Cid     `json:"receipt"`
	Value   job.Outcome `json:"-"` // what Outcome names
	Remote  bool        `json:"remote"`
}

// Lease is a peer's hold on the job: with it a requester that was restarted finds the
// run again.
type Lease struct {
	Peer     job.DID      `json:"peer"`
	Lease    market.Lease `json:"lease"`
	Envelope []byte       `json:"envelope"` // the signed Job that was awarded
}

// CodeUnknown is the code of a peer's answer that it knows no such lease: it was
// restarted, or has given the job up.
const CodeUnknown = "unknown"

// KeepError is a fault of this machine, and no peer's.
type KeepError struct{ Err error }

func (e *KeepError) Error() string { return e.Err.Error() }
func (e *KeepError) Unwrap() error { return e.Err }

// FailedError says that nothing came of the job.
type FailedError struct {
	Code string // of scheduler.Fail
	Why  string
	Hint string
}

func (e *FailedError) Error() string { return fmt.Sprintf("%s (%s)", e.Why, e.Code) }

// Ending is what came of the job.
type Ending struct {
	Results  []Result // one for each run; the first is the job's
	Disagree bool     // their Outcomes differ
	Broken   bool     // a peer was lost that did not say why: it may be back soon
	Record   scheduler.Record
}
