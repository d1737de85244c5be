// Package wire is the protocol between a node and the program of a plugin: the messages, and
// the program's side of it, so that an executor in Go needs only an [Engine] and a call of
// [Serve]. docs/plugins.md documents the same for other languages.
//
// A plugin is one long-lived process. The node starts it with a listening Unix socket as file
// descriptor 3 and speaks HTTP/1.1 over it, with one connection for each concurrent request;
// the answer to a run is a stream of JSON lines. The plugin ends when its stdin is closed: that
// is how it learns that the node has ended, even if the node was killed.
package wire

import (
	"context"
	"fmt"
)

// Version is the protocol version. It is raised with any change that an older side would not
// understand; both sides ignore unknown fields of JSON objects.
const Version = 1

// The environment variables of a plugin's program.
const (
	EnvVersions = "LIFTOFF_PLUGIN"       // the node's protocol versions, comma-separated: "1"
	EnvOwner    = "LIFTOFF_PLUGIN_OWNER" // identifies the repo, 16 hex digits
)

// listenFD is the file descriptor of the socket.
const listenFD = 3

// The request paths.
const (
	PathTraits  = "/v1/traits"  // GET: Traits
	PathCheck   = "/v1/check"   // POST Task: Checked
	PathRun     = "/v1/run"     // POST Run: a stream of Events, one per line
	PathCancel  = "/v1/cancel"  // POST Cancel: {}
	PathResolve = "/v1/resolve" // POST Resolve: Resolved; 404 if the plugin has no references
)

// Limits on what a node reads, in bytes.
const (
	MaxAnswer = 64 << 10  // of an answer other than a stream
	MaxEvent  = 256 << 10 // of one line of a stream
	MaxLog    = 128 << 10 // of the decoded stdout or stderr of one event
)

// Traits describe a plugin.
type Traits struct {
	Protocol int      `json:"protocol"` // Version
	Engine   string   `json:"engine"`   // the NAME of liftoff-executor-NAME
	Version  string   `json:"version"`  // the engine's name and version, for receipts: "docker 20.10.24"
	ABIs     []string `json:"abis"`     // the values of Task.ABI that it runs: "docker", "x_…"
	// Problem says why nothing can run at the moment ("the Docker engine does not answer: …");
	// empty if the plugin is ready.
	Problem string `json:"problem,omitempty"`
}

// Task is the task to run.
type Task struct {
	ABI    string            `json:"abi"`
	Module Module            `json:"module"`
	Inputs []Input           `json:"inputs"`
	Stdin  bool              `json:"stdin"` // the folder has a file "stdin"
	Args   []string          `json:"args"`
	Env    map[string]string `json:"env"`
}

// Module is the module of a Task.
type Module struct {
	CID string `json:"cid"`
	// Block holds the module if it is a single block that is neither UnixFS nor raw bytes
	// (dag-cbor, for example); otherwise it is empty and the module is a file or a folder
	// "module".
	Block []byte `json:"block,omitempty"`
}

// Input is a file or a folder below "in".
type Input struct {
	Name string `json:"name"` // the input's name, or else its index
	CID  string `json:"cid"`
}

// Checked answers whether a Task can run.
type Checked struct {
	Refused string `json:"refused,omitempty"` // why not: a fault of the Task, so that a retry does not help
	// NeedModule: a run needs the module's bytes in its folder. A plugin that caches modules by
	// CID answers false for a cached one.
	NeedModule bool `json:"need_module"`
}

// Run is a Task with the environment of its run.
type Run struct {
	ID   string `json:"id"` // of this run, unique for the plugin's lifetime
	Task Task   `json:"task"`
	// Dir is an absolute path. It holds "in", "module" and "stdin", which are read-only, and
	// "out" and "tmp", which are empty. It belongs to the run and is removed with it.
	Dir     string `json:"dir"`
	Limits  Limits `json:"limits"`
	Network bool   `json:"network"` // the node's owner allows this guest to use the network
}

// Limits of a run. The node itself enforces out, tmp and log.
type Limits struct {
	Fuel   uint64 `json:"fuel"`   // nanoseconds of processor time
	Memory uint64 `json:"memory"` // bytes
	Out    uint64 `json:"out"`    // bytes below out
	Tmp    uint64 `json:"tmp"`    // bytes below tmp
	Log    uint64 `json:"log"`    // bytes of stdout and stderr together
}

// Event is one line of a run's answer. Exactly one field is set, and nothing follows an End, a
// Refused or an Error.
type Event struct {
	Stdout   []byte    `json:"stdout,omitempty"` // base64, as Stderr
	Stderr   []byte    `json:"stderr,omitempty"`
	Progress *Progress `json:"progress,omitempty"`
	End      *End      `json:"end,omitempty"`     // the guest ended
	Refused  string    `json:"refused,omitempty"` // the Task cannot run here: a fault of the Task
	Error    string    `json:"error,omitempty"`   // a machine fault
}

// Progress is the guest's own estimate.
type Progress struct {
	Done  int64 `json:"done"`
	Total int64 `json:"total"`
}

// End is how a guest ended.
type End struct {
	Exit int `json:"exit"` // the exit code, 0 to 255
	// Limit names the limit that ended the guest: LimitFuel or LimitMemory. Exit is not used
	// then. The node enforces the other limits.
	Limit  string `json:"limit,omitempty"`
	Fuel   uint64 `json:"fuel"`   // nanoseconds of processor time, as far as known
	Memory uint64 `json:"memory"` // peak in bytes, as far as known
	// Prepare is the time before the guest began, in milliseconds.
	Prepare int64 `json:"prepare_ms"`
}

// The values of End.Limit.
const (
	LimitFuel   = "fuel"
	LimitMemory = "memory"
)

// Cancel cancels a run. The run's stream ends when nothing of the run is left.
type Cancel struct {
	ID string `json:"id"`
}

// Resolve asks what a reference names now.
type Resolve struct {
	Ref string `json:"ref"`
}

// Resolved is the answer to Resolve.
type Resolved struct {
	Digest  []byte `json:"digest,omitempty"` // 32 bytes of sha2-256, base64
	Refused string `json:"refused,omitempty"`
}

// Engine is an executor in the plugin's program. Its methods are safe for concurrent use. An
// error made by [Refusef] is a fault of the Task, any other a machine fault.
type Engine interface {
	Traits(ctx context.Context) Traits
	Check(ctx context.Context, t Task) (needModule bool, err error)
	// Run runs a guest and returns when nothing of it is left. A cancelled ctx ends it at once;
	// what Run returns then is ignored.
	Run(ctx context.Context, r Run, s *Stream) (End, error)
}

// Resolver is an Engine whose modules have names that can change.
type Resolver interface {
	Resolve(ctx context.Context, ref string) (digest [32]byte, err error)
}

// RefusedError is a fault of the Task.
type RefusedError struct{ Reason string }

func (e *RefusedError) Error() string { return e.Reason }

// Refusef makes a *RefusedError.
func Refusef(format string, a ...any) error { return &RefusedError{fmt.Sprintf(format, a...)} }
