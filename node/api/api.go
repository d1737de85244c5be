// Package api is the interface between a node and its clients: a few small interfaces, the types
// that they use, an HTTP handler, and a client over a Unix socket or TCP. *node.Node and *Client
// implement the same interfaces. So a command is the same whether its process owns the repo,
// attaches to the process that does, or talks to a daemon.
//
// It imports no package of the project but job, so that a Go program that is only a client links
// neither a block store nor a network.
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
	Get(ctx context.Context, c cid.Cid) ([]byte, error) // CodeMissing when the block is not in the repo
	Has(ctx context.Context, c cid.Cid) (bool, error)
	// Put hashes every block before it stores it. A block that does not hash to its CID is an
	// error, and then none of the call's blocks can be relied on. What a client has put is not
	// collected until the client detaches.
	Put(ctx context.Context, bs ...Block) error
	// Fetch copies one block into the repo from the peers that this node is connected to. A block
	// that is in the repo already costs nothing. CodeMissing when no connected peer has it.
	Fetch(ctx context.Context, c cid.Cid) error
	// Missing returns those of cs that are not in the repo, in the order of cs. len(cs) is at most
	// MaxMissing. Those that are in the repo are protected from collection as if the client had put
	// them.
	Missing(ctx context.Context, cs ...cid.Cid) ([]cid.Cid, error)
	// Walk calls each once for every block below root, parents before children and children in the
	// order of their links, which is the order of a depth-first read of the DAG. CodeMissing when a
	// block is not in the repo. An error of each is returned unchanged.
	Walk(ctx context.Context, root cid.Cid, each func(Block) error) error
	// Sync returns when every earlier Put would survive a power loss.
	Sync(ctx context.Context) error
}

// MaxMissing is the maximum number of CIDs of one Missing call.
const MaxMissing = 4096

// Block is a CID and the bytes that it is claimed to name.
type Block struct {
	CID  cid.Cid
	Data []byte
}

// Pins protects data from garbage collection.
type Pins interface {
	Pin(ctx context.Context, p Pin) error         // replaces a pin of the same Name
	Unpin(ctx context.Context, name string) error // CodeMissing when no pin has that name
	Pins(ctx context.Context) ([]Pin, error)      // sorted by Name, without expired ones
	// FindPin returns one pin. Its cost does not grow with the number of pins. CodeMissing when no
	// pin has that name.
	FindPin(ctx context.Context, name string) (Pin, error)
}

// Pin is a named set of roots that garbage collection keeps.
type Pin struct {
	Name    string    `json:"name"` // unique; the string of the CID when the user gave no name
	Roots   []Root    `json:"roots"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires,omitzero"` // zero: never
	// Rest links to blocks that the roots reference in ways that cannot be read. Each element is a
	// list, see dag.RestList, and is kept like a root.
	Rest []cid.Cid `json:"rest,omitempty"`
	// Opaque means that a block whose links cannot be read counts as a block without links. If it
	// is false and Rest is empty, a collection that finds such a block below the pin removes
	// nothing.
	Opaque bool `json:"opaque,omitempty"`
}

// Root is one pinned block, alone or with every block below it that is in the repo.
type Root struct {
	CID       cid.Cid `json:"cid"`
	Recursive bool    `json:"recursive"`
}

// Maintenance collects garbage and checks the repo.
type Maintenance interface {
	Collect(ctx context.Context) (Collected, error)
	// Check reads and hashes every block and calls damaged for each whose bytes are wrong.
	Check(ctx context.Context, damaged func(Damage)) (Checked, error)
}

// Collected is the result of a collection: blocks and bytes removed and kept.
type Collected struct {
	Removed      int   `json:"removed"`
	RemovedBytes int64 `json:"removed_bytes"`
	Kept         int   `json:"kept"`
	KeptBytes    int64 `json:"kept_bytes"`
}

// Damage is one block whose bytes do not match its CID.
type Damage struct {
	CID   string `json:"cid"`
	Where string `json:"where"` // the damaged file
	Err   string `json:"error"`
}

// Checked is the result of a check: blocks and bytes read, and damaged blocks.
type Checked struct {
	Blocks  int   `json:"blocks"`
	Bytes   int64 `json:"bytes"`
	Damaged int   `json:"damaged"`
}

// Jobs runs Tasks and keeps their history. Methods take a full job id; Find completes a prefix.
type Jobs interface {
	// Run evaluates r.Task on this node or on the peer with the best bid, and returns when it has
	// ended. Cancelling ctx ends the run. A fault of the guest is in the Job's Outcome; an error
	// means that the job has no Outcome. The exception is CodeMismatch: there may be an Outcome, but
	// what was written to w differs from it.
	Run(ctx context.Context, r Request, w Watch) (Job, error)
	// Submit starts what Run does and returns the running Job at once. The job outlives ctx and the
	// client. CodeConflict when this process is not a running `liftoff serve`.
	Submit(ctx context.Context, r Request) (Job, error)
	List(ctx context.Context) ([]Job, error)              // newest first, without Events and Placement
	Find(ctx context.Context, prefix string) (Job, error) // CodeMissing when no id has the prefix, CodeUsage when several have
	// Follow calls each for the job's events with Seq >= from: first the past ones, then new ones
	// as they come, until the last event or an error of each. A slow caller does not slow down the
	// job.
	Follow(ctx context.Context, id string, from int, each func(Event) error) error
	// Logs writes to w what the guest has printed so far and then what it prints, until the job
	// ends. It uses only w.Stdout and w.Stderr. A slow caller does not slow down the job: output
	// that does not fit the buffer is dropped, and a line says how much. CodeMismatch when w was
	// shown output that a peer had made up.
	Logs(ctx context.Context, id string, w Watch) error
	// Cancel ends a running job with CodeInterrupted. CodeConflict when the job has ended.
	Cancel(ctx context.Context, id string) error
}

// Request is a Task and how to run it.
type Request struct {
	Task    job.Task
	Limits  job.Limits
	Timeout time.Duration     // zero: no timeout
	Keep    time.Duration     // how long the job's module, local inputs and output are pinned; KeepForever; zero: DefaultKeep
	Local   []cid.Cid         // what was added for this job alone (the module, local inputs): pinned with it
	Labels  map[string]string // kept in the job history only
	NoCache bool              // run the Task even if its Outcome is cached, and cache the new one
	Trusted bool              // the module is the user's own: it may be compiled without a child process; ignored over TCP

	Where    string            // WhereBest, WhereLocal, WhereNetwork, or the DID or peer id of one peer
	Need     map[string]string // labels that a provider must have
	Prefer   map[string]string // labels that improve a peer's bid by up to a fifth
	Runs     int               // run the Task that often, each time on another peer, and compare the outcomes; zero: once
	Priority int               // orders this requester's own jobs, higher first
	Publish  bool              // publish the output when the job is done

	// PrintAfterCheck holds back the guest's output until it was compared with the Outcome. Without
	// it, output is shown as it comes, except what other peers print for a job with Runs.
	PrintAfterCheck bool
}

// How long a job's module, local inputs and output stay pinned.
const (
	DefaultKeep               = 30 * 24 * time.Hour
	KeepForever time.Duration = -1
)

// Watch receives the output, progress and events of a run while it goes on. Every field may be nil.
type Watch struct {
	Stdout, Stderr io.Writer               // an error of Write ends the run with that error
	Progress       func(done, total int64) // progress that the guest reports, in units of its choice
	Event          func(Event)             // called in order, one call at a time
	SoFar          bool                    // Logs ends after the output so far, even if the job is running
}

// Job is the record of one job. Fields of type cid.Cid are links to blocks. OutcomeCID has the
// suffix because Outcome is the decoded block.
type Job struct {
	ID         string            `json:"job"`   // "j-" and 20 characters; later jobs sort later
	State      string            `json:"state"` // JobRunning, JobDone or JobFailed
	Task       cid.Cid           `json:"task"`
	OutcomeCID cid.Cid           `json:"outcome,omitzero"` // defined when State is JobDone
	Outcome    *job.Outcome      `json:"-"`                // the decoded block OutcomeCID
	Receipt    cid.Cid           `json:"receipt,omitzero"` // CID of the receipt; defined when State is JobDone; of the first run when Cached
	Cached     bool              `json:"cached,omitempty"` // the Outcome came from the result cache: nothing ran
	Err        *Error            `json:"error,omitempty"`
	Fault      string            `json:"fault,omitempty"` // message and stack of a trap, for display
	Labels     map[string]string `json:"labels,omitempty"`
	Created    time.Time         `json:"created"`
	Ended      time.Time         `json:"ended,omitzero"`
	Read       Read              `json:"read"`           // blocks of the inputs that the run read
	Refs       []cid.Cid         `json:"refs,omitempty"` // parts of inputs that the output links to
	Compile    time.Duration     `json:"compile_ns"`     // time to compile the module
	Run        time.Duration     `json:"run_ns"`         // time to run the guest

	Where     string      `json:"where,omitempty"`    // DID of the provider; "" while none is chosen
	Remote    bool        `json:"remote,omitempty"`   // the provider is not this node
	Attempts  int         `json:"attempts,omitempty"` // number of awards
	Fetched   Read        `json:"fetched,omitzero"`   // the part of Read that came from other peers
	Runs      []RunResult `json:"runs,omitempty"`     // results of a request with Runs > 1
	Placement *Placement  `json:"placement,omitempty"`
	// Mismatches are the peers whose printed output differs from an Outcome, at most MaxMismatches.
	Mismatches []Mismatch `json:"mismatches,omitempty"`
	Events     []Event    `json:"events,omitempty"` // the last MaxEvents

	// Files of what a failed job had printed. For other jobs see Outcome.
	Stdout cid.Cid `json:"stdout,omitzero"`
	Stderr cid.Cid `json:"stderr,omitzero"`
}

// The states of a Job.
const (
	JobRunning = "running"
	JobDone    = "done"   // the Task has an Outcome
	JobFailed  = "failed" // no Outcome: the fault was not the guest's
)

// Read counts the distinct input blocks that a run read.
type Read struct {
	Blocks int   `json:"blocks"`
	Bytes  int64 `json:"bytes"`
}

// Code is the kind of an Error, for clients to branch on. docs/api.md lists the HTTP status of
// each.
type Code string

// The codes.
const (
	CodeMissing     Code = "missing"     // the requested object is not in the repo
	CodeRefused     Code = "refused"     // the module cannot run here
	CodeTimeout     Code = "timeout"     // the run exceeded its timeout
	CodeInterrupted Code = "interrupted" // the caller cancelled the call
	CodeUsage       Code = "usage"       // the request is invalid
	CodeConflict    Code = "conflict"    // the state of the node or of the job does not allow the call
	CodeFault       Code = "fault"       // this machine, its disk or the owner process failed
	CodeClosing     Code = "closing"     // the owner process is shutting down: attach again, or become the owner
	CodeDenied      Code = "denied"      // the token is wrong, or the cluster does not allow the call
	CodeNoPeer      Code = "no-peer"     // no peer can or will run the job
	CodeDisagree    Code = "disagree"    // several runs of a job came to different Outcomes
	CodeMismatch    Code = "mismatch"    // printed output differs from the Outcome
)

// Error is an error that is sent over the API.
type Error struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"` // what to do next: a command to type where possible
	// Damaged means that the bytes of a block are wrong in the repo, and not because of the
	// transport.
	Damaged bool `json:"damaged,omitempty"`
}

func (e *Error) Error() string { return e.Message }

// Errorf returns an *Error with a formatted message.
func Errorf(code Code, format string, a ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, a...)}
}

// interrupted is the message of an error whose cause is the end of the call's own context. A job
// that another client cancels ends with CodeInterrupted too, but with another message.
const interrupted = "interrupted"

// AsError returns the *Error that err is or wraps. Any other error becomes an *Error of
// CodeInterrupted when a cancelled context caused it, and of CodeFault otherwise.
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
