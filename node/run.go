package node

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/host"
	"github.com/ipfs-liftoff/liftoff/host/store"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node/api"
	"github.com/ipfs-liftoff/liftoff/runtime"
)

// Bounds of a Request and of what a Job's record holds.
const (
	maxLabels    = 64
	maxLabelSize = 4 << 10 // bytes of a label's name and value together
	maxLocal     = 100_000
	maxRefs      = 65_536
	maxFault     = 64 << 10 // bytes
)

// Run implements api.Jobs. The job is in the history from here on; its Task, Outcome,
// Receipt, module, inputs and output are pinned before it is reported as done. What it
// reports survives a kill of the process at once, and a loss of power after the store's
// next sync. An error of one of w's writers is returned as it is.
func (v *View) Run(ctx context.Context, r api.Request, w api.Watch) (api.Job, error) {
	n := v.node
	task, err := check(r)
	if err != nil {
		return api.Job{}, err
	}
	if n.store.ReadOnly() {
		return api.Job{}, apiError(ctx, &store.ReadOnlyError{Dir: n.store.Dir()})
	}
	id, err := n.self.identity()
	if err != nil {
		return api.Job{}, apiError(ctx, err)
	}
	j := api.Job{Task: task.CID(), Labels: r.Labels, Created: n.clock().UTC()}
	expires := time.Time{}
	if r.Keep != api.KeepForever {
		expires = j.Created.Add(r.Keep)
		if r.Keep == 0 {
			expires = j.Created.Add(api.DefaultKeep)
		}
	}
	n.history.begin(&j, expires)
	defer n.history.end(j.ID)
	e := evaluation{node: n, session: n.store.Begin(), self: id, r: r, task: task, expires: expires}
	defer e.session.End()
	hit, err := e.recall(ctx, w, &j)
	if err == nil && !hit {
		err = e.run(ctx, w, &j)
	}
	if err == nil {
		j.State, j.Ended = api.JobDone, n.clock().UTC()
		err = apiError(ctx, e.keep(ctx, j))
	}
	if err != nil {
		j.State, j.Err, j.Ended = api.JobFailed, api.AsError(err), n.clock().UTC()
		j.Outcome, j.Result, j.Receipt, j.Cached = cid.Undef, nil, cid.Undef, false
		e.keepFailed(j)
	}
	return j, err
}

// check returns r's Task as a block, or why r makes no sense.
func check(r api.Request) (dag.Block, error) {
	b, err := r.Task.Encode()
	if err != nil {
		return dag.Block{}, api.Errorf(api.CodeUsage, "%v", err)
	}
	switch {
	case r.Timeout < 0:
		return dag.Block{}, api.Errorf(api.CodeUsage, "a timeout of %v", r.Timeout)
	case r.Keep < 0 && r.Keep != api.KeepForever:
		return dag.Block{}, api.Errorf(api.CodeUsage, "a job cannot be kept for %v", r.Keep)
	case r.Limits.Pages > job.MaxPages:
		return dag.Block{}, api.Errorf(api.CodeUsage, "a memory limit of %d pages, at most %d", r.Limits.Pages, job.MaxPages)
	case len(r.Labels) > maxLabels:
		return dag.Block{}, api.Errorf(api.CodeUsage, "%d labels, at most %d", len(r.Labels), maxLabels)
	case len(r.Local) > maxLocal:
		return dag.Block{}, api.Errorf(api.CodeUsage, "%d local roots, at most %d", len(r.Local), maxLocal)
	}
	for k, v := range r.Labels {
		if k == "" || len(k)+len(v) > maxLabelSize {
			return dag.Block{}, api.Errorf(api.CodeUsage, "a label needs a name and has at most %d bytes", maxLabelSize)
		}
	}
	for _, c := range r.Local {
		if !c.Defined() {
			return dag.Block{}, api.Errorf(api.CodeUsage, "a local root without a CID")
		}
	}
	return dag.NewBlock(cid.DagCBOR, b), nil
}

// evaluation is one run on its way to an Outcome.
type evaluation struct {
	node    *Node
	session *store.Session // keeps inputs and output until the pin does
	self    host.Identity
	r       api.Request
	task    dag.Block
	expires time.Time
	blocks  []dag.Block    // to be committed
	records []store.Record // the same
	grant   runtime.Grant
}

// run evaluates the Task and fills in j what came of it. Its error is an *api.Error,
// or that of one of w's writers.
func (e *evaluation) run(ctx context.Context, w api.Watch, j *api.Job) error {
	executors, err := e.node.startRun(ctx)
	if err != nil {
		return apiError(ctx, err)
	}
	defer e.node.endRun()
	roots := e.roots()
	if err := e.hold(ctx, roots); err != nil {
		return apiError(ctx, err)
	}
	executor, err := executors.For(e.r.Task.ABI)
	if err != nil {
		return e.explain(ctx, err)
	}
	if e.grant, err = e.node.allowOwner(e.r.Task, e.r.Limits); err != nil {
		return e.explain(ctx, err)
	}
	asked := e.node.clock()
	result, began, err := e.execute(ctx, executor, roots, w, j)
	if err != nil {
		return err
	}
	j.Result, j.Fault = &result.Outcome, clip(result.Fault)
	j.Refs = result.Refs[:min(len(result.Refs), maxRefs)]
	j.Compile, j.Run = result.Compile, result.Elapsed
	return apiError(ctx, e.attest(ctx, j, executor.Traits(), began.Sub(asked)))
}

// root is a DAG that the Task names.
type root struct {
	what string // for people
	cid  cid.Cid
}

func (e *evaluation) roots() []root {
	roots := []root{{"the module", e.r.Task.Mod}}
	for i, in := range e.r.Task.In {
		name := in.Name
		if name == "" {
			name = strconv.Itoa(i)
		}
		roots = append(roots, root{"input " + name, in.CID})
	}
	if e.r.Task.Stdin.Defined() {
		roots = append(roots, root{"stdin", e.r.Task.Stdin})
	}
	return roots
}

// hold puts the Task and keeps everything that it names from collection, after a look
// that it is here.
func (e *evaluation) hold(ctx context.Context, roots []root) error {
	cids := make([]cid.Cid, 0, len(roots)+len(e.r.Local))
	for _, r := range roots {
		cids = append(cids, r.cid)
	}
	if err := e.session.Protect(ctx, append(cids, e.r.Local...)...); err != nil {
		return err
	}
	for _, r := range roots {
		has, err := e.session.Has(ctx, r.cid)
		if err != nil {
			return err
		}
		if !has {
			return &api.Error{
				Code: api.CodeMissing, Message: fmt.Sprintf("%s is not here: %s", r.what, r.cid),
				Hint: "bring it here with `liftoff car import FILE` or `liftoff add PATH`",
			}
		}
	}
	e.blocks = append(e.blocks, e.task)
	return nil
}

// execute runs the guest when its turn has come, and says when that was.
func (e *evaluation) execute(ctx context.Context, x runtime.Executor, roots []root, w api.Watch, j *api.Job) (runtime.Result, time.Time, error) {
	p, err := takePlace(ctx, e.node.places)
	if err != nil {
		return runtime.Result{}, time.Time{}, e.explain(ctx, err)
	}
	defer p.leave()
	began := e.node.clock()
	scratch, remove, err := e.node.store.NewScratch()
	if err != nil {
		return runtime.Result{}, began, apiError(ctx, err)
	}
	defer func() {
		if err := remove(); err != nil {
			e.node.log.Warn("a run's folder is not removed", "job", j.ID, "error", err)
		}
	}()
	if e.r.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, e.r.Timeout, runtime.ErrTimeout)
		defer cancel()
	}
	inputs := make([]cid.Cid, 0, len(roots))
	for _, r := range roots[1:] {
		inputs = append(inputs, r.cid)
	}
	made := newSmallBlocks(e.session)
	seen := newReads(made, e.r.Task.Mod, inputs)
	result, err := x.Run(ctx, e.r.Task, e.r.Limits.OrDefault(), runtime.Env{
		Blocks: seen, Scratch: scratch,
		Stdout: p.writer(w.Stdout), Stderr: p.writer(w.Stderr), Progress: w.Progress,
		Trusted: e.r.Trusted, Network: e.grant.Network,
	})
	j.Read = seen.total()
	if err == nil {
		e.blocks = append(e.blocks, made.blocks()...)
		return result, began, nil
	}
	if werr := p.writeErr(); werr != nil {
		return runtime.Result{}, began, werr
	}
	return runtime.Result{}, began, e.explain(ctx, err)
}

// explain turns an executor's error into an *api.Error.
func (e *evaluation) explain(ctx context.Context, err error) error {
	var refused *runtime.RefusedError
	var missing *dag.NotFoundError
	switch {
	case errors.Is(err, runtime.ErrTimeout):
		return &api.Error{
			Code: api.CodeTimeout, Message: fmt.Sprintf("the run did not end within %v", e.r.Timeout),
			Hint: "give it more time with --timeout",
		}
	case errors.As(err, &refused):
		return api.Errorf(api.CodeRefused, "%v", refused)
	case errors.As(err, &missing):
		return e.explainMissing(ctx, missing.CID)
	}
	return apiError(ctx, err)
}

// clip shortens what a guest may have made long.
func clip(s string) string {
	if len(s) <= maxFault {
		return s
	}
	return strings.ToValidUTF8(s[:maxFault], "") + "…"
}
