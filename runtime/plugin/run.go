package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/runtime"
	"github.com/ipfs-liftoff/liftoff/runtime/plugin/wire"
)

// Run implements runtime.Executor.
func (e *Executor) Run(ctx context.Context, t job.Task, lim job.Limits, env runtime.Env) (runtime.Result, error) {
	if ctx.Err() != nil {
		return runtime.Result{}, context.Cause(ctx)
	}
	task, needModule, err := e.check(ctx, t, env)
	if err != nil {
		return runtime.Result{}, err
	}
	lim = lim.OrDefault()
	f := folder{blocks: env.Blocks, bytes: e.cfg.MaxInput, files: e.cfg.MaxFiles}
	if err := f.fill(ctx, env.Scratch, t, needModule && len(task.Module.Block) == 0); err != nil {
		return runtime.Result{}, err
	}
	r := run{
		executor: e, task: t, limits: lim, env: env, ctx: ctx,
		stdout: newLog(ctx, env.Blocks, env.Stdout), stderr: newLog(ctx, env.Blocks, env.Stderr),
	}
	dir, err := filepath.Abs(env.Scratch)
	if err != nil {
		return runtime.Result{}, err
	}
	if err := r.execute(wire.Run{
		ID: strconv.FormatUint(lastRun.Add(1), 10), Task: task, Dir: dir, Network: env.Network,
		Limits: wire.Limits{Fuel: lim.Fuel, Memory: lim.Pages << 16, Out: lim.Out, Tmp: lim.Tmp, Log: lim.Log},
	}); err != nil {
		return runtime.Result{}, err
	}
	return r.result(dir)
}

// lastRun numbers the runs of this process.
var lastRun atomic.Uint64

// run is the state of one run.
type run struct {
	executor *Executor
	task     job.Task
	limits   job.Limits
	env      runtime.Env
	ctx      context.Context // the caller's context
	stdout   *log
	stderr   *log
	logged   uint64 // bytes of both streams

	end    wire.End
	quota  *runtime.QuotaError // the limit that ended the run, if the guest did not
	began  time.Duration       // time until the guest began
	lasted time.Duration       // time of the whole run
}

// execute has a program run the guest, until the guest ends or the run is cancelled: see
// follow.
func (r *run) execute(w wire.Run) error {
	p, err := r.executor.running(r.ctx)
	if err != nil {
		return err
	}
	leave := p.enter()
	err = r.attempt(p, w)
	leave()
	if !p.usable() {
		r.executor.revive(r.ctx)
	}
	return err
}

// attempt runs the guest in p. If the node's own limits ended the run, r.quota is set. An error
// means that the guest has no end.
func (r *run) attempt(p *process, w wire.Run) error {
	body, err := json.Marshal(w)
	if err != nil {
		return err
	}
	e := r.executor
	// Everything that ends the run cancels ctx: the caller, a limit, a closed reader.
	ctx, stop := context.WithCancelCause(r.ctx)
	defer stop(nil)
	// The stream outlives ctx by the grace period, in which the program ends the guest.
	stream, hangUp := context.WithCancelCause(context.WithoutCancel(r.ctx))
	defer hangUp(nil)
	var helpers sync.WaitGroup
	defer helpers.Wait()
	ended, end := context.WithCancel(context.Background())
	defer end()
	helpers.Go(func() {
		select {
		case <-ended.Done():
			return
		case <-ctx.Done():
		}
		late, cancel := context.WithTimeoutCause(ended, e.cfg.Grace, errHung)
		defer cancel()
		_ = p.post(late, wire.PathCancel, wire.Cancel{ID: w.ID}, &struct{}{}) // the stream shows the effect
		<-late.Done()
		hangUp(context.Cause(late))
	})
	watching, unwatch := context.WithCancel(ctx)
	defer unwatch()
	helpers.Go(func() { watch(watching, w.Dir, r.limits, e.cfg.MaxFiles, stop) })

	begin := time.Now()
	err = r.follow(stream, p, body, stop)
	r.lasted = time.Since(begin)
	var broken *brokenError
	if errors.Is(err, errHung) || errors.As(err, &broken) {
		e.cfg.Log.Warn("plugin protocol violation", "plugin", e.name, "err", err)
		p.distrust()
	}
	var quota *runtime.QuotaError
	switch cause := context.Cause(ctx); {
	case r.ctx.Err() != nil:
		return context.Cause(r.ctx)
	case errors.As(cause, &quota):
		r.quota = quota
		return nil
	case cause != nil:
		return cause
	}
	return err
}

var errHung = errors.New("the plugin did not end the run")

// brokenError is an answer that the protocol does not allow, or a missing answer.
type brokenError struct{ error }

func (e *brokenError) Unwrap() error { return e.error }

// revive restarts a program that has died during a run: the new process removes what the run
// has left, before the run's folder is removed.
func (e *Executor) revive(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), e.cfg.Start)
	defer cancel()
	if _, err := e.running(ctx); err != nil {
		e.cfg.Log.Warn("restart plugin", "plugin", e.name, "err", err)
	}
}

// follow sends the run and reads its stream. It passes what should end the run to stop, and
// keeps reading: the end of the stream says that nothing is left of the guest.
func (r *run) follow(ctx context.Context, p *process, body []byte, stop func(error)) error {
	name := r.executor.name
	res, err := p.request(ctx, http.MethodPost, wire.PathRun, body)
	if err != nil {
		return r.executor.failed(ctx, p, "run", err)
	}
	defer res.Body.Close()
	events := newEvents(res.Body)
	for {
		ev, err := events.next()
		if err != nil {
			return &brokenError{r.executor.failed(ctx, p, "run", err)}
		}
		switch {
		case ev.End != nil:
			return r.ended(*ev.End)
		case ev.Refused != "":
			return runtime.Refusef("%s", reason(ev.Refused))
		case ev.Error != "":
			return fmt.Errorf("plugin %s: %s", name, reason(ev.Error))
		case ev.Progress != nil:
			if r.env.Progress != nil {
				r.env.Progress(ev.Progress.Done, ev.Progress.Total)
			}
		default:
			r.print(ev, stop)
		}
	}
}

// print passes on the guest's output, up to the limit.
func (r *run) print(ev wire.Event, stop func(error)) {
	l, b := r.stdout, ev.Stdout
	if len(ev.Stderr) > 0 {
		l, b = r.stderr, ev.Stderr
	}
	if r.ctx.Err() != nil || l.err != nil {
		return // the run is ending
	}
	if left := r.limits.Log - r.logged; uint64(len(b)) > left {
		b = b[:left]
		stop(&runtime.QuotaError{Code: job.QuotaLog})
	}
	r.logged += uint64(len(b))
	if l.write(b); l.err != nil {
		stop(l.err)
	}
}

// ended checks an end event and stores it.
func (r *run) ended(end wire.End) error {
	switch {
	case end.Exit < 0 || end.Exit > 255:
		return &brokenError{fmt.Errorf("plugin %s: invalid exit code %d", r.executor.name, end.Exit)}
	case end.Limit != "" && end.Limit != wire.LimitFuel && end.Limit != wire.LimitMemory:
		return &brokenError{fmt.Errorf("plugin %s: unknown limit %s", r.executor.name, quote(end.Limit))}
	}
	r.end = end
	r.began = time.Duration(min(max(0, end.Prepare), r.lasted.Milliseconds()+3_600_000)) * time.Millisecond
	return nil
}

// result returns the Outcome. dir is the run's folder.
func (r *run) result(dir string) (runtime.Result, error) {
	id, err := r.task.CID()
	if err != nil {
		return runtime.Result{}, err
	}
	o := job.Outcome{
		Task: id, Log: r.logged, Fuel: min(r.end.Fuel, r.limits.Fuel),
		Pages: min((r.end.Memory+1<<16-1)>>16, r.limits.Pages, job.MaxPages),
	}
	switch {
	case r.quota != nil:
		o.State, o.Code = job.Quota, r.quota.Code
	case r.end.Limit == wire.LimitFuel:
		o.State, o.Fuel = job.OutOfFuel, r.limits.Fuel
	case r.end.Limit == wire.LimitMemory:
		o.State, o.Code, o.Pages = job.Quota, job.QuotaPages, min(r.limits.Pages, job.MaxPages)
	case r.end.Exit != 0:
		o.State, o.Code = job.Exit, r.end.Exit
	default:
		o.State = job.OK
	}
	if o.Tmp, err = usage(r.ctx, filepath.Join(dir, tmpName), r.limits.Tmp, r.executor.cfg.MaxFiles); err != nil {
		return runtime.Result{}, err
	}
	if o.Tmp > r.limits.Tmp && r.quota == nil {
		o.State, o.Code, o.Tmp = job.Quota, job.QuotaTmp, r.limits.Tmp
	}
	if err := r.output(&o, dir); err != nil {
		return runtime.Result{}, err
	}
	if o.Stdout, err = r.stdout.finish(); err == nil {
		o.Stderr, err = r.stderr.finish()
	}
	if err != nil {
		return runtime.Result{}, err
	}
	if o.State == job.Quota || o.State == job.OutOfFuel {
		o.Limits = &r.limits
	}
	began := min(r.began, r.lasted)
	return runtime.Result{Outcome: o, Compile: began, Elapsed: r.lasted - began}, nil
}

// output stores the guest's output and records it in o.
func (r *run) output(o *job.Outcome, dir string) error {
	if o.State == job.OK || o.State == job.Exit {
		entry, size, err := r.take(filepath.Join(dir, outName))
		var quota *runtime.QuotaError
		switch {
		case errors.As(err, &quota):
			o.State, o.Code = job.Quota, quota.Code
		case err != nil:
			return err
		default:
			o.Root, o.Size = entry.CID, size
			return nil
		}
	}
	empty, err := dag.NewDirWriter(r.env.Blocks, outProfile).Finish(r.ctx)
	o.Root = empty.CID
	return err
}

// take stores what is below out if its size is within the limit. Sparse files count with their
// apparent size, before they are read.
func (r *run) take(out string) (dag.Entry, uint64, error) {
	n, err := usage(r.ctx, out, r.limits.Out, r.executor.cfg.MaxFiles)
	if err != nil {
		return dag.Entry{}, 0, err
	}
	if n > r.limits.Out {
		return dag.Entry{}, 0, &runtime.QuotaError{Code: job.QuotaOut}
	}
	return take(r.ctx, r.env.Blocks, out, r.limits.Out)
}
