package node

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mrand "math/rand/v2"
	"sync"
	"time"

	"github.com/ipfs-liftoff/liftoff/host"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node/api"
	"github.com/ipfs-liftoff/liftoff/node/request"
	"github.com/ipfs-liftoff/liftoff/scheduler"
)

// errand is one of this node's jobs on its way through the market: what package request
// needs of the node.
type placement struct {
	w       *network
	x       *running
	e       *evaluation // of the job; a run here has its own
	job     job.Order   // without audience; each attempt has its own nonce
	work    scheduler.Work
	printed *request.Printed // what an attached client is shown, over all placements
	placed  func()           // called when peers are not asked any more; nil: none are

	mu      sync.Mutex
	here    *evaluation // of the run here that came to its end
	did     api.Job     // what that run filled in
	nonces  map[int][16]byte
	granted map[job.DID]func() // what ends a peer's access to the inputs
	liars   map[job.DID]bool   // have printed what their Outcomes do not say: they are not asked again
}

// jobLife is how long a peer may take the award of a signed Job.
const jobLife = 10 * time.Minute

// place finds who runs the job and has it run.
func (w *network) place(ctx context.Context, x *running, e *evaluation, j *api.Job) error {
	t, err := w.newPlacement(ctx, x, e)
	if err != nil {
		return err
	}
	defer t.over()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	client, err := x.pace(cancel)
	if err != nil {
		return apiError(ctx, err)
	}
	defer client.stop()
	t.printed = request.NewPrinted(client.output(), x.policy())
	if err := e.session.Protect(ctx, protected(x.request)...); err != nil {
		return apiError(ctx, err)
	}
	run, start, err := t.run(ctx)
	if err != nil {
		return apiError(ctx, err)
	}
	run.Checkpoint = t.takeUp(ctx)
	err = t.offer(ctx, run, start, j)
	if werr := client.end(ctx); werr != nil {
		return werr // of the client: it is why the rest ended, too
	}
	return err
}

// offer places the job until it is done, or nobody is left who would do it.
func (t *placement) offer(ctx context.Context, run *request.Run, start scheduler.Start, j *api.Job) error {
	w, x := t.w, t.x
	for began := w.node.clock(); ; {
		ending, err := t.do(ctx, run, start)
		j.Placement = toPlacement(ending.Record)
		j.Attempts += len(ending.Record.Awards)
		if err == nil {
			if err := t.finish(j, ending); err != nil {
				return err
			}
			return t.show(ctx, ending.Results[0])
		}
		if !t.patient(err, ending, began) {
			t.tellUnproven()
			return t.explain(ctx, err)
		}
		x.event(api.Event{Kind: api.EventWaiting, Text: "no peer can take it now: it waits"})
		if err := wait(ctx, waitBusy/2+mrand.N(waitBusy)); err != nil {
			return apiError(ctx, err)
		}
		if run, start, err = t.run(ctx); err != nil {
			return apiError(ctx, err)
		}
	}
}

// Waiting for peers.
const (
	waitBusy   = 2 * time.Second  // between two placements of a job for which all were busy
	waitSilent = 30 * time.Second // for peers that do not answer or are lost, in all
	maxPlacing = 32               // jobs for which peers are being asked at once
)

// do places the job, and lets others be placed as soon as it is with a peer.
func (t *placement) do(ctx context.Context, run *request.Run, start scheduler.Start) (request.Ending, error) {
	isTaken := len(run.Checkpoint.Leases)+len(run.Checkpoint.Results) >= max(1, run.Request.Job.Runs)
	if !isTaken && (start.Self.Refuses() || start.Self.Missing > 0 || run.Request.Where != scheduler.Anywhere) {
		if err := t.w.placing.Acquire(ctx, 1); err != nil {
			return request.Ending{}, context.Cause(ctx)
		}
		t.placed = sync.OnceFunc(func() { t.w.placing.Release(1) })
		defer t.placed()
	}
	return run.Do(ctx, start)
}

// patient reports whether a job that nobody took should be offered again later: who is
// busy will not be for ever, and who does not answer, or was lost, may only be overloaded
// or be starting again.
func (t *placement) patient(err error, ending request.Ending, began time.Time) bool {
	var f *request.FailedError
	if !errors.As(err, &f) || f.Code != scheduler.CodeNoPeer && f.Code != scheduler.CodeExhausted {
		return false
	}
	absent := ending.Broken || !t.w.triedAll() // a member that is being dialed may take it
	for _, p := range ending.Record.Peers {
		switch p.Code {
		case job.RefuseBusy, job.RefuseRate:
			return true
		case scheduler.CodeSilent, scheduler.CodeUnreached:
			absent = true
		}
	}
	where := ending.Record.Where
	return absent && (where == scheduler.Anywhere || where == scheduler.OnNetwork) &&
		t.w.node.clock().Sub(began) < waitSilent && t.w.anyPeer()
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (w *network) newPlacement(ctx context.Context, x *running, e *evaluation) (*placement, error) {
	r := x.request
	now := w.node.clock()
	_, liars := evidence(x.look().Mismatches)
	t := &placement{
		w: w, x: x, e: e, nonces: map[int][16]byte{}, granted: map[job.DID]func(){}, liars: liars,
		job: job.Order{
			Task: x.task.CID(), Limits: r.Limits.OrDefault(), Runs: max(1, r.Runs), Timeout: r.Timeout.Milliseconds(),
			Issuer: w.self.DID, Issued: now.UnixMilli(), Expires: now.Add(jobLife).UnixMilli(),
			Fresh: r.NoCache, Priority: r.Priority, Need: r.Need, Prefer: r.Prefer,
		},
	}
	c, err := w.node.coverage.of(ctx, taskRoots(r.Task)...)
	if err != nil {
		return nil, apiError(ctx, err)
	}
	mod, err := w.node.coverage.of(ctx, r.Task.Mod)
	if err != nil {
		return nil, apiError(ctx, err)
	}
	t.work = scheduler.Work{ABI: r.Task.ABI}
	if mod.Untold == 0 && mod.Exact {
		t.work.Module = mod.Have + mod.Missing
	}
	if c.Untold == 0 {
		t.work.Bytes = c.Have + c.Missing
	}
	if t.work.Fuel, err = w.node.fuelEstimate(r.Task.Mod, t.work.Bytes); err != nil {
		return nil, apiError(ctx, err)
	}
	return t, nil
}

// run prepares the Placement and this node's own price.
func (t *placement) run(ctx context.Context) (*request.Run, scheduler.Start, error) {
	w := t.w
	t.mu.Lock()
	rand.Read(t.job.Nonce[:]) // a peer takes the award of a nonce once
	clear(t.nonces)
	t.mu.Unlock()
	envelope, err := t.job.Sign(w.self.Key)
	if err != nil {
		return nil, scheduler.Start{}, api.Errorf(api.CodeUsage, "%v", err)
	}
	where, err := whereOf(t.x.request.Where)
	if err != nil {
		return nil, scheduler.Start{}, err
	}
	s := w.state(t.job, t.job.Limits.OrDefault()) // the ceiling is for others
	s.Closing, s.Load.Full = false, false         // its own jobs always find a place in its queue
	l, err := w.locality(ctx, t.work, t.x.request.Task, 0, nil)
	if err != nil {
		return nil, scheduler.Start{}, err
	}
	bid := scheduler.Offer(t.job, t.work, s, l)
	bid.Order = job.CIDOf(envelope)
	if where != scheduler.Local && (bid.Refuses() || bid.Missing > 0 || where != scheduler.Anywhere || t.job.Runs > 1) {
		switch where {
		case scheduler.Anywhere, scheduler.OnNetwork:
			w.awaitMembers(ctx)
		case string(w.self.DID):
		default:
			t.reach(ctx, job.DID(where))
		}
	}
	cfg := w.cfg.Placement
	cfg.Factor = w.factor
	return &request.Run{
		Request: scheduler.Request{
			Job: t.job, CID: bid.Order, Self: w.self.DID, Where: where, Work: t.work, Alone: !w.peer.AnyConnected(host.JoinGossip),
		},
		Config: cfg, Task: t.x.task.Data(), Limits: t.job.Limits, Market: w.client, Node: t, Clock: w.node.clock, Printed: t.printed,
	}, scheduler.Start{Self: bid, Capacity: &w.capacity}, nil
}

// takeUp returns what a process before has left of the job: who is at it may go on to get
// its inputs from here, and what others came to is read again.
func (t *placement) takeUp(ctx context.Context) (l request.Checkpoint) {
	for _, lease := range t.x.left.Leases {
		id, err := host.IDOf(lease.Peer)
		if err != nil || !t.w.peer.Allows(id, host.ReceiveJobs) || t.grant(lease.Peer) != nil {
			continue
		}
		l.Leases = append(l.Leases, lease)
	}
	for _, r := range t.x.left.Results {
		b, err := t.e.session.Get(ctx, r.Outcome)
		if err == nil {
			r.Value, err = job.DecodeOutcome(b.Data())
		}
		if err != nil {
			t.w.node.log.Warn("what a run came to is not here any more", "job", t.x.id, "peer", r.Peer, "err", err)
			continue
		}
		l.Results = append(l.Results, r)
	}
	return l
}

// explain turns the end of a Placement into an *api.Error, and leaves a writer's alone.
func (t *placement) explain(ctx context.Context, err error) error {
	var f *request.FailedError
	if !errors.As(err, &f) {
		var e *api.Error
		if errors.As(err, &e) {
			return e
		}
		if ctx.Err() != nil {
			return apiError(ctx, err)
		}
		return err
	}
	switch f.Code {
	case scheduler.CodeNoPeer, scheduler.CodeExhausted:
		if lied := lies(t.x.look().Mismatches); lied != "" {
			return &api.Error{Code: api.CodeMismatch, Message: lied + noOther + f.Why, Hint: f.Hint}
		}
		if who := t.w.unreached(); who != "" && (f.Code == scheduler.CodeNoPeer || t.w.cfg.NoListen) {
			return &api.Error{
				Code: api.CodeNoPeer, Message: f.Why + "; not reached: " + who,
				Hint: "see whether `liftoff serve` runs there and its port can be reached",
			}
		}
		return &api.Error{Code: api.CodeNoPeer, Message: f.Why, Hint: f.Hint}
	case scheduler.CodeCancelled:
		return apiError(ctx, context.Cause(ctx))
	case scheduler.CodeTimeout:
		return &api.Error{
			Code: api.CodeTimeout, Message: fmt.Sprintf("the run did not end within %v", t.x.request.Timeout),
			Hint: "give it more time with --timeout",
		}
	}
	return &api.Error{Code: api.Code(f.Code), Message: f.Why, Hint: f.Hint}
}
