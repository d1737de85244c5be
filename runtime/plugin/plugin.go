// Package plugin runs Tasks in separate programs: an [Executor] is a program named
// liftoff-executor-NAME, started when it is first needed. Package wire defines the protocol. A
// [Set] finds such programs.
//
// One rule: a fault of the program is an error of one run. It may crash, hang, flood or give
// false answers; every answer is size-limited before it is read and checked before it is used,
// and the node reads the inputs and stores the output itself. The program never sees blocks: it
// gets folders with files.
package plugin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/runtime"
	"github.com/ipfs-liftoff/liftoff/runtime/plugin/wire"
)

// Config configures how programs are run. Its zero fields are the defaults.
type Config struct {
	Owner string   // identifies the node, 16 hex digits: the next plugin of the same owner removes what an earlier one left behind
	Env   []string // environment of the programs, "K=V"; nil: this process's
	// Folder creates an empty private folder for a socket; nil: one below the system's
	// temporary folder.
	Folder   func() (path string, remove func() error, err error)
	Start    time.Duration // time limit for the first answer; default 10 seconds
	Answer   time.Duration // time limit for a check; default 1 minute
	Resolve  time.Duration // time limit for resolving a reference; default 10 minutes
	Grace    time.Duration // time for a cancelled run or a stopped program to end; default 2 seconds
	MaxInput uint64        // bytes of a run's inputs and module together; default 64 GiB
	MaxFiles int           // files of the inputs, and of the output; default 1,000,000
	Log      *slog.Logger  // nil: nothing is logged
}

func (c Config) orDefault() Config {
	for _, d := range []struct {
		have *time.Duration
		def  time.Duration
	}{{&c.Start, 10 * time.Second}, {&c.Answer, time.Minute}, {&c.Resolve, 10 * time.Minute}, {&c.Grace, 2 * time.Second}} {
		if *d.have == 0 {
			*d.have = d.def
		}
	}
	if c.MaxInput == 0 {
		c.MaxInput = 64 << 30
	}
	if c.MaxFiles == 0 {
		c.MaxFiles = 1_000_000
	}
	if c.Folder == nil {
		c.Folder = temporaryFolder
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Executor is a plugin. Its program is started at the first call that needs it, and again after
// it has died.
type Executor struct {
	name    string
	program string // absolute path
	cfg     Config

	mu      sync.Mutex // held while the program is started
	process *process   // nil: not running
	traits  runtime.Traits
	closed  bool
}

var _ runtime.Executor = (*Executor)(nil)

// New returns the executor of the program at an absolute path. It starts nothing.
func New(name, program string, cfg Config) *Executor {
	return &Executor{name: name, program: program, cfg: cfg.orDefault()}
}

// UnavailableError says why a plugin cannot be used.
type UnavailableError struct {
	Name string
	Err  error
}

func (e *UnavailableError) Error() string { return fmt.Sprintf("plugin %s: %v", e.Name, e.Err) }
func (e *UnavailableError) Unwrap() error { return e.Err }

// Traits implements runtime.Executor. They list no ABI if the program does not answer: see
// Probe.
func (e *Executor) Traits() runtime.Traits {
	t, err := e.Probe(context.Background())
	if err != nil {
		return runtime.Traits{Engine: e.name}
	}
	return t
}

// Probe starts the program if it is not running, and returns the traits that it reports, or an
// *UnavailableError.
func (e *Executor) Probe(ctx context.Context) (runtime.Traits, error) {
	_, err := e.running(ctx)
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.traits, err
}

// running returns the process, which it starts if needed.
func (e *Executor) running(ctx context.Context) (*process, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case e.closed:
		return nil, &UnavailableError{e.name, errors.New("plugin executor is closed")}
	case e.process != nil && e.process.usable():
		return e.process, nil
	case e.process != nil:
		e.process.stop(e.cfg.Grace)
		e.process = nil
	}
	p, err := start(e.program, e.cfg)
	if err != nil {
		return nil, &UnavailableError{e.name, err}
	}
	t, err := p.handshake(ctx, e.name)
	if err != nil {
		p.stop(0)
		return nil, &UnavailableError{e.name, err}
	}
	e.process, e.traits = p, t
	return p, nil
}

// handshake requests the traits and checks them.
func (p *process) handshake(ctx context.Context, name string) (runtime.Traits, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, p.cfg.Start, fmt.Errorf("program did not answer within %v", p.cfg.Start))
	defer cancel()
	var t wire.Traits
	if err := p.get(ctx, wire.PathTraits, &t); err != nil {
		return runtime.Traits{}, p.explain(err)
	}
	switch {
	case t.Protocol != wire.Version:
		return runtime.Traits{}, fmt.Errorf("program speaks protocol %d, this node %d: update the older of plugin and liftoff", t.Protocol, wire.Version)
	case t.Engine != name:
		return runtime.Traits{}, fmt.Errorf("program reports the name %s, which differs from its file name", quote(t.Engine))
	case len(t.ABIs) == 0 || len(t.ABIs) > 16:
		return runtime.Traits{}, fmt.Errorf("program reports %d ABIs, want 1 to 16", len(t.ABIs))
	case t.Version == "" || len(t.Version) > 128 || quote(t.Version) != `"`+t.Version+`"`:
		return runtime.Traits{}, fmt.Errorf("program reports the invalid version %s", quote(t.Version))
	case t.Problem != "":
		return runtime.Traits{}, errors.New(reason(t.Problem))
	}
	for _, abi := range t.ABIs {
		if !job.Foreign(abi) {
			return runtime.Traits{}, fmt.Errorf("program reports ABI %s, which is not open to plugins", quote(abi))
		}
	}
	return runtime.Traits{Engine: t.Engine, Version: t.Version, ABIs: t.ABIs}, nil
}

// Check implements runtime.Executor.
func (e *Executor) Check(ctx context.Context, t job.Task, lim job.Limits, env runtime.Env) error {
	_, _, err := e.check(ctx, t, env)
	return err
}

// check asks the program whether it can run t, and whether it needs the module.
func (e *Executor) check(ctx context.Context, t job.Task, env runtime.Env) (wire.Task, bool, error) {
	if err := t.Validate(); err != nil {
		return wire.Task{}, false, err
	}
	p, err := e.running(ctx)
	if err != nil {
		return wire.Task{}, false, err
	}
	if !slices.Contains(e.Traits().ABIs, t.ABI) {
		return wire.Task{}, false, runtime.Refusef("plugin %s does not run abi %q", e.name, t.ABI)
	}
	wt, err := wireTask(ctx, env.Blocks, t)
	if err != nil {
		return wire.Task{}, false, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, e.cfg.Answer, fmt.Errorf("plugin %s: no answer within %v", e.name, e.cfg.Answer))
	defer cancel()
	var c wire.Checked
	if err := p.post(ctx, wire.PathCheck, wt, &c); err != nil {
		return wire.Task{}, false, e.failed(ctx, p, "check", err)
	}
	if c.Refused != "" {
		return wire.Task{}, false, runtime.Refusef("%s", reason(c.Refused))
	}
	return wt, c.NeedModule, nil
}

// Resolve returns what ref names now. A *runtime.RefusedError says that it names nothing.
func (e *Executor) Resolve(ctx context.Context, ref string) (job.Image, error) {
	p, err := e.running(ctx)
	if err != nil {
		return job.Image{}, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, e.cfg.Resolve, fmt.Errorf("plugin %s: no answer within %v", e.name, e.cfg.Resolve))
	defer cancel()
	var r wire.Resolved
	if err := p.post(ctx, wire.PathResolve, wire.Resolve{Ref: ref}, &r); err != nil {
		return job.Image{}, e.failed(ctx, p, "resolve a reference", err)
	}
	if r.Refused != "" {
		return job.Image{}, runtime.Refusef("%s", reason(r.Refused))
	}
	i := job.Image{Ref: ref, Digest: r.Digest}
	if err := i.Validate(); err != nil {
		return job.Image{}, fmt.Errorf("plugin %s: %w", e.name, err)
	}
	return i, nil
}

// failed returns the error of a call: the cause of ctx, or the program's fault.
func (e *Executor) failed(ctx context.Context, p *process, doing string, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return fmt.Errorf("plugin %s: %s: %w", e.name, doing, p.explain(err))
}

// Close ends the program. Active runs end with an error.
func (e *Executor) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = true
	if e.process != nil {
		e.process.stop(e.cfg.Grace)
		e.process = nil
	}
	return nil
}

// cidText returns the form in which a CID is sent to a program.
func cidText(c cid.Cid) string { return job.V1(c).String() }
