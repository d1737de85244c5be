// Package runtime defines what an executor is: it evaluates a Task to an Outcome. The package
// holds the interface, its errors and the lookup by ABI; the test suite that every executor has
// to pass is in runtimetest.
//
// One rule separates all failures: a guest that faults is an Outcome, a machine that faults is
// an error.
package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
)

// Executor runs Tasks of the ABIs that its Traits list. Its methods are safe for concurrent
// use.
type Executor interface {
	Traits() Traits
	// Check reports whether t can run here: it reads and validates the module and runs nothing.
	// The error is a *RefusedError if the module is at fault.
	Check(ctx context.Context, t job.Task, lim job.Limits, env Env) error
	// Run evaluates t. A fault of the guest is in the Result; an error means that the run has
	// no Outcome: a *RefusedError (the module cannot run here), a *dag.NotFoundError (a block
	// is missing), the cause of ctx (ErrTimeout for a deadline), or a machine fault.
	Run(ctx context.Context, t job.Task, lim job.Limits, env Env) (Result, error)
}

// Traits describes an executor to a scheduler.
type Traits struct {
	Engine        string   // "wasm"
	Version       string   // the engine's name and version, for receipts: "wazero v1.12.0"
	ABIs          []string // the values of Task.ABI that it runs
	Deterministic bool     // equal Tasks have equal Outcomes
}

// Env is the environment of one run.
type Env struct {
	Blocks dag.Blocks // inputs are read from it, outputs are written to it
	// Scratch is an existing, empty, private folder for the run's temporary files. The caller
	// removes it.
	Scratch string
	// Stdout and Stderr receive the guest's output as it is printed; nil discards it. The
	// executor stores its own copies. A write error ends the run.
	Stdout, Stderr io.Writer
	Progress       func(done, total int64) // as reported by the guest; may be nil
	// Trusted says that the module belongs to the node's owner: it may be compiled in this
	// process.
	Trusted bool
	// Network says that the node's owner allows the guest to use the network, if the engine
	// supports it. WebAssembly guests never do.
	Network bool
}

// Result is the result of a run.
type Result struct {
	Outcome job.Outcome
	Fault   string // for a trap, its description and the guest's stack as text; else ""
	// Refs are the blocks that the output links to and that the run did not create: parts of
	// its inputs. Sorted by their bytes, without duplicates.
	Refs    []cid.Cid
	Compile time.Duration // time until the module could be instantiated; small if it was cached
	Elapsed time.Duration // wall time of the guest
}

// ErrTimeout is the cause with which a caller cancels a run that has used up its time.
var ErrTimeout = errors.New("run timed out")

// QuotaError ends a run that would exceed a limit: an executor's host calls panic with it or
// return it, and Run turns it into an Outcome of state quota.
type QuotaError struct{ Code int } // job.QuotaPages, …

func (e *QuotaError) Error() string {
	return fmt.Sprintf("run limit reached (quota code %d)", e.Code)
}

// RefusedError says why a module cannot run here.
type RefusedError struct{ Reason string }

func (e *RefusedError) Error() string { return "module refused: " + e.Reason }

// Refusef makes a *RefusedError.
func Refusef(format string, a ...any) error { return &RefusedError{fmt.Sprintf(format, a...)} }

// Executors finds the executor of a Task by its ABI.
type Executors []Executor

// Finder is an Executor that stands for others. It looks up the executor of an ABI on request;
// its own Traits, which list all their ABIs, may be slow.
type Finder interface {
	// Find returns the executor that runs abi. The error is a *RefusedError if no executor
	// does, and any other error if there is one that cannot be used at the moment.
	Find(abi string) (Executor, error)
}

// For returns the executor that runs abi, or a *RefusedError; any other error comes from a
// Finder.
func (es Executors) For(abi string) (Executor, error) {
	refused := Refusef("no executor for abi %q", abi)
	for _, e := range es {
		if f, ok := e.(Finder); ok {
			x, err := f.Find(abi)
			if err == nil {
				return x, nil
			}
			refused = err
			continue
		}
		for _, a := range e.Traits().ABIs {
			if a == abi {
				return e, nil
			}
		}
	}
	return nil, refused
}
