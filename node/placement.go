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

// placement is one of this node's jobs on its way through the market. It implements request.Node.
type placement struct {
	w       *network
	x       *running
	e       *evaluation // of the job; a local run has its own
	job     job.Order   // without audience; each attempt has its own nonce
	work    scheduler.Work
	printed *request.Printed // what an attached client was shown, over all attempts
	placed  func()           // called when no more peers are asked; nil: none is asked
	partial bool             // members were still being dialed when the candidates were listed

	mu         sync.Mutex
	localRun   *evaluation // of the local run that has ended
	localJob   api.Job     // what the local run filled in
	nonces     map[int][16]byte
	granted    map[job.DID]func() // functions that revoke a peer's access to the inputs
	mismatched map[job.DID]bool   // peers whose printed output differs from their Outcomes: they are not asked again
}

// orderLife is how long a signed Order can be awarded.
const orderLife = 10 * time.Minute

// place chooses a provider for the job and follows the run there.
func (w *network) place(ctx context.Context, x *running, e *evaluation, j *api.Job) error {
	t, err := w.newPlacement(ctx, x, e)
	if err != nil {
		return err
	}
	defer t.revokeGrants()
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
	run.Checkpoint = t.loadCheckpoint(ctx)
	err = t.retry(ctx, run, start, j)
	if werr := client.end(ctx); werr != nil {
		return werr // the client's error also ended the run
	}
	return err
}

// retry places the job until it is done, or no peer is left that would run it.
func (t *placement) retry(ctx context.Context, run *request.Run, start scheduler.Start, j *api.Job) error {
	w, x := t.w, t.x
	for began := w.node.clock(); ; {
		ending, err := t.attempt(ctx, run, start)
		j.Placement = toPlacement(ending.Record)
		j.Attempts += len(ending.Record.Awards)
		if err == nil {
			if err := t.finish(j, ending); err != nil {
				return err
			}
			return t.show(ctx, ending.Results[0])
		}
		if !t.canRetry(err, ending, began) {
			t.reportUnverified()
			return t.explain(ctx, err)
		}
		x.event(api.Event{Kind: api.EventWaiting, Text: "all peers are busy or unreachable; retrying"})
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
	waitBusy   = 2 * time.Second  // between two placements while all peers are busy
	waitSilent = 30 * time.Second // total time for peers that do not answer or are lost
	maxPlacing = 32               // jobs that ask peers for bids at once
)

// attempt places the job once. It frees its place among the jobs that ask for bids as soon as a peer has
// accepted the job.
func (t *placement) attempt(ctx context.Context, run *request.Run, start scheduler.Start) (request.Ending, error) {
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

// canRetry reports whether a job that no peer accepted should be offered again later: a busy peer becomes free,
// and a peer that does not answer or was lost may be overloaded or restarting.
func (t *placement) canRetry(err error, ending request.Ending, began time.Time) bool {
	var f *request.FailedError
	if !errors.As(err, &f) || f.Code != scheduler.CodeNoPeer && f.Code != scheduler.CodeExhausted {
		return false
	}
	dialing := t.partial || t.w.awaitsMembers()
	absent := ending.Broken || dialing // a member that is being dialed may accept the job
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
		t.w.node.clock().Sub(began) < waitSilent && (dialing || t.w.anyPeer())
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
	_, mismatched := evidence(x.snapshot().Mismatches)
	t := &placement{
		w: w, x: x, e: e, nonces: map[int][16]byte{}, granted: map[job.DID]func(){}, mismatched: mismatched,
		job: job.Order{
			Task: x.task.CID(), Limits: r.Limits.OrDefault(), Runs: max(1, r.Runs), Timeout: r.Timeout.Milliseconds(),
			Issuer: w.self.DID, Issued: now.UnixMilli(), Expires: now.Add(orderLife).UnixMilli(),
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

// run prepares the market run and this node's own bid.
func (t *placement) run(ctx context.Context) (*request.Run, scheduler.Start, error) {
	w := t.w
	t.partial = w.awaitsMembers()
	t.mu.Lock()
	rand.Read(t.job.Nonce[:]) // a peer accepts an award of a nonce only once
	clear(t.nonces)
	t.mu.Unlock()
	envelope, err := t.job.Sign(w.self.Key)
	if err != nil {
		return nil, scheduler.Start{}, api.Errorf(api.CodeUsage, "%v", err)
	}
	where, err := w.whereOf(t.x.request.Where)
	if err != nil {
		return nil, scheduler.Start{}, err
	}
	s := w.state(t.job, t.job.Limits.OrDefault()) // the ceiling applies to other peers only
	s.Closing, s.Load.Full = false, false         // its own jobs always fit into its queue
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

// loadCheckpoint returns what an earlier process has left of the job. Providers that still run it get access to the
// inputs again, and the results of runs that have ended are read again.
func (t *placement) loadCheckpoint(ctx context.Context) (l request.Checkpoint) {
	for _, lease := range t.x.checkpoint.Leases {
		id, err := host.IDOf(lease.Peer)
		if err != nil || !t.w.peer.Allows(id, host.ReceiveJobs) || t.grant(lease.Peer) != nil {
			continue
		}
		l.Leases = append(l.Leases, lease)
	}
	for _, r := range t.x.checkpoint.Results {
		b, err := t.e.session.Get(ctx, r.Outcome)
		if err == nil {
			r.Value, err = job.DecodeOutcome(b.Data())
		}
		if err != nil {
			t.w.node.log.Warn("read stored result of a peer's run", "job", t.x.id, "peer", r.Peer, "err", err)
			continue
		}
		l.Results = append(l.Results, r)
	}
	return l
}

// explain turns the error of a market run into an *api.Error. The error of a client's writer is returned
// unchanged.
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
		if summary := mismatchSummary(t.x.snapshot().Mismatches); summary != "" {
			return &api.Error{Code: api.CodeMismatch, Message: summary + noOther + f.Why, Hint: f.Hint}
		}
		if failed := t.w.unreached(); failed != "" && (f.Code == scheduler.CodeNoPeer || t.w.cfg.NoListen) {
			return &api.Error{
				Code: api.CodeNoPeer, Message: f.Why + "; not reached: " + failed,
				Hint: "check that `liftoff serve` is running there and that its port is reachable",
			}
		}
		return &api.Error{Code: api.CodeNoPeer, Message: f.Why, Hint: f.Hint}
	case scheduler.CodeCancelled:
		return apiError(ctx, context.Cause(ctx))
	case scheduler.CodeTimeout:
		return &api.Error{
			Code: api.CodeTimeout, Message: fmt.Sprintf("the run exceeded its time limit of %v", t.x.request.Timeout),
			Hint: "raise --timeout",
		}
	}
	return &api.Error{Code: api.Code(f.Code), Message: f.Why, Hint: f.Hint}
}
