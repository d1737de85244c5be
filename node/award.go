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

// award is a job that this peer runs for another.
type award struct {
	p        *provider
	from     peer.ID
	lease    market.Lease
	envelope cid.Cid // of the awarded Job
	signed   job.Order
	task     job.Task
	block    dag.Block // the Task's
	sources  []peer.AddrInfo
	refs     []cid.Cid // what the output links to and the run has not made

	run     *market.Run
	spool   *spool.Spool
	session *store.Session
	ctx     context.Context // of the run
	cancel  context.CancelCauseFunc
	kept    chan struct{} // closed when the result is committed, or there is none
	closed  chan struct{} // closed when the requester has said good-bye

	once sync.Once

	mu      sync.Mutex
	retired *time.Timer   // forgets a result that nobody comes for
	reader  *spool.Reader // keeps the output until the Outcome does; nil: it does
	printed job.Outcome   // where the output is then
	ended   time.Time     // zero: it has not
	heard   bool          // there is a conversation about it
	left    bool          // it has ended, and nobody heard of it since
	away    chan struct{} // closed when left becomes true; replaced when it becomes false
}

// Causes that end another's job.
var (
	errLeaseOver = errors.New("the lease is over: nothing was heard of the requester")
	errClosedBy  = errors.New("the requester has ended it")
)

func newAward(p *provider, from peer.ID, r market.Request, a market.Awarded) *award {
	n := p.w.node
	x := &award{
		p: p, from: from, lease: a.Lease, envelope: a.Envelope, signed: a.Signed, task: r.Work,
		block:   dag.NewBlock(cid.DagCBOR, r.Task),
		sources: append(a.Sources, p.w.addrInfo(from)),
		spool:   &spool.Spool{Create: n.unnamed, Max: maxLog(a.Signed.Limits)},
		kept:    make(chan struct{}), closed: make(chan struct{}), away: make(chan struct{}), heard: true,
	}
	x.ctx, x.cancel = context.WithCancelCause(context.Background())
	x.reader, _ = x.spool.Open() // nothing is over yet
	x.run = market.NewRun(market.RunConfig{
		Logs:    x.logs,
		Renewed: func() { p.w.book.renew(scheduler.Lease(x.lease)) },
		Closed:  x.farewell,
		Away:    x.abandoned,
	})
	return x
}

// logs shows all that was and will be printed.
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

// expired is called when the lease is over.
func (x *award) expired() { x.cancel(errLeaseOver) }

// farewell is called when the requester says that it is over.
func (x *award) farewell(market.Why) {
	close(x.closed)
	x.cancel(errClosedBy)
	x.p.letGo(x)
}

// abandoned is called when the last conversation broke.
func (x *award) abandoned() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.heard = false
	x.tellAway()
}

// end notes that there is a result, or will be none.
func (x *award) end() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.ended = x.p.w.node.clock()
	x.tellAway()
}

// tellAway lets a shutdown go on when nobody takes the result now. x.mu is held.
func (x *award) tellAway() {
	if !x.ended.IsZero() && !x.heard && !x.left {
		x.left = true
		close(x.away)
	}
}

// attached is called when the requester is about to hear of it again.
func (x *award) attached() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.heard = true
	if x.left {
		x.left, x.away = false, make(chan struct{})
	}
}

// taken returns what is closed when the requester has the result, and what is closed
// when it is not there to take it.
func (x *award) taken() (closed, away <-chan struct{}) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.closed, x.away
}

// work runs the job once it has its slot, and says what came of it.
func (x *award) work(started <-chan struct{}) {
	defer close(x.kept)
	defer x.spool.End()
	defer x.p.w.book.release(scheduler.Lease(x.lease))
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

// evaluate runs the Task and hands over what it came to.
func (x *award) evaluate(ctx context.Context) error {
	w, n := x.p.w, x.p.w.node
	full := w.peer.Allows(x.from, host.ReceiveBlocks)
	tracked := x.session.Track()
	blocks := exchange.SessionConfig{Local: tracked, Requester: x.from}
	if full {
		blocks.Sources = w.andConnected(x.sources)
	} else { // whatever it names is its own to send, or published
		blocks.Local = newConfined(tracked, func(ctx context.Context, c cid.Cid) bool { return w.access.Allowed(ctx, x.from, c) })
		blocks.Sources = []peer.AddrInfo{w.addrInfo(x.from)}
	}
	source := w.exchange.Session(blocks)
	defer source.Close()
	e := &evaluation{
		local: blocks.Local,
		node:  n, session: x.session, self: w.self, task: x.block, slots: reserved{}, source: source, tracked: tracked,
		asker: w.asker(x.from), answers: answers{x.envelope, x.lease[:]}, expires: n.clock().Add(x.retention()),
		r: api.Request{Task: x.task, Limits: x.signed.Limits, Timeout: x.timeout()},
		phase: func(phase string) {
			x.run.Heartbeat(market.Heartbeat{Phase: phase, Fetched: uint64(source.Fetched().Bytes)})
		},
	}
	var j api.Job
	watch := api.Watch{Stdout: x.spool.Writer(spool.Stdout), Stderr: x.spool.Writer(spool.Stderr), Progress: x.progress(source)}
	var replay bool
	var err error
	if full { // an answer from memory would say what others have run here
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

// progress passes on what the guest says of its progress.
func (x *award) progress(source *exchange.Session) func(done, total int64) {
	return func(done, total int64) {
		x.run.Heartbeat(market.Heartbeat{
			Phase: phaseRun, Done: uint64(max(0, done)), Total: uint64(max(0, total)), Fetched: uint64(source.Fetched().Bytes),
		})
	}
}

// timeout is how long the job may run here.
func (x *award) timeout() time.Duration {
	most := x.p.w.cfg.MaxTime
	if t := time.Duration(x.signed.Timeout) * time.Millisecond; t > 0 && t < most {
		return t
	}
	return most
}

// retention is how long the result waits for its requester.
func (x *award) retention() time.Duration {
	most := x.p.w.cfg.Retain
	if t := time.Duration(x.signed.TTL) * time.Millisecond; t > 0 && t < most {
		return t
	}
	return most
}

// deliver tells the requester, and keeps the result until it says good-bye.
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
	x.unspool()
	return nil
}

// unspool lets the spool's file go: however many results wait for requesters that do not
// come, no file is open for them.
func (x *award) unspool() {
	x.mu.Lock()
	r := x.reader
	x.reader = nil
	x.mu.Unlock()
	if r != nil {
		r.Close()
	}
}

// car returns what writes the result: what the run has made, and neither its inputs nor
// the parts of them that the output links to. What was printed is whole, though it may be
// what was read.
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
		return nil, fmt.Errorf("gather the result: %w", err)
	}
	return func(ctx context.Context, w io.Writer) error {
		return dag.WriteCAR(ctx, w, x.session, []cid.Cid{j.OutcomeCID, j.Receipt}, dag.CAROptions{
			Skip: func(c cid.Cid) bool { return !taken[c] },
		})
	}, nil
}

// fail says why nothing came of it.
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

// failedFor is how long a failure is remembered for a requester whose stream broke.
const failedFor = time.Minute

// retire discards the job after some time: however short its requester has made that, not
// before the work at it is over.
func (x *award) retire(after time.Duration) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.retired = time.AfterFunc(after, func() {
		<-x.kept
		x.discard()
	})
}

// discard forgets the job and lets its result go.
func (x *award) discard() {
	x.p.forget(x)
	x.release()
	if err := x.p.w.node.unretain(x.lease); err != nil {
		x.p.w.node.log.Warn("a result that nobody waits for stays", "lease", fmt.Sprintf("%x", x.lease[:]), "err", err)
	}
}

// release lets go of what the award holds in memory.
func (x *award) release() {
	x.once.Do(func() {
		x.mu.Lock()
		if x.retired != nil {
			x.retired.Stop()
		}
		x.mu.Unlock()
		x.cancel(errClosedBy)
		x.unspool()
		if x.session != nil {
			x.session.End()
		}
	})
}
