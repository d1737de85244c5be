package wasm

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/ipfs-liftoff/liftoff/abi"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/runtime"
	"github.com/ipfs-liftoff/liftoff/runtime/wasm/fuel"
	"github.com/ipfs-liftoff/liftoff/runtime/wasm/meter"
	"github.com/ipfs-liftoff/liftoff/runtime/wasm/wasi"
)

// outProfile is the DAG profile of everything that a run stores, job.OutProfile.
var outProfile = dag.UnixFSv1

// run is one evaluation of a Task. It belongs to the goroutine that runs the guest.
type run struct {
	ctx  context.Context
	done <-chan struct{} // ctx.Done(); nil if ctx cannot be cancelled
	task job.Task
	lim  job.Limits
	env  runtime.Env
	fuel *fuel.Account

	memory         *memory
	made           *made
	count          printed
	stdout, stderr *stream
	wasi           *wasi.System // nil if the module does not import it

	args, environ string // in the form that the guest reads
	handles       handles
	recent        recent
	links         struct { // links of the last block whose links were read
		of   cid.Cid
		list []cid.Cid
	}
	files      readers[*dag.File]
	dirs       readers[*dag.Dir]
	outputs    outputs
	progressed time.Time
}

// runKey is the key of the run in the context of a host call.
type runKey struct{}

// runContext is the context of a call into the guest.
type runContext struct {
	context.Context
	run *run
}

// Value implements context.Context.
func (c *runContext) Value(key any) any {
	if _, ok := key.(runKey); ok {
		return c.run
	}
	return c.Context.Value(key)
}

// checkCancelled ends the run if its context is done.
func (r *run) checkCancelled() {
	select {
	case <-r.done:
		end(context.Cause(r.ctx))
	default:
	}
}

// Run implements runtime.Executor.
func (e *Executor) Run(ctx context.Context, t job.Task, lim job.Limits, env runtime.Env) (runtime.Result, error) {
	id, err := t.CID()
	if err != nil {
		return runtime.Result{}, err
	}
	if ctx.Err() != nil {
		return runtime.Result{}, context.Cause(ctx)
	}
	begin := time.Now()
	m, err := e.modules.get(ctx, t, env)
	if err != nil {
		return runtime.Result{}, err
	}
	defer m.release()
	ready := time.Now()

	r, err := newRun(ctx, id, t, lim.OrDefault(), env, m)
	if err != nil {
		return runtime.Result{}, err
	}
	defer r.close()
	ended, err := r.evaluate(m)
	if err != nil {
		return runtime.Result{}, err
	}
	elapsed := time.Since(ready)
	res, err := r.result(id, ended)
	if err != nil {
		return runtime.Result{}, err
	}
	res.Fault, res.Compile, res.Elapsed = ended.fault, ready.Sub(begin), elapsed
	return res, nil
}

func newRun(ctx context.Context, id cid.Cid, t job.Task, lim job.Limits, env runtime.Env, m *module) (*run, error) {
	lim.Pages = min(lim.Pages, job.MaxPages)
	lim.Fuel = min(lim.Fuel, math.MaxInt64)
	r := &run{
		ctx: ctx, done: ctx.Done(), task: t, lim: lim, env: env, fuel: fuel.New(lim.Fuel, meter.Slice),
		memory: newMemory(lim.Pages), made: newMade(env.Blocks, lim.Out), count: printed{limit: lim.Log},
		handles: newHandles(), files: readers[*dag.File]{close: func(f *dag.File) { f.Close() }},
	}
	if m.runtime != nil {
		r.memory.returning = &m.runtime.returning
	}
	r.stdout = newStream(ctx, "stdout", &r.count, env.Stdout, env.Blocks)
	r.stderr = newStream(ctx, "stderr", &r.count, env.Stderr, env.Blocks)
	args, environ := t.Words()
	r.args, r.environ = terminated(args), terminated(environ)
	for _, in := range t.In {
		if _, errno := r.handles.add(&object{cid: in.CID}); errno != 0 {
			return nil, fmt.Errorf("open input %s of the task: %w", in.CID, errno)
		}
	}
	if !m.importsWASI() {
		return r, nil
	}
	var err error
	r.wasi, err = wasi.New(ctx, wasi.Config{
		Inputs: t.In, Stdin: t.Stdin, Blocks: env.Blocks, Scratch: env.Scratch,
		Stdout: r.stdout, Stderr: r.stderr,
		Args: append([]string{programName}, args...), Env: environ, Seed: [32]byte(id.Hash()[len(id.Hash())-32:]),
		TmpLimit: lim.Tmp, OutLimit: lim.Out, Profile: outProfile, NoOut: t.ABI == job.ABILiftoff,
		Fuel: r.fuel, Real: t.Det == job.DetNone,
	})
	if err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

// programName is argv[0] of a WASI command: a Task has no name for its module.
const programName = "main"

func (m *module) importsWASI() bool {
	for _, i := range m.imports {
		if i.module == wasiModule {
			return true
		}
	}
	return false
}

// close frees the run's resources outside of Go's heap.
func (r *run) close() {
	r.memory.Free()
	r.files.closeAll()
	if r.wasi != nil {
		_ = r.wasi.Close() // the caller removes the scratch folder anyway
	}
}

// evaluate runs the guest to its end. An error means that the run has no Outcome.
func (r *run) evaluate(m *module) (ending, error) {
	if uint64(m.minPages) > r.lim.Pages {
		return ending{state: job.Quota, code: job.QuotaPages}, nil
	}
	code, err := r.call(m)
	ended, err := m.classify(code, err)
	if err == nil && (r.fuel.Over() || !r.payOut(ended)) {
		ended = ending{state: job.OutOfFuel}
	}
	return ended, err
}

// payOut charges the fuel for hashing what a WASI command left in /out.
func (r *run) payOut(ended ending) bool {
	if r.task.ABI != job.ABIWASI || r.wasi == nil || !ended.clean() {
		return true
	}
	return r.fuel.Pay(r.wasi.OutSize() * abi.FuelHashByte)
}

// call instantiates the module and calls its entry. It returns the result of liftoff_run.
func (r *run) call(m *module) (code uint32, err error) {
	ctx := experimental.WithMemoryAllocator(r.ctx, r.memory)
	cfg := wazero.NewModuleConfig().WithName("").WithStartFunctions().WithRandSource(noRandom{})
	if r.wasi != nil {
		ctx = r.wasi.Context(ctx)
	}
	ctx = &runContext{ctx, r}
	mod, err := r.instantiate(ctx, m, cfg)
	if err != nil {
		return 0, err
	}
	defer mod.Close(context.WithoutCancel(ctx))
	fuel.Enter()
	defer fuel.Leave()
	for _, name := range []string{meter.StartExport, abi.ExportInitialize} {
		f := mod.ExportedFunction(name)
		if f == nil {
			continue
		}
		if _, err := f.Call(ctx); err != nil {
			return 0, err
		}
	}
	results, err := mod.ExportedFunction(r.task.Fn).Call(ctx)
	if err != nil || len(results) == 0 {
		return 0, err
	}
	return uint32(results[0]), nil
}

// noRandom replaces wazero's own source of randomness, which is not used here and takes longer
// to seed than an instance takes to create.
type noRandom struct{}

func (noRandom) Read([]byte) (int, error) {
	return 0, errors.New("no source of randomness in a deterministic run")
}

// instantiate creates the guest's instance, which runs nothing yet, and binds its counter to
// the account.
func (r *run) instantiate(ctx context.Context, m *module, cfg wazero.ModuleConfig) (mod api.Module, err error) {
	defer func() {
		// wazero does not recover the allocator's panics here.
		if p := recover(); p != nil {
			perr, ok := p.(error)
			if !ok {
				panic(p)
			}
			err = perr
		}
	}()
	if mod, err = m.runtime.InstantiateModule(ctx, m.compiled, cfg); err != nil {
		return nil, err
	}
	g, ok := mod.ExportedGlobal(meter.FuelExport).(api.MutableGlobal)
	if !ok {
		return nil, errors.Join(errors.New("bug: guest is not metered"), mod.Close(ctx))
	}
	r.fuel.Bind(g)
	return mod, nil
}

// result returns the Outcome of a guest that ended, and stores the blocks that it links to.
func (r *run) result(id cid.Cid, ended ending) (runtime.Result, error) {
	root, err := r.root(ended)
	var quota *runtime.QuotaError
	if errors.As(err, &quota) {
		ended = ending{state: job.Quota, code: quota.Code}
		root, err = r.emptyDir()
	}
	if err != nil {
		return runtime.Result{}, fmt.Errorf("store the guest's output: %w", err)
	}
	size, refs, err := r.made.below(r.ctx, root)
	if err != nil {
		return runtime.Result{}, fmt.Errorf("list blocks of the guest's output: %w", err)
	}
	o := job.Outcome{
		Task: id, State: ended.state, Code: ended.code, Root: job.V1(root), Size: size,
		Fuel: r.fuel.Spent(), Pages: r.memory.pages(), Log: r.count.used,
	}
	if o.State == job.OutOfFuel {
		o.Fuel = r.lim.Fuel
	}
	if r.wasi != nil {
		o.Tmp = r.wasi.TmpPeak()
	}
	if o.Stdout, err = r.stdout.finish(); err != nil {
		return runtime.Result{}, err
	}
	if o.Stderr, err = r.stderr.finish(); err != nil {
		return runtime.Result{}, err
	}
	if o.State == job.Quota || o.State == job.OutOfFuel {
		o.Limits = &r.lim
	}
	return runtime.Result{Outcome: o, Refs: refs}, nil
}

// root stores the run's output and returns its root.
func (r *run) root(ended ending) (cid.Cid, error) {
	switch {
	case r.task.ABI == job.ABIWASI && r.wasi != nil && ended.clean():
		r.made.limit = 1<<64 - 1 // wasi counted /out already
		e, err := r.wasi.FinishOut(r.ctx, r.made)
		return e.CID, err
	case r.task.ABI == job.ABILiftoff && ended.state == job.OK:
		e, err := r.outputs.root(r.ctx, r.made)
		return e.CID, err
	}
	return r.emptyDir()
}

func (r *run) emptyDir() (cid.Cid, error) {
	r.made.limit = 1<<64 - 1 // a run that exceeded its limit still has a root
	e, err := dag.NewDirWriter(r.made, outProfile).Finish(r.ctx)
	return e.CID, err
}
