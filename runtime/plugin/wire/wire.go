// Package wire is the contract between a node and the program of a plugin: the messages,
// and the side of the program, so that an executor in Go is an [Engine] and one call of
// [Serve]. docs/plugins.md has the same for other languages.
//
// A plugin is one process that stays. The node starts it with a listening Unix socket as
// file descriptor 3 and speaks HTTP/1.1 over it, a connection for each thing that goes on;
// the answer to a run is a stream of lines of JSON. The plugin ends when its stdin does:
// that is how it learns that the node is gone, however it went.
package wire

import (
	"context"
	"fmt"
)

// Version is the protocol's. It rises with any change that an older side would not
// understand; unknown fields of JSON objects are ignored by both.
const Version = 1

// The environment of a plugin's program.
const (
	EnvVersions = "LIFTOFF_PLUGIN"       // the versions that the node speaks, with commas: "1"
	EnvOwner    = "LIFTOFF_PLUGIN_OWNER" // who starts it, 16 hex digits: the same for a repo, another for each
)

// listenFD is the file descriptor of the socket.
const listenFD = 3

// The paths.
const (
	PathTraits  = "/v1/traits"  // GET: Traits
	PathCheck   = "/v1/check"   // POST Task: Checked
	PathRun     = "/v1/run"     // POST Run: a stream of Events, one a line
	PathCancel  = "/v1/cancel"  // POST Cancel: {}
	PathResolve = "/v1/resolve" // POST Resolve: Resolved; 404 where references mean nothing
)

// Bounds of what a node reads, in bytes.
const (
	MaxAnswer = 64 << 10  // of an answer that is no stream
	MaxEvent  = 256 << 10 // of one line of a stream
	MaxLog    = 128 << 10 // of one event's stdout or stderr, decoded
)

// Traits say what a plugin is.
type Traits struct {
	Protocol int      `json:"protocol"` // Version
	Engine   string   `json:"engine"`   // the NAME of liftoff-executor-NAME
	Version  string   `json:"version"`  // what runs the guests, for receipts: "docker 20.10.24"
	ABIs     []string `json:"abis"`     // the values of Task.ABI that it runs: "docker", "x_…"
	// Problem says why nothing can be run at the moment ("the Docker engine does not
	// answer: …"); empty when something can.
	Problem string `json:"problem,omitempty"`
}

// Task is what is to be run.
type Task struct {
	ABI    string            `json:"abi"`
	Module Module            `json:"module"`
	Inputs []Input           `json:"inputs"`
	Stdin  bool              `json:"stdin"` // there is a file "stdin" in the folder
	Args   []string          `json:"args"`
	Env    map[string]string `json:"env"`
}

// Module is what the Task names as its program.
type Module struct {
	CID string `json:"cid"`
	// Block holds the module where it is one block that is neither UnixFS nor raw bytes
	// (dag-cbor, say), as it is; else it is empty and the module a file or a folder "module".
	Block []byte `json:"block,omitempty"`
}

// Input is a file or a folder below "in".
type Input struct {
	Name string `json:"name"` // its own, or else its index
	CID  string `json:"cid"`
}

// Checked answers whether a Task could run.
type Checked struct {
	Refused string `json:"refused,omitempty"` // why not: the Task is to blame, and no repetition helps
	// NeedModule: a run needs the module's bytes in its folder. A plugin that keeps modules
	// by their CIDs says no for one that it has.
	NeedModule bool `json:"need_module"`
}

// Run is a Task with its world.
type Run struct {
	ID   string `json:"id"` // of this run, unique as long as the plugin lives
	Task Task   `json:"task"`
	// Dir is an absolute path. In it are "in", "module" and "stdin", which are only read,
	// and "out" and "tmp", which are empty. It is the run's alone and goes with it.
	Dir     string `json:"dir"`
	Limits  Limits `json:"limits"`
	Network bool   `json:"network"` // the node's owner lets this guest reach the network
}

// Limits of a run. The node itself looks at out, tmp and log.
type Limits struct {
	Fuel   uint64 `json:"fuel"`   // nanoseconds of processor time
	Memory uint64 `json:"memory"` // bytes
	Out    uint64 `json:"out"`    // bytes below out
	Tmp    uint64 `json:"tmp"`    // bytes below tmp
	Log    uint64 `json:"log"`    // bytes of stdout and stderr together
}

// Event is one line of a run's answer. Exactly one field is set, and nothing follows an
// End, a Refused or an Error.
type Event struct {
	Stdout   []byte    `json:"stdout,omitempty"` // base64, as the next
	Stderr   []byte    `json:"stderr,omitempty"`
	Progress *Progress `json:"progress,omitempty"`
	End      *End      `json:"end,omitempty"`     // the guest came to an end
	Refused  string    `json:"refused,omitempty"` // the Task cannot run here, and is to blame
	Error    string    `json:"error,omitempty"`   // the machine is to blame
}

// Progress is the guest's own hint.
type Progress struct {
	Done  int64 `json:"done"`
	Total int64 `json:"total"`
}

// End is how a guest ended.
type End struct {
	Exit int `json:"exit"` // the exit code, 0 to 255
	// Limit says which limit has ended the guest: LimitFuel or LimitMemory. Then Exit means
	// nothing. The other limits are the node's.
	Limit  string `json:"limit,omitempty"`
	Fuel   uint64 `json:"fuel"`   // nanoseconds of processor time that it took, as far as known
	Memory uint64 `json:"memory"` // its peak in bytes, as far as known
	// Prepare is how many milliseconds went by before the guest began.
	Prepare int64 `json:"prepare_ms"`
}

// The values of End.Limit.
const (
	LimitFuel   = "fuel"
	LimitMemory = "memory"
)

// Cancel asks for the end of a run. Its stream ends when all of it is gone.
type Cancel struct {
	ID string `json:"id"`
}

// Resolve asks what a reference names at this moment.
type Resolve struct {
	Ref string `json:"ref"`
}

// Resolved is what it names.
type Resolved struct {
	Digest  []byte `json:"digest,omitempty"` // 32 bytes of sha2-256, base64
	Refused string `json:"refused,omitempty"`
}

// Engine is an executor as its program writes it. Methods may be called from several
// goroutines. An error made by [Refusef] blames the Task, any other the machine.
type Engine interface {
	Traits(ctx context.Context) Traits
	Check(ctx context.Context, t Task) (needModule bool, err error)
	// Run runs a guest and returns when nothing of it is left. A cancelled ctx ends it at
	// once; what Run returns then is looked at by nobody.
	Run(ctx context.Context, r Run, s *Stream) (End, error)
}

// Resolver is an Engine whose modules have names that can change.
type Resolver interface {
	Resolve(ctx context.Context, ref string) (digest [32]byte, err error)
}

// RefusedError blames the Task.
type RefusedError struct{ Reason string }

func (e *RefusedError) Error() string { return e.Reason }

// Refusef makes a *RefusedError.
func Refusef(format string, a ...any) error { return &RefusedError{fmt.Sprintf(format, a...)} }
