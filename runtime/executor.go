// Package runtime says what an executor is: something that evaluates a Task to an
// Outcome. It holds the interface, its errors and the lookup by ABI; the suite that
// every executor passes is in runtimetest.
//
// One rule divides all that can go wrong: a guest that faults is an Outcome, a
// machine that faults is an error.
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

// Executor runs Tasks of the ABIs that its Traits name. Its methods may be called
// from several goroutines.
type Executor interface {
	Traits() Traits
	// Check reports whether t could run here: it reads and validates the module and
	// runs nothing. The error is a *RefusedError when the module is to blame.
	Check(ctx context.Context, t job.Task, lim job.Limits, env Env) error
	// Run evaluates t. What the guest does wrong is in the Result; an error means
	// that there is no Outcome: a *RefusedError (the module cannot run here), a
	// *dag.NotFoundError (a block is not to be had), the cause of ctx (for a
	// deadline, ErrTimeout), or a fault of this machine.
	Run(ctx context.Context, t job.Task, lim job.Limits, env Env) (Result, error)
}

// Traits is what a scheduler needs to know of an executor.
type Traits struct {
	Engine        string   // "wasm"
	Version       string   // what runs the guests, for receipts: "wazero v1.12.0"
	ABIs          []string // the values of Task.ABI that it runs
	Deterministic bool     // equal Tasks have equal Outcomes
}

// Env is the world of one run.
type Env struct {
	Blocks dag.Blocks // inputs are read from it, outputs are put into it
	// Scratch is an existing, empty, private folder for the run's temporary files.
	// The caller removes it.
	Scratch string
	// Stdout and Stderr receive what the guest prints, as it prints it; nil discards.
	// The stored copies are the executor's own. A write error ends the run.
	Stdout, Stderr io.Writer
	Progress       func(done, total int64) // the guest's own hint; may be nil
	// Trusted says that the module is this machine's owner's own: it may be compiled in
	// this process.
	Trusted bool
	// Network says that this machine's owner lets the guest reach the network, where its
	// engine can. Guests of WebAssembly never do.
	Network bool
}

// Result is what a run came to.
type Result struct {
	Outcome job.Outcome
	Fault   string // for a trap, what it was and the guest's stack, for people; else ""
	// Refs are the blocks that the output links to and that the run did not make:
	// parts of its inputs. Sorted by their bytes, each once.
	Refs    []cid.Cid
	Compile time.Duration // until the module could be instantiated; small when it was cached
	Elapsed time.Duration // the guest's own wall time
}

// ErrTimeout is the cause with which a caller cancels a run whose time is over.
var ErrTimeout = errors.New("the run's time is over")

// QuotaError ends a run that would exceed a limit: an executor's host calls panic
// with it or return it, and Run turns it into an Outcome of state quota.
type QuotaError struct{ Code int } // job.QuotaPages, …

func (e *QuotaError) Error() string {
	return fmt.Sprintf("a limit of the run is reached (quota code %d)", e.Code)
}

// RefusedError says why a module cannot run here.
type RefusedError struct{ Reason string }

func (e *RefusedError) Error() string { return "module refused: " + e.Reason }

// Refusef makes a *RefusedError.
func Refusef(format string, a ...any) error { return &RefusedError{fmt.Sprintf(format, a...)} }

// Executors finds the executor of a Task by its ABI.
type Executors []Executor

// Finder is an Executor that stands for others. It looks for the one of an ABI when that is
// asked for; its own Traits, which name all their ABIs, may take long.
type Finder interface {
	// Find returns the executor that runs abi. The error is a *RefusedError when there is
	// none, and any other when there is one that cannot be used at the moment.
	Find(abi string) (Executor, error)
}

// For returns the executor that runs abi, or a *RefusedError; any other error is that of a
// Finder.
func (es Executors) For(abi string) (Executor, error) {
	refused := Refusef("no executor here runs abi %q", abi)
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
