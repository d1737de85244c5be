package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/ipfs-liftoff/liftoff/host"
	"github.com/ipfs-liftoff/liftoff/host/exchange"
	"github.com/ipfs-liftoff/liftoff/host/market"
	"github.com/ipfs-liftoff/liftoff/host/store"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node/api"
	"github.com/ipfs-liftoff/liftoff/node/spool"
	"github.com/ipfs-liftoff/liftoff/scheduler"
)

// award is a job that this node runs as a provider.
type award struct {
	p        *provider
	from     peer.ID
	lease    market.Lease
	envelope cid.Cid // of the awarded Order
	signed   job.Order
	task     job.Task
	block    dag.Block // the encoded Task
	sources  []peer.AddrInfo
	refs     []cid.Cid // blocks that the output links to and the run did not create

	run     *market.Run
	spool   *spool.Spool
	session *store.Session
	ctx     context.Context // of the run
	cancel  context.CancelCauseFunc
	kept    chan struct{} // closed when the result is committed, or the run failed
	closed  chan struct{} // closed when the requester has closed the job

	once sync.Once

	mu          sync.Mutex
	retireTimer *time.Timer   // discards a result that the requester does not fetch
	reader      *spool.Reader // keeps the printed output readable; nil: it is read from the Outcome
	printed     job.Outcome   // the Outcome that has the printed output
	ended       time.Time     // zero: not ended
	isConnected bool          // the requester has a stream for it
	isAway      bool          // it has ended while no stream was open
	away        chan struct{} // closed when isAway becomes true; replaced when it becomes false
}

// Causes that end a job of another peer.
var (
	errLeaseOver = errors.New("the lease expired: no heartbeat from the requester")
	errClosedBy  = errors.New("the requester ended the job")
)

func newAward(p *provider, from peer.ID, r market.Request, a market.Awarded) *award {
	n := p.w.node
	x := &award{
		p: p, from: from, lease: a.Lease, envelope: a.Envelope, signed: a.Signed, task: r.Work,
		block:   dag.NewBlock(cid.DagCBOR, r.Task),
		sources: append(a.Sources, p.w.addrInfo(from)),
		spool:   &spool.Spool{Create: n.unnamed, Max: maxLog(a.Signed.Limits)},
		kept:    make(chan struct{}), closed: make(chan struct{}), away: make(chan struct{}), isConnected: true,
	}
	x.ctx, x.cancel = context.WithCancelCause(context.Background())
	x.reader, _ = x.spool.Open() // cannot fail: the spool was just created
	x.run = market.NewRun(market.RunConfig{
		Logs:    x.logs,
		Renewed: func() { p.w.queue.renew(scheduler.Lease(x.lease)) },
		Closed:  x.requesterClosed,
		Away:    x.disconnected,
	})
	return x
}

// logs writes all output of the guest, past and future.
func (x *award) logs(ctx context.Context, stdout, stderr io.Writer) error {
	r, err := x.spool.Open()
	if errors.Is(err, spool.ErrGone) {
		return show(ctx, x.session, x.printed, stdout, stderr)
	}
	if err != nil {
		return err
	}
	defer r.Close()
	return r.CopyTo(ctx, stdout, stderr)
}

// expired is called when the lease expires.
func (x *award) expired() { x.cancel(errLeaseOver) }

// requesterClosed is called when the requester closes the job.
func (x *award) requesterClosed(market.Why) {
	close(x.closed)
	x.cancel(errClosedBy)
	x.p.discardLater(x)
}

// disconnected is called when the last stream of the requester broke.
func (x *award) disconnected() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.isConnected = false
	x.signalAway()
}

// end records that the run has ended, with or without a result.
func (x *award) end() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.ended = x.p.w.node.clock()
	x.signalAway()
}

// signalAway lets a shutdown continue when no requester is connected to fetch the result. x.mu is held.
func (x *award) signalAway() {
	if !x.ended.IsZero() && !x.isConnected && !x.isAway {
		x.isAway = true
		close(x.away)
	}
}

// reattached is called when the requester is about to attach again.
func (x *award) reattached() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.isConnected = true
	if x.isAway {
		x.isAway, x.away = false, make(chan struct{})
	}
}

// deliveryEvents returns a channel that is closed when the requester has the result, and one that is closed when
// the requester is not connected to receive it.
func (x *award) deliveryEvents() (closed, away <-chan struct{}) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.closed, x.away
}

// work runs the job once it has its slot, and reports its result.
func (x *award) work(started <-chan struct{}) {
	defer close(x.kept)
	defer x.spool.End()
	defer x.p.w.queue.release(scheduler.Lease(x.lease))
	select {
	case <-started:
	case <-x.ctx.Done():
		x.fail(context.Cause(x.ctx))
		return
	}
	x.session = x.p.w.node.store.Begin()
	if err := x.evaluate(x.ctx); err != nil {
		x.fail(err)
	}
}

// evaluate runs the Task and delivers its result.
func (x *award) evaluate(ctx context.Context) error {
	w, n := x.p.w, x.p.w.node
	full := w.peer.Allows(x.from, host.ReceiveBlocks)
	tracked := x.session.Track()
	blocks := exchange.SessionConfig{Local: tracked, Requester: x.from}
	if full {
		blocks.Sources = w.andConnected(x.sources)
	} else { // the requester sends the blocks itself, unless they are published
		blocks.Local = newConfined(tracked, func(ctx context.Context, c cid.Cid) bool { return w.access.Allowed(ctx, x.from, c) })
		blocks.Sources = []peer.AddrInfo{w.addrInfo(x.from)}
	}
	source := w.exchange.Session(blocks)
	defer source.Close()
	e := &evaluation{
		local: blocks.Local,
		node:  n, session: x.session, self: w.self, task: x.block, slots: reserved{}, source: source, tracked: tracked,
		requester: w.requester(x.from), answers: answers{x.envelope, x.lease[:]}, expires: n.clock().Add(x.retention()),
		r: api.Request{Task: x.task, Limits: x.signed.Limits, Timeout: x.timeout()},
		phase: func(phase string) {
			x.run.Heartbeat(market.Heartbeat{Phase: phase, Fetched: uint64(source.Fetched().Bytes)})
		},
	}
	var j api.Job
	watch := api.Watch{Stdout: x.spool.Writer(spool.Stdout), Stderr: x.spool.Writer(spool.Stderr), Progress: x.progress(source)}
	var replay bool
	var err error
	if full { // a cached result would reveal what other requesters have run
		replay, err = e.replay(ctx, watch, &j, x.signed)
	}
	if err == nil && !replay {
		err = e.run(ctx, watch, &j)
	}
	n.metrics.ran(j, err)
	if err != nil {
		return err
	}
	x.run.Heartbeat(market.Heartbeat{Phase: phasePack})
	x.refs = e.refs
	if err := x.keep(ctx, e, j); err != nil {
		return err
	}
	if err := w.quota.use(ctx, x.task, uint64(source.Fetched().Bytes)+j.Outcome.Size); err != nil {
		return err
	}
	return x.deliver(ctx, j)
}

// progress returns a function that forwards the guest's progress to the requester.
func (x *award) progress(source *exchange.Session) func(done, total int64) {
	return func(done, total int64) {
		x.run.Heartbeat(market.Heartbeat{
			Phase: phaseRun, Done: uint64(max(0, done)), Total: uint64(max(0, total)), Fetched: uint64(source.Fetched().Bytes),
		})
	}
}

// timeout is how long the job may run on this node.
func (x *award) timeout() time.Duration {
	most := x.p.w.cfg.MaxTime
	if t := time.Duration(x.signed.Timeout) * time.Millisecond; t > 0 && t < most {
		return t
	}
	return most
}

// retention is how long the result is kept for its requester.
func (x *award) retention() time.Duration {
	most := x.p.w.cfg.Retain
	if t := time.Duration(x.signed.TTL) * time.Millisecond; t > 0 && t < most {
		return t
	}
	return most
}

// deliver reports the result to the requester, and keeps it until the requester closes the job.
func (x *award) deliver(ctx context.Context, j api.Job) error {
	receipt, err := x.session.Get(ctx, j.Receipt)
	if err != nil {
		return err
	}
	outcome, err := x.session.Get(ctx, j.OutcomeCID)
	if err != nil {
		return err
	}
	car, err := x.car(ctx, j)
	if err != nil {
		return err
	}
	x.printed = *j.Outcome
	x.end()
	x.retire(x.retention())
	x.run.Done(receipt.Data(), outcome.Data(), car)
	x.closeSpool()
	return nil
}

// closeSpool closes the spool's file, so that results waiting for absent requesters hold no open files.
func (x *award) closeSpool() {
	x.mu.Lock()
	r := x.reader
	x.reader = nil
	x.mu.Unlock()
	if r != nil {
		r.Close()
	}
}

// car returns a function that writes the result as a CAR: the blocks that the run created, without its inputs
// and without the parts of inputs that the output links to. Printed output is included whole, even where it
// repeats an input.
func (x *award) car(ctx context.Context, j api.Job) (func(context.Context, io.Writer) error, error) {
	taken := map[cid.Cid]bool{j.OutcomeCID: true, j.Receipt: true, j.Task: true}
	take := func(roots []cid.Cid, skip func(cid.Cid) bool) error {
		return dag.Walk(ctx, x.session, roots, dag.WalkOptions{Skip: skip}, func(v dag.Visited) error {
			taken[v.CID] = true
			return nil
		})
	}
	refs := make(map[cid.Cid]bool, len(x.refs))
	for _, c := range x.refs {
		refs[c] = true
	}
	err := take([]cid.Cid{j.Outcome.Root}, func(c cid.Cid) bool { return refs[c] })
	if err == nil {
		err = take(outputs(job.Outcome{Stdout: j.Outcome.Stdout, Stderr: j.Outcome.Stderr}), nil)
	}
	if err != nil {
		return nil, fmt.Errorf("collect blocks of the result: %w", err)
	}
	return func(ctx context.Context, w io.Writer) error {
		return dag.WriteCAR(ctx, w, x.session, []cid.Cid{j.OutcomeCID, j.Receipt}, dag.CAROptions{
			Skip: func(c cid.Cid) bool { return !taken[c] },
		})
	}, nil
}

// fail reports the error of a run without a result.
func (x *award) fail(err error) {
	x.end()
	f := market.FailedError{Code: job.RefuseFault, Why: err.Error()}
	var e *api.Error
	switch cause := context.Cause(x.ctx); {
	case errors.Is(cause, errHandedBack):
		f = market.FailedError{Code: job.RefuseClosing, Why: cause.Error()}
	case cause != nil:
		f.Why = cause.Error()
	case errors.As(err, &e):
		f.Code, f.Why = string(e.Code), e.Message
		f.Final = e.Code == api.CodeRefused || e.Code == api.CodeTimeout && x.timeout() < x.p.w.cfg.MaxTime
	}
	x.retire(failedFor)
	x.run.Fail(f)
}

// failedFor is how long a failure is kept for a requester whose stream broke.
const failedFor = time.Minute

// retire discards the job after a delay, but never before its run has ended, however short a retention the
// requester asked for.
func (x *award) retire(after time.Duration) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.retireTimer = time.AfterFunc(after, func() {
		<-x.kept
		x.discard()
	})
}

// discard removes the job and unpins its result.
func (x *award) discard() {
	x.p.remove(x)
	x.release()
	if err := x.p.w.node.dropRetained(x.lease); err != nil {
		x.p.w.node.log.Warn("delete retained result", "lease", fmt.Sprintf("%x", x.lease[:]), "err", err)
	}
}

// release frees the memory, files and session that the award holds.
func (x *award) release() {
	x.once.Do(func() {
		x.mu.Lock()
		if x.retireTimer != nil {
			x.retireTimer.Stop()
		}
		x.mu.Unlock()
		x.cancel(errClosedBy)
		x.closeSpool()
		if x.session != nil {
			x.session.End()
		}
	})
}
