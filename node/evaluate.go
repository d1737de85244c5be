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
	"github.com/ipfs-liftoff/liftoff/host/exchange"
	"github.com/ipfs-liftoff/liftoff/host/store"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/node/api"
	"github.com/ipfs-liftoff/liftoff/runtime"
)

// Phases of a run, as heartbeats report them.
const (
	phaseQueue   = "queue"
	phaseFetch   = "fetch"
	phaseCompile = "compile"
	phaseRun     = "run"
	phasePack    = "pack"
)

// evaluation is one run of a Task on this machine: for a client, for a submitted job, or for another peer.
type evaluation struct {
	node      *Node
	session   *store.Session // keeps inputs and output until they are pinned
	self      host.Identity
	r         api.Request
	task      dag.Block
	expires   time.Time
	slots     slots              // nil: the node's slots
	source    *exchange.Session  // over tracked; nil: all inputs must be in the repo
	tracked   *store.Tracked     // blocks that the run reads from the repo; nil: set by run
	local     dag.Blocks         // the repo's blocks that the run may read; nil: session
	phase     func(phase string) // reports the phase of the run; may be nil
	refs      []cid.Cid          // all blocks that the output links to and the run did not create
	answers   answers            // the award that the Receipt answers
	requester runtime.Requester  // the zero Requester may not use any executor
	grant     runtime.Grant      // what the policy allows the requester
	blocks    []dag.Block        // to be committed
	evidence  []cid.Cid          // outcomes and receipts of peers whose results were rejected: kept with the job
	records   []store.Record     // to be committed
}

// answers is the award that a Receipt answers; the zero value is for a run without an award.
type answers struct {
	job   cid.Cid
	lease []byte
}

// run runs the Task and fills in j the result. Its error is an *api.Error, or that of one of w's writers.
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
	if e.grant, err = e.node.allow(e.requester, e.r.Task, e.r.Limits); err != nil {
		return e.explain(ctx, err)
	}
	if e.tracked == nil {
		e.tracked = e.session.Track()
	}
	asked := e.node.clock()
	result, began, err := e.execute(ctx, executor, roots, w, j)
	if err == nil {
		err = apiError(ctx, e.tracked.Recheck(ctx)) // sign only a result of the blocks that the Task names
	}
	if err != nil {
		return err
	}
	j.Outcome, j.Fault = &result.Outcome, clip(result.Fault)
	e.refs = result.Refs
	j.Refs = result.Refs[:min(len(result.Refs), maxRefs)]
	j.Compile, j.Run = result.Compile, result.Elapsed
	j.Where = string(e.self.DID)
	return apiError(ctx, e.attest(ctx, j, executor.Traits(), began.Sub(asked)))
}

// root is a DAG that the Task names.
type root struct {
	what string // for messages
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

// hold stores the Task and protects everything that it names from collection, after checking that the repo has
// its roots.
func (e *evaluation) hold(ctx context.Context, roots []root) error {
	cids := make([]cid.Cid, 0, len(roots)+len(e.r.Local))
	for _, r := range roots {
		cids = append(cids, r.cid)
	}
	if err := e.session.Protect(ctx, append(cids, e.r.Local...)...); err != nil {
		return err
	}
	e.blocks = append(e.blocks, e.task)
	if e.source != nil {
		return nil
	}
	for _, r := range roots {
		has, err := e.session.Has(ctx, r.cid)
		if err != nil {
			return err
		}
		if !has {
			return &api.Error{
				Code: api.CodeMissing, Message: fmt.Sprintf("%s is not in this repo: %s", r.what, r.cid),
				Hint: "`liftoff car import FILE` or `liftoff add PATH` brings the data into this repo",
			}
		}
	}
	return nil
}

// execute runs the guest once it has a slot, and returns when it got the slot.
func (e *evaluation) execute(ctx context.Context, x runtime.Executor, roots []root, w api.Watch, j *api.Job) (runtime.Result, time.Time, error) {
	slots := e.slots
	if slots == nil {
		slots = e.node.slots
	}
	p, err := acquireSlot(ctx, slots)
	if err != nil {
		return runtime.Result{}, time.Time{}, e.explain(ctx, err)
	}
	defer p.close()
	began := e.node.clock()
	scratch, remove, err := e.node.store.NewScratch()
	if err != nil {
		return runtime.Result{}, began, apiError(ctx, err)
	}
	defer func() {
		if err := remove(); err != nil {
			e.node.log.Warn("remove scratch folder", "job", j.ID, "err", err)
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
	var inputsOf dag.Blocks = e.tracked
	if e.source != nil {
		inputsOf = e.source
	}
	made := newSmallBlocks(inputsOf)
	seen := newReads(made, e.r.Task.Mod, inputs)
	env := runtime.Env{
		Blocks: seen, Scratch: scratch,
		Stdout: p.writer(w.Stdout), Stderr: p.writer(w.Stderr), Progress: w.Progress,
		Trusted: e.r.Trusted, Network: e.grant.Network,
	}
	if err := e.prepare(ctx, x, env); err != nil {
		return runtime.Result{}, began, e.explain(ctx, err)
	}
	result, err := x.Run(ctx, e.r.Task, e.r.Limits.OrDefault(), env)
	j.Read = seen.total()
	if e.source != nil {
		f := e.source.Fetched()
		j.Fetched = api.Read{Blocks: int(f.Blocks), Bytes: f.Bytes}
	}
	if err == nil {
		e.blocks = append(e.blocks, made.blocks()...)
		return result, began, nil
	}
	if werr := p.writeErr(); werr != nil {
		return runtime.Result{}, began, werr
	}
	return runtime.Result{}, began, e.explain(ctx, err)
}

// prepare fetches and compiles the module before the run, if phases are reported.
func (e *evaluation) prepare(ctx context.Context, x runtime.Executor, env runtime.Env) error {
	if e.phase == nil {
		return nil
	}
	if e.source != nil {
		e.phase(phaseFetch)
		if err := dag.Walk(ctx, e.source, []cid.Cid{e.r.Task.Mod}, dag.WalkOptions{Data: true, Opaque: dag.IgnoreOpaque}, func(dag.Visited) error { return nil }); err != nil {
			return err
		}
	}
	e.phase(phaseCompile)
	if err := x.Check(ctx, e.r.Task, e.r.Limits.OrDefault(), env); err != nil {
		return err
	}
	e.phase(phaseRun)
	return nil
}

// explain converts an executor's error into an *api.Error.
func (e *evaluation) explain(ctx context.Context, err error) error {
	var refused *runtime.RefusedError
	var denied *runtime.DeniedError
	var missing *dag.NotFoundError
	switch {
	case errors.Is(err, runtime.ErrTimeout):
		return &api.Error{
			Code: api.CodeTimeout, Message: fmt.Sprintf("the run exceeded its time limit of %v", e.r.Timeout),
			Hint: "raise --timeout",
		}
	case errors.As(err, &refused):
		return api.Errorf(api.CodeRefused, "%v", refused)
	case errors.As(err, &denied):
		return api.Errorf(api.CodeRefused, "%s: %v", policyName, denied)
	case errors.As(err, &missing):
		return e.explainMissing(ctx, missing.CID)
	}
	return apiError(ctx, err)
}

// clip shortens a fault message, whose length the guest controls.
func clip(s string) string {
	if len(s) <= maxFault {
		return s
	}
	return strings.ToValidUTF8(s[:maxFault], "") + "…"
}
