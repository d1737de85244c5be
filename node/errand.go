package node

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	mrand "math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/ipfs-liftoff/liftoff/host"
	"github.com/ipfs-liftoff/liftoff/host/exchange"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node/api"
	"github.com/ipfs-liftoff/liftoff/node/request"
	"github.com/ipfs-liftoff/liftoff/scheduler"
)

// errand is one of this node's jobs on its way through the market: what package request
// needs of the node.
type errand struct {
	w      *network
	paced  *paced // shows an attached client what happens
	x      *running
	e      *evaluation // of the job; a run here has its own
	job    job.Job     // without audience; each attempt has its own nonce
	work   scheduler.Work
	placed func() // called when peers are not asked any more; nil: none are

	mu      sync.Mutex
	here    *evaluation // of the run here that came to its end
	did     api.Job     // what that run filled in
	nonces  map[int][16]byte
	granted map[job.DID]func() // what ends a peer's access to the inputs
}

var _ request.World = (*errand)(nil)

// jobLife is how long a peer may take the award of a signed Job.
const jobLife = 10 * time.Minute

// place finds who runs the job and has it run.
func (w *network) place(ctx context.Context, x *running, e *evaluation, j *api.Job) error {
	t, err := w.errand(ctx, x, e)
	if err != nil {
		return err
	}
	defer t.over()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if t.paced, err = x.pace(cancel); err != nil {
		return apiError(ctx, err)
	}
	defer t.paced.stop()
	if err := e.session.Protect(ctx, protected(x.request)...); err != nil {
		return apiError(ctx, err)
	}
	run, start, err := t.run(ctx)
	if err != nil {
		return apiError(ctx, err)
	}
	run.Left = t.takeUp(ctx)
	err = t.offer(ctx, run, start, j)
	if werr := t.paced.end(ctx); werr != nil {
		return werr // of the client's writer: it is why the rest ended, too
	}
	return err
}

// offer places the job until it is done, or nobody is left who would do it.
func (t *errand) offer(ctx context.Context, run *request.Run, start scheduler.Start, j *api.Job) error {
	w, x := t.w, t.x
	for began := w.node.clock(); ; {
		ending, err := t.do(ctx, run, start)
		j.Placement = placement(ending.Record)
		j.Attempts += len(ending.Record.Awards)
		if err == nil {
			return t.finish(j, ending)
		}
		if !t.patient(err, ending, began) {
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
func (t *errand) do(ctx context.Context, run *request.Run, start scheduler.Start) (request.Ending, error) {
	isTaken := len(run.Left.Leases)+len(run.Left.Results) >= max(1, run.Request.Job.Replicas)
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
func (t *errand) patient(err error, ending request.Ending, began time.Time) bool {
	var f *request.FailedError
	if !errors.As(err, &f) || f.Code != scheduler.CodeNoPeer && f.Code != scheduler.CodeExhausted {
		return false
	}
	absent := ending.Broken
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

func (w *network) errand(ctx context.Context, x *running, e *evaluation) (*errand, error) {
	r := x.request
	now := w.node.clock()
	t := &errand{
		w: w, x: x, e: e, nonces: map[int][16]byte{}, granted: map[job.DID]func(){},
		job: job.Job{
			Task: x.task.CID(), Limits: r.Limits.OrDefault(), Replicas: max(1, r.Replicas), Timeout: r.Timeout.Milliseconds(),
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
func (t *errand) run(ctx context.Context) (*request.Run, scheduler.Start, error) {
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
	l, err := w.locality(ctx, t.work, t.x.request.Task, 0)
	if err != nil {
		return nil, scheduler.Start{}, err
	}
	bid := scheduler.Offer(t.job, t.work, s, l)
	bid.Job = job.CIDOf(envelope)
	if where != scheduler.Local && (bid.Refuses() || bid.Missing > 0 || where != scheduler.Anywhere || t.job.Replicas > 1) {
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
			Job: t.job, CID: bid.Job, Self: w.self.DID, Where: where, Work: t.work, Alone: len(w.peer.Libp2p().Network().Peers()) == 0,
		},
		Config: cfg, Task: t.x.task.Data(), Limits: t.job.Limits, Market: w.client, World: t, Clock: w.node.clock,
	}, scheduler.Start{Self: bid, Capacity: &w.capacity}, nil
}

// reach dials the one peer that may run the job, unless it is connected: the window for
// bids is shorter than a dial may take. Whether it was of use shows when the peer is asked.
func (t *errand) reach(ctx context.Context, to job.DID) {
	id, err := host.IDOf(to)
	if err != nil || t.w.connected(id) {
		return
	}
	t.x.event(api.Event{
		Kind: api.EventWaiting, Peer: string(to), Text: fmt.Sprintf("%s is not connected: it is dialed, for at most %v", scheduler.Short(to), reachTime),
	})
	ctx, cancel := context.WithTimeout(ctx, reachTime)
	defer cancel()
	if err := t.w.peer.Libp2p().Connect(ctx, t.w.addrInfo(id)); err != nil {
		t.w.node.log.Debug("the peer that a job is for cannot be dialed", "peer", id, "error", err)
	}
}

// reachTime is how long the one peer that may run a job is dialed.
const reachTime = 3 * time.Second

// whereOf reads Request.Where: a peer may be named by its peer id, too.
func whereOf(s string) (string, error) {
	switch s {
	case api.WhereBest:
		return scheduler.Anywhere, nil
	case api.WhereLocal:
		return scheduler.Local, nil
	case api.WhereNetwork:
		return scheduler.OnNetwork, nil
	}
	if _, err := job.DID(s).Key(); err == nil {
		return s, nil
	}
	id, err := peer.Decode(s)
	var did job.DID
	if err == nil {
		did, err = host.DIDOf(id)
	}
	if err != nil {
		return "", &api.Error{
			Code: api.CodeUsage, Message: fmt.Sprintf("%q is neither local nor network nor a peer", s),
			Hint: "name a peer by its did:key or its peer id, as `liftoff peers` shows them",
		}
	}
	return string(did), nil
}

// over ends what the errand has allowed others.
func (t *errand) over() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, revoke := range t.granted {
		revoke()
	}
}

// Sign implements request.World. Who is to run the job may have its inputs from here.
func (t *errand) Sign(attempt int, to job.DID) ([]byte, error) {
	j := t.job
	t.mu.Lock()
	n, ok := t.nonces[attempt]
	if !ok {
		rand.Read(n[:])
		t.nonces[attempt] = n
	}
	t.mu.Unlock()
	now := t.w.node.clock()
	j.Attempt, j.Audience, j.Nonce = attempt, to, n
	j.Issued, j.Expires = now.UnixMilli(), now.Add(jobLife).UnixMilli()
	if to != "" {
		if err := t.grant(to); err != nil {
			return nil, err
		}
	}
	return j.Sign(t.w.self.Key)
}

func (t *errand) grant(to job.DID) error {
	id, err := host.IDOf(to)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.granted[to] == nil {
		t.granted[to] = t.w.access.Grant(id, taskRoots(t.x.request.Task)...)
	}
	return nil
}

// Peers implements request.World.
func (t *errand) Peers(ctx context.Context) []scheduler.Candidate {
	var all []scheduler.Candidate
	infos := t.w.peer.Peers()
	for _, p := range infos {
		if c, ok := candidate(p); ok {
			all = append(all, c)
		}
	}
	if len(all) > askAll {
		t.markHolders(ctx, infos, all)
	}
	return all
}

// askAll is how many peers are all asked for a bid, which tells what they hold.
const askAll = 8

// candidate is a peer as the scheduler knows it; ok is false for one that runs no jobs.
func candidate(p host.PeerInfo) (c scheduler.Candidate, ok bool) {
	if p.DID == "" || p.Relation == host.Data || !p.Connected && p.Hint == nil {
		return c, false
	}
	c = scheduler.Candidate{Peer: p.DID, Capacity: p.Capacity, Slots: -1}
	if p.Hint != nil {
		c.Slots = p.Hint.Slots
	}
	return c, true
}

// Bounds of the search for who holds inputs, among many peers.
const (
	haveTime  = 150 * time.Millisecond
	havePeers = 64
)

// markHolders asks connected peers whether they have the roots of the inputs.
func (t *errand) markHolders(ctx context.Context, infos []host.PeerInfo, all []scheduler.Candidate) {
	roots := taskRoots(t.x.request.Task)[1:]
	if len(roots) == 0 {
		return
	}
	roots = roots[:min(len(roots), 16)]
	ctx, cancel := context.WithTimeout(ctx, haveTime)
	defer cancel()
	var group sync.WaitGroup
	var mu sync.Mutex
	asked := 0
	for _, p := range infos {
		i := slices.IndexFunc(all, func(c scheduler.Candidate) bool { return c.Peer == p.DID })
		if i < 0 || !p.Connected || asked == havePeers {
			continue
		}
		asked++
		group.Go(func() {
			held, err := t.w.exchange.Have(ctx, peer.AddrInfo{ID: p.ID}, roots)
			if err == nil && slices.Contains(held, true) {
				mu.Lock()
				defer mu.Unlock()
				all[i].Holder = true
			}
		})
	}
	group.Wait()
}

// Announce implements request.World.
func (t *errand) Announce(ctx context.Context, a scheduler.Announce, found func(scheduler.Candidate)) error {
	r := t.x.request
	roots := taskRoots(r.Task)
	return t.w.peer.Announce(ctx, job.Announce{
		Task: t.x.task.CID(), ABI: r.Task.ABI, Inputs: roots[:min(len(roots), job.MaxAnnounceLinks)], Bytes: t.work.Bytes,
		Limits: t.job.Limits, Need: t.job.Need, Window: a.Window.Milliseconds(), Exclude: a.Exclude[:min(len(a.Exclude), job.MaxExclude)],
	}, func(id peer.ID) {
		if did, err := host.DIDOf(id); err == nil {
			found(scheduler.Candidate{Peer: did, Slots: -1})
		}
	})
}

// AddrInfo implements request.World.
func (t *errand) AddrInfo(p peer.ID) peer.AddrInfo { return t.w.addrInfo(p) }

// Here implements request.World. What is not here comes from peers that hold it.
func (t *errand) Here(ctx context.Context, sources []job.DID, out request.Output) (request.Result, error) {
	w, e := t.w, *t.e
	source := w.exchange.Session(exchange.SessionConfig{Local: e.session, Sources: t.sources(sources)})
	defer source.Close()
	e.source = source
	e.slots = &ownSlot{book: w.book, job: t.job}
	j := t.x.look()
	err := e.run(ctx, api.Watch{Stdout: out.Stdout, Stderr: out.Stderr, Progress: out.Progress}, &j)
	if err != nil {
		return request.Result{}, err
	}
	t.mu.Lock()
	t.here, t.did = &e, j
	t.mu.Unlock()
	return request.Result{Peer: w.self.DID, Outcome: j.Outcome, Receipt: j.Receipt, Value: *j.Result}, nil
}

// sources returns how peers are reached, and after them all others that are connected.
func (t *errand) sources(first []job.DID) []peer.AddrInfo {
	var all []peer.AddrInfo
	for _, d := range first {
		if id, err := host.IDOf(d); err == nil {
			all = append(all, t.w.addrInfo(id))
		}
	}
	for _, p := range t.w.peer.Peers() {
		if p.Connected && len(all) < maxFetchFrom && !slices.Contains(first, p.DID) {
			all = append(all, t.w.addrInfo(p.ID))
		}
	}
	return all
}

// maxFetchFrom bounds the peers that blocks are fetched from.
const maxFetchFrom = 16

// Refused implements request.World.
func (t *errand) Refused(ctx context.Context) error {
	executors, err := t.w.node.startRun(ctx)
	if err != nil {
		return nil
	}
	defer t.w.node.endRun()
	return t.w.node.refused(ctx, executors, t.x.request, t.e.session)
}

// Left implements request.World.
func (t *errand) Left(l request.Left) {
	if err := t.w.node.noteLeft(t.x, l); err != nil {
		t.w.node.log.Warn("who runs a job is not written down", "job", t.x.id, "error", err)
	}
}

// Calibrate implements request.World.
func (t *errand) Calibrate(c scheduler.Calibrate) {
	t.w.observe(c)
}

func (w *network) factor(d job.DID) float64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.calibration.Factor(d)
}

// Event implements request.World.
func (t *errand) Event(e api.Event) {
	if t.placed != nil && (e.Kind == api.EventAwarded || e.Kind == api.EventStarted) {
		t.placed()
	}
	t.x.event(e)
}

// Output implements request.World.
func (t *errand) Output() request.Output {
	return t.paced.output()
}

// takeUp returns what a process before has left of the job: who is at it may go on to get
// its inputs from here, and what others came to is read again.
func (t *errand) takeUp(ctx context.Context) (l request.Left) {
	for _, lease := range t.x.left.Leases {
		if err := t.grant(lease.Peer); err == nil {
			l.Leases = append(l.Leases, lease)
		}
	}
	for _, r := range t.x.left.Results {
		b, err := t.e.session.Get(ctx, r.Outcome)
		if err == nil {
			r.Value, err = job.DecodeOutcome(b.Data())
		}
		if err != nil {
			t.w.node.log.Warn("what a replica came to is not here any more", "job", t.x.id, "peer", r.Peer, "error", err)
			continue
		}
		l.Results = append(l.Results, r)
	}
	return l
}

// explain turns the end of a Placement into an *api.Error, and leaves a writer's alone.
func (t *errand) explain(ctx context.Context, err error) error {
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
		if who := t.w.unreached(); who != "" && (f.Code == scheduler.CodeNoPeer || t.w.cfg.NoListen) {
			return &api.Error{
				Code: api.CodeNobody, Message: f.Why + "; not reached: " + who,
				Hint: "see whether `liftoff serve` runs there and its port can be reached",
			}
		}
		return &api.Error{Code: api.CodeNobody, Message: f.Why, Hint: f.Hint}
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

// placement is a Record in the API's words, which are the same.
func placement(r scheduler.Record) *api.Placement {
	var p api.Placement
	b, err := json.Marshal(r)
	if err == nil {
		err = json.Unmarshal(b, &p)
	}
	if err != nil {
		panic(fmt.Sprintf("node: a placement's record: %v", err)) // two types of ours
	}
	return &p
}
