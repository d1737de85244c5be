// Package wasm evaluates Tasks in wazero: it admits a module, compiles it or loads its compiled
// form, gives it its own instance with the host calls of package abi and a deterministic WASI,
// and returns an Outcome.
//
// One rule: an Outcome is a function of the Task alone. The host's cache, its speed and its
// missing resources can end a run without an Outcome, and are never visible to the guest.
//
// Every module is rewritten before it is compiled (package meter): its instructions are
// counted, and after every slice of fuel it calls the host, which can end it there and lets the
// rest of the process run.
package wasm

import (
	"context"
	"log/slog"

	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/runtime"
)

// Config configures an Executor. Its zero fields are the defaults.
type Config struct {
	// CacheDir keeps compiled modules between processes, which may share it. It is created if
	// needed, with a key file next to it. Empty: nothing is kept.
	CacheDir  string
	CacheMax  int64        // bytes of CacheDir; default 1 GiB
	MaxModule int64        // bytes of a module; default 32 MiB
	Log       *slog.Logger // nil: nothing is logged
	// Compiler is the command line of a program that calls CompileChild. It compiles the
	// modules of runs that are not Trusted; this needs a CacheDir. Nil: all modules are
	// compiled in this process.
	Compiler []string

	interpreter bool // tests compare wazero's interpreter with its compiler
}

// Executor runs modules. Creating one is cheap: it allocates what it needs at the first run.
type Executor struct {
	cfg     Config
	engine  *engine
	modules *modules
}

var _ runtime.Executor = (*Executor)(nil)

// New returns an Executor. The caller has to close it.
func New(_ context.Context, cfg Config) (*Executor, error) {
	if cfg.CacheMax == 0 {
		cfg.CacheMax = 1 << 30
	}
	if cfg.MaxModule == 0 {
		cfg.MaxModule = 32 << 20
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	e := &Executor{cfg: cfg, engine: &engine{cfg: cfg}}
	e.modules = newModules(e.engine)
	return e, nil
}

// Close frees the compiled modules and the cache's working folder. No run may be active or
// follow.
func (e *Executor) Close() error { return e.engine.close() }

// engineVersion names the engine in receipts. A test compares it with go.mod.
const engineVersion = "wazero v1.12.0"

// Traits implements runtime.Executor.
func (e *Executor) Traits() runtime.Traits {
	return runtime.Traits{
		Engine: "wasm", Version: engineVersion,
		ABIs: []string{job.ABILiftoff, job.ABIWASI}, Deterministic: true,
	}
}

// Check implements runtime.Executor: it compiles the module, so that a following Run starts at
// once.
func (e *Executor) Check(ctx context.Context, t job.Task, lim job.Limits, env runtime.Env) error {
	if err := t.Validate(); err != nil {
		return err
	}
	m, err := e.modules.get(ctx, t, env)
	if err != nil {
		return err
	}
	m.release()
	return nil
}
