package node

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/host/store"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node/api"
	"github.com/ipfs-liftoff/liftoff/node/request"
	"github.com/ipfs-liftoff/liftoff/runtime"
)

// Bounds of a Request and of a Job's record.
const (
	maxLabels    = 64
	maxLabelSize = 4 << 10 // bytes of name plus value
	maxLocal     = 100_000
	maxRefs      = 65_536
	maxFault     = 64 << 10 // bytes
)

// Run implements api.Jobs. The job is in the history from here on; its Task, Outcome, Receipt, module, inputs
// and output are pinned before it is reported as done. What it reports survives a kill of the process at once,
// and a power failure after the store's next sync. An error of one of w's writers is returned unchanged.
func (v *View) Run(ctx context.Context, r api.Request, w api.Watch) (api.Job, error) {
	x, err := v.node.accept(ctx, r, w)
	if err != nil {
		return api.Job{}, err
	}
	j, err := v.node.runJob(ctx, x)
	return j, x.clientError(j, err)
}

// accept creates a job from a request. The job is running from here on, and the caller must call runJob.
func (n *Node) accept(ctx context.Context, r api.Request, w api.Watch) (*running, error) {
	task, err := check(r)
	if err != nil {
		return nil, err
	}
	if n.store.ReadOnly() {
		return nil, apiError(ctx, &store.ReadOnlyError{Dir: n.store.Dir()})
	}
	if err := n.room(); err != nil {
		return nil, apiError(ctx, err)
	}
	id, err := n.self.identity()
	if err != nil {
		return nil, apiError(ctx, err)
	}
	j := api.Job{Task: task.CID(), Labels: r.Labels, Created: n.clock().UTC()}
	x := &running{
		request: r, task: task, self: id, session: n.store.Begin(), watch: w,
		clock: n.clock, spool: n.newSpool(r), job: j,
	}
	if r.Keep != api.KeepForever {
		x.expires = j.Created.Add(r.Keep)
		if r.Keep == 0 {
			x.expires = j.Created.Add(api.DefaultKeep)
		}
	}
	n.history.begin(x)
	x.event(api.Event{Kind: api.EventSubmitted, Text: "submitted as " + x.id})
	return x, nil
}

// runJob runs a job until it ends, with a result or an error.
func (n *Node) runJob(ctx context.Context, x *running) (api.Job, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	x.setCancel(cancel)
	defer x.viewers.Wait()
	defer func() { n.metrics.ended(x.snapshot()) }()
	defer n.history.end(x.id)
	defer x.session.End()
	j := x.snapshot()
	e := evaluation{
		node: n, session: x.session, self: x.self, requester: runtime.Requester{Role: runtime.Owner}, r: x.request, task: x.task, expires: x.expires,
	}
	e.evidence, _ = evidence(j.Mismatches) // found by an earlier process
	hit, err := e.answerFromCache(ctx, x.watch, &j)
	if err == nil && !hit {
		err = n.evaluate(ctx, x, &e, &j)
	}
	j.Ended = n.clock().UTC()
	if err == nil {
		j.State = api.JobDone
		x.fillEvents(&j)
		x.append(&j, doneEvent(j))
		err = apiError(ctx, e.keep(ctx, j))
		if err == nil && x.request.Publish {
			err = n.View.Publish(ctx, j.Outcome.Root)
		}
	}
	if err != nil && x.submitted && errors.Is(context.Cause(ctx), request.ErrReturning) {
		x.spool.End()
		return j, err // the next `liftoff serve` resumes it
	}
	if err != nil && len(j.Runs) > 0 && codeIs(err, api.CodeDisagree) {
		j.State, j.Err = api.JobFailed, api.AsError(err)
		x.fillEvents(&j)
		x.append(&j, failedEvent(j))
		if kerr := e.keepDisagreement(context.WithoutCancel(ctx), j); kerr != nil {
			n.log.Warn("keep evidence of disagreeing runs", "job", j.ID, "err", kerr)
		}
		x.finish(j)
		return j, err
	}
	if err != nil {
		j.State, j.Err = api.JobFailed, api.AsError(err)
		x.fillEvents(&j)
		j.OutcomeCID, j.Outcome, j.Receipt, j.Cached = cid.Undef, nil, cid.Undef, false
		x.append(&j, failedEvent(j))
		e.keepFailed(x, &j)
	}
	x.finish(j)
	return j, err
}

// evaluate gets the Task's Outcome, from a run on this node or on another, and fills in j.
func (n *Node) evaluate(ctx context.Context, x *running, e *evaluation, j *api.Job) error {
	w := n.net.Load()
	if w == nil {
		var leave func()
		var err error
		if w, leave, err = n.joinForJob(ctx, x); err != nil {
			return err
		}
		defer leave()
	}
	if w != nil {
		return w.place(ctx, x, e, j)
	}
	x.event(api.Event{Kind: api.EventStarted, Text: "running on this node"})
	out := x.output()
	if !x.request.PrintAfterCheck {
		return e.run(ctx, out, j)
	}
	if err := e.run(ctx, api.Watch{Progress: out.Progress}, j); err != nil {
		return err
	}
	return show(ctx, overlay{e.session, e.blocks}, *j.Outcome, out.Stdout, out.Stderr)
}

func failedEvent(j api.Job) api.Event {
	return api.Event{Kind: api.EventFailed, Text: j.Err.Message, Fields: map[string]string{"code": string(j.Err.Code)}}
}

func codeIs(err error, code api.Code) bool {
	var e *api.Error
	return errors.As(err, &e) && e.Code == code
}

// doneEvent is the last event of j: a line about its Outcome.
func doneEvent(j api.Job) api.Event {
	text := "done"
	switch o := j.Outcome; {
	case j.Cached:
		text = "done: cached result"
	case o.State == job.Exit:
		text = fmt.Sprintf("done: exit code %d", o.Code)
	case o.State != job.OK:
		text = "done: " + string(o.State)
	}
	return api.Event{Kind: api.EventDone, Text: text, Peer: j.Where, Fields: map[string]string{"outcome": j.OutcomeCID.String()}}
}

// check returns r's Task as a block, or the reason why the request is invalid.
func check(r api.Request) (dag.Block, error) {
	b, err := r.Task.Encode()
	if err != nil {
		return dag.Block{}, api.Errorf(api.CodeUsage, "%v", err)
	}
	switch {
	case r.Timeout < 0:
		return dag.Block{}, api.Errorf(api.CodeUsage, "negative timeout %v", r.Timeout)
	case r.Keep < 0 && r.Keep != api.KeepForever:
		return dag.Block{}, api.Errorf(api.CodeUsage, "negative retention time %v", r.Keep)
	case r.Limits.Pages > job.MaxPages:
		return dag.Block{}, api.Errorf(api.CodeUsage, "memory limit: got %d pages, want at most %d", r.Limits.Pages, job.MaxPages)
	case len(r.Labels) > maxLabels:
		return dag.Block{}, api.Errorf(api.CodeUsage, "job: got %d labels, want at most %d", len(r.Labels), maxLabels)
	case r.Runs < 0 || r.Runs > api.MaxRuns:
		return dag.Block{}, api.Errorf(api.CodeUsage, "got %d runs, want at most %d", r.Runs, api.MaxRuns)
	case r.Runs > 1 && r.Task.Det == job.DetNone:
		return dag.Block{}, api.Errorf(api.CodeUsage, "a task with --nondet cannot have more than one run: outcomes may differ")
	case len(r.Local) > maxLocal:
		return dag.Block{}, api.Errorf(api.CodeUsage, "got %d roots of local data, want at most %d", len(r.Local), maxLocal)
	}
	for k, v := range r.Labels {
		if k == "" || len(k)+len(v) > maxLabelSize {
			return dag.Block{}, api.Errorf(api.CodeUsage, "job label: want a name, and at most %d bytes of name and value", maxLabelSize)
		}
	}
	for _, c := range r.Local {
		if !c.Defined() {
			return dag.Block{}, api.Errorf(api.CodeUsage, "root of local data without a CID")
		}
	}
	return dag.NewBlock(cid.DagCBOR, b), nil
}

// protected returns the roots of all data that a request needs.
func protected(r api.Request) []cid.Cid {
	roots := []cid.Cid{r.Task.Mod}
	for _, in := range r.Task.In {
		roots = append(roots, in.CID)
	}
	if r.Task.Stdin.Defined() {
		roots = append(roots, r.Task.Stdin)
	}
	return append(roots, r.Local...)
}

// maxLog is how many bytes a guest may print under the limits l.
func maxLog(l job.Limits) int64 { return int64(min(l.OrDefault().Log, math.MaxInt64)) }
