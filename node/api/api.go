// Package api is what a node offers its clients: a few small interfaces, the types
// that they speak, and an HTTP handler and client over a socket. A *node.Node and a
// *Client meet the same interfaces, so a command is the same when it owns the repo,
// when another process does, and against a daemon.
//
// It imports the package job alone, so that a Go program that is only a client
// links neither a store nor a network.
package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/job"
)

// Data reads and writes blocks.
type Data interface {
	Get(ctx context.Context, c cid.Cid) ([]byte, error) // CodeMissing when it is not here
	Has(ctx context.Context, c cid.Cid) (bool, error)
	// Put hashes every block before it enters: one that does not hash to its CID is an
	// error, and none of the call's blocks can be relied on. What a client has put is
	// safe from collection until the client leaves.
	Put(ctx context.Context, bs ...Block) error
	// Fetch brings one block here from the peers that this node is connected to; one that
	// is here already costs nothing. CodeMissing when none of them has it, or there is none.
	Fetch(ctx context.Context, c cid.Cid) error
	// Missing returns those of cs, at most MaxMissing, that are not here, in their order.
	// Those that are here are safe from collection as if the client had put them.
	Missing(ctx context.Context, cs ...cid.Cid) ([]cid.Cid, error)
	// Walk calls each for every block below root, once, parents before children and
	// children in the order of their links: the order in which the DAG is read from end to
	// end. CodeMissing when one is not here. It returns the error of each as it is.
	Walk(ctx context.Context, root cid.Cid, each func(Block) error) error
	// Sync returns when everything put before it would survive a loss of power.
	Sync(ctx context.Context) error
}

// MaxMissing bounds a question for missing blocks.
const MaxMissing = 4096

// Block is bytes under the name that they are said to have.
type Block struct {
	CID  cid.Cid
	Data []byte
}

// Pins keeps data from collection.
type Pins interface {
	Pin(ctx context.Context, p Pin) error         // replaces a pin of the same Name
	Unpin(ctx context.Context, name string) error // CodeMissing when there is none
	Pins(ctx context.Context) ([]Pin, error)      // by Name; expired ones are gone
	// FindPin returns one pin, at a price that does not depend on how many there are.
	// CodeMissing when there is none of that Name.
	FindPin(ctx context.Context, name string) (Pin, error)
}

// Pin is a name under which roots are kept.
type Pin struct {
	Name    string    `json:"name"` // unique; the CID's string when the user gave none
	Roots   []Root    `json:"roots"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires,omitzero"` // zero: never
	// Rest leads to what the roots lead to in ways that cannot be read: each is a list, see dag.RestList, and kept
	// as a root is.
	Rest []cid.Cid `json:"rest,omitempty"`
	// Opaque says that blocks whose links cannot be read count as blocks without links. Without it a collection that
	// finds one below the pin, and no Rest, removes nothing.
	Opaque bool `json:"opaque,omitempty"`
}

// Root is one kept block, alone or with all below it that is here.
type Root struct {
	CID       cid.Cid `json:"cid"`
	Recursive bool    `json:"recursive"`
}

// Upkeep looks after a repo.
type Maintenance interface {
	Collect(ctx context.Context) (Collected, error)
	// Verify reads and hashes every block and calls damaged for each that is wrong.
	Check(ctx context.Context, damaged func(Damage)) (Checked, error)
}

// Collected is what a collection did.
type Collected struct {
	Removed      int   `json:"removed"`
	RemovedBytes int64 `json:"removed_bytes"`
	Kept         int   `json:"kept"`
	KeptBytes    int64 `json:"kept_bytes"`
}

// Damage is one block whose bytes are not what its name says.
type Damage struct {
	CID   string `json:"cid"`
	Where string `json:"where"`
	Err   string `json:"error"`
}

// Verified is what a verification saw.
type Checked struct {
	Blocks  int   `json:"blocks"`
	Bytes   int64 `json:"bytes"`
	Damaged int   `json:"damaged"`
}

// Jobs runs Tasks and remembers them. An id is a whole one: Find makes one of its
// beginning.
type Jobs interface {
	// Run evaluates r.Task, here or at the peer where it is done first, and returns when
	// it is done. Cancelling ctx ends the run. The guest's faults are in the Job's
	// Outcome; an error means there is none. With CodeMismatch there may be one, and
	// what w was shown is not what it says.
	Run(ctx context.Context, r Request, w Watch) (Job, error)
	// Submit begins what Run does and returns the running Job at once. The job outlives
	// ctx and the client: CodeUsage when this process is not one that stays.
	Submit(ctx context.Context, r Request) (Job, error)
	List(ctx context.Context) ([]Job, error)              // newest first, without Events and Placement
	Find(ctx context.Context, prefix string) (Job, error) // CodeMissing, or CodeUsage when several match
	// Follow calls each for the job's events with a Seq of from and more, those that have
	// been and then those that come, until the last one or an error of each. Of a slow
	// caller the job takes no notice.
	Follow(ctx context.Context, id string, from int, each func(Event) error) error
	// Logs writes to w what the guest has printed so far and then what it prints, until
	// the job ends; of w, Stdout and Stderr count. Of a slow caller the job takes no
	// notice: what it has no room to keep for him is left out, and a line says how much.
	// The error is of CodeMismatch when w was shown what a peer has made up.
	Logs(ctx context.Context, id string, w Watch) error
	// Cancel ends a running job with CodeInterrupted; of one that has ended it is CodeUsage.
	Cancel(ctx context.Context, id string) error
}

// Request is a Task and how to run it.
type Request struct {
	Task    job.Task
	Limits  job.Limits
	Timeout time.Duration     // zero: none
	Keep    time.Duration     // how long what the job made is kept; KeepForever; zero: DefaultKeep
	Local   []cid.Cid         // what was added for this job alone (the module, local inputs): kept with it
	Labels  map[string]string // job history only
	NoCache bool              // run it even if its Outcome is known, and remember the new one
	Trusted bool              // the module is the user's own: it may be compiled without a child process; over TCP it never is

	Where    string            // WhereBest, WhereLocal, WhereNetwork, or the DID or peer id of one peer
	Need     map[string]string // labels that a peer must have
	Prefer   map[string]string // labels that decide between peers that are equally good
	Runs     int               // run it so often, each at another peer, and compare; zero: once
	Priority int               // among this requester's own jobs, higher ones first
	Publish  bool              // publish the output when it is there

	// PrintAfterCheck shows what the guest prints only when it was compared with the
	// Outcome. Without it, it is shown as it comes, but for what other peers print of a job
	// with Runs.
	PrintAfterCheck bool
}

// How long a job's module, local inputs and output are kept.
const (
	DefaultKeep               = 30 * 24 * time.Hour
	KeepForever time.Duration = -1
)

// Watch receives what a run shows while it goes on. Every field may be nil.
type Watch struct {
	Stdout, Stderr io.Writer // an error from Write ends the run with it
	Progress       func(done, total int64)
	Event          func(Event) // called in order, never twice at once
}

// Job is the record of one run.
type Job struct {
	ID         string            `json:"job"`   // "j-" and 20 characters, later ones sort later
	State      string            `json:"state"` // JobRunning, JobDone or JobFailed
	Task       cid.Cid           `json:"task"`
	OutcomeCID cid.Cid           `json:"outcome,omitzero"` // defined when State is JobDone
	Outcome    *job.Outcome      `json:"-"`                // the decoded Outcome
	Receipt    cid.Cid           `json:"receipt,omitzero"` // defined when State is JobDone; of the first run when Cached
	Cached     bool              `json:"cached,omitempty"` // the Outcome was known: nothing ran
	Err        *Error            `json:"error,omitempty"`
	Fault      string            `json:"fault,omitempty"` // a trap's message and stack, for people
	Labels     map[string]string `json:"labels,omitempty"`
	Created    time.Time         `json:"created"`
	Ended      time.Time         `json:"ended,omitzero"`
	Read       Read              `json:"read"`
	Refs       []cid.Cid         `json:"refs,omitempty"` // parts of inputs that the output links to
	Compile    time.Duration     `json:"compile_ns"`
	Run        time.Duration     `json:"run_ns"`

	Where     string      `json:"where,omitempty"`    // DID of the peer that ran it; "" while there is none
	Remote    bool        `json:"remote,omitempty"`   // that is not this node
	Attempts  int         `json:"attempts,omitempty"` // how often it was awarded
	Fetched   Read        `json:"fetched,omitzero"`   // of Read, what came from other peers
	Runs      []RunResult `json:"runs,omitempty"`     // when more than one run was asked for
	Placement *Placement  `json:"placement,omitempty"`
	// Mismatches are the peers that have printed what an Outcome does not say; the first
	// MaxMismatches.
	Mismatches []Mismatch `json:"mismatches,omitempty"`
	Events     []Event    `json:"events,omitempty"` // the last MaxEvents

	// Of a job that failed, what it had printed; otherwise the Outcome says.
	Stdout cid.Cid `json:"stdout,omitzero"`
	Stderr cid.Cid `json:"stderr,omitzero"`
}

// The states of a Job.
const (
	JobRunning = "running"
	JobDone    = "done"   // there is an Outcome
	JobFailed  = "failed" // there is none: the fault was not the guest's
)

// Read counts the distinct blocks of its inputs that a run touched.
type Read struct {
	Blocks int   `json:"blocks"`
	Bytes  int64 `json:"bytes"`
}

// Code says what kind of error an Error is: a client decides by it.
type Code string

// The codes.
const (
	CodeMissing     Code = "missing"     // what was asked for is not here
	CodeRefused     Code = "refused"     // the module cannot run here
	CodeTimeout     Code = "timeout"     // the run's time is over
	CodeInterrupted Code = "interrupted" // the caller cancelled
	CodeUsage       Code = "usage"       // the request makes no sense
	CodeFault       Code = "fault"       // this machine, its disk or its owner failed
	CodeClosing     Code = "closing"     // the owner is leaving: attach again, or become the owner
	CodeDenied      Code = "denied"      // the token is wrong, or the cluster does not allow it
	CodeNoPeer      Code = "nobody"      // no peer can or will run the job
	CodeDisagree    Code = "disagree"    // runs of a job came to different Outcomes
	CodeMismatch    Code = "mismatch"    // what was printed is not what the Outcome says
)

// Error is an error that crosses the API.
type Error struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"` // what to do about it, a command to type where there is one
	// Damaged says that the bytes of a block are wrong, in the repo and not on the way.
	Damaged bool `json:"damaged,omitempty"`
}

func (e *Error) Error() string { return e.Message }

// Errorf makes an *Error.
func Errorf(code Code, format string, a ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, a...)}
}

// interrupted is what the end of a call's context is called; a job that somebody else
// cancels ends with CodeInterrupted, too, and another message.
const interrupted = "interrupted"

// AsError returns the *Error that err is or wraps. Any other error becomes one of
// CodeInterrupted when it comes of a cancelled context, and of CodeFault otherwise.
func AsError(err error) *Error {
	var e *Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &e):
		return e
	case errors.Is(err, context.Canceled):
		return Errorf(CodeInterrupted, interrupted)
	}
	return &Error{Code: CodeFault, Message: err.Error()}
}
