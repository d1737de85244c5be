package node

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/ipfs-liftoff/liftoff/host"
	"github.com/ipfs-liftoff/liftoff/host/market"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node/request"
	"github.com/ipfs-liftoff/liftoff/runtime"
	"github.com/ipfs-liftoff/liftoff/scheduler"
)

// provider implements market.Provider: it prices orders by the admission queue and by the data that the node
// holds, and runs the jobs that are awarded to it.
type provider struct {
	w *network

	mu         sync.Mutex
	awards     map[market.Lease]*award
	working    sync.WaitGroup // runs that have not ended
	discarding sync.WaitGroup // awards that are being discarded
}

var _ market.Provider = (*provider)(nil)

func newProvider(w *network) *provider {
	return &provider{w: w, awards: map[market.Lease]*award{}}
}

// Admit implements market.Provider.
func (p *provider) Admit(from peer.ID) error {
	if p.w.closing.Load() {
		return &market.FailedError{Code: job.RefuseClosing, Why: "it is shutting down"}
	}
	did, err := host.DIDOf(from)
	if err != nil || !p.w.peer.Allows(from, host.SendJobs) {
		return &market.FailedError{Code: job.RefusePolicy, Why: "not authorized: the provider accepts jobs only from members of its cluster and from listed peers"}
	}
	if bid, ok := p.w.queue.takeAsk(did); !ok {
		return &market.FailedError{Code: bid.Code, Why: bid.Refusal}
	}
	return nil
}

// Ask implements market.Provider. Cheap checks come first; the data that the node holds is measured only for a
// job that the node would accept.
func (p *provider) Ask(ctx context.Context, from peer.ID, r market.Request) job.Bid {
	if code, why := scheduler.Timely(r.Signed, p.w.node.clock()); code != "" {
		return scheduler.Refuse(code, why)
	}
	w := scheduler.Work{ABI: r.Work.ABI, Bytes: r.Bytes, Module: r.Module, Fuel: r.Fuel, Output: r.Output}
	if p.w.node.room() != nil {
		return scheduler.Refuse(job.RefuseDisk, diskFull)
	}
	s := p.w.state(r.Signed, p.w.ceiling(from))
	if bid := scheduler.Offer(r.Signed, w, s, scheduler.Locality{}); bid.Refuses() {
		return bid
	}
	if _, err := p.w.node.allow(p.w.requester(from), r.Work, r.Signed.Limits.OrDefault()); err != nil {
		var denied *runtime.DeniedError
		if errors.As(err, &denied) {
			return scheduler.Refuse(job.RefusePolicy, denied.Error())
		}
		p.w.node.log.Error("read policy file: no executor is offered to peers", "err", err)
		return scheduler.Refuse(job.RefuseFault, "its policy file is invalid")
	}
	l, err := p.w.locality(ctx, w, r.Work, p.w.rtt(from), p.w.visibleTo(from))
	if err != nil {
		p.w.node.log.Warn("measure held inputs for a bid", "peer", from, "err", err)
		return scheduler.Refuse(job.RefuseFault, "it could not measure the inputs that it holds")
	}
	return scheduler.Offer(r.Signed, w, s, l)
}

// diskFull is the reason that a requester gets.
const diskFull = "its disk is full"

// bids reports whether this node would bid for an announced job.
func (p *provider) bids(a job.Announce) bool {
	if p.w.closing.Load() || p.w.server == nil || p.w.node.room() != nil {
		return false
	}
	j := job.Order{Limits: a.Limits, Need: a.Need, Issuer: a.Issuer}
	id, err := host.IDOf(a.Issuer)
	if err != nil {
		return false
	}
	bid := scheduler.Offer(j, scheduler.Work{ABI: a.ABI, Bytes: a.Bytes}, p.w.state(j, p.w.ceiling(id)), scheduler.Locality{})
	return !bid.Refuses()
}

// state is this node's current state, for a job under a ceiling.
func (w *network) state(j job.Order, ceiling job.Limits) scheduler.State {
	c := w.capacity
	c.Ceiling = ceiling
	return scheduler.State{
		Capacity: c, Load: w.queue.load(j.Limits.OrDefault().Pages * pageSize), Disk: w.quota.room(), Closing: w.closing.Load(),
	}
}

// requester is a peer in the terms of the executor policy.
func (w *network) requester(from peer.ID) runtime.Requester {
	did, err := host.DIDOf(from)
	if err != nil {
		return runtime.Requester{}
	}
	switch w.peer.RelationFor(from, host.SendJobs) {
	case host.Member:
		return runtime.Requester{DID: did, Role: runtime.Member}
	case host.Granted:
		return runtime.Requester{DID: did, Role: runtime.Granted}
	case host.OpenPeer:
		return runtime.Requester{DID: did, Role: runtime.Open}
	}
	return runtime.Requester{} // the peer has lost its relation since it was admitted
}

// ceiling returns the highest limits that a peer may request.
func (w *network) ceiling(from peer.ID) job.Limits {
	if w.peer.Allows(from, host.FullLimits) {
		return w.cfg.Ceiling
	}
	return w.cfg.OpenCeiling
}

// rtt is the round-trip time to p, 0 when it is unknown.
func (w *network) rtt(p peer.ID) time.Duration {
	return w.peer.Libp2p().Peerstore().LatencyEWMA(p)
}

// locality measures how much of a Task's module and inputs the node holds. If the requester states their total
// size, the missing size follows from it; a root of unknown size counts with a typical size. A root that is not
// visible to the requester counts as missing, so that the bid does not reveal whether the node has it.
func (w *network) locality(ctx context.Context, k scheduler.Work, t job.Task, rtt time.Duration, sees visible) (scheduler.Locality, error) {
	roots := taskRoots(t)
	all, err := w.covers(ctx, sees, roots...)
	if err != nil {
		return scheduler.Locality{}, err
	}
	l := scheduler.Locality{Have: all.Have, Missing: all.Missing, Exact: all.Exact, Depth: all.Depth, RTT: rtt}
	switch {
	case all.Untold == 0 && all.Exact:
	case k.Bytes > all.Have:
		l.Missing = max(all.Missing, k.Bytes-all.Have)
	case all.Untold > 0:
		mod, err := w.covers(ctx, sees, roots[0])
		if err != nil {
			return scheduler.Locality{}, err
		}
		guess := usualInput * uint64(min(all.Untold-mod.Untold, job.MaxInputs))
		switch {
		case mod.Untold == 0:
		case k.Module > mod.Have+mod.Missing:
			l.Missing += k.Module - mod.Have - mod.Missing
		default:
			guess += usualModule
		}
		l.Exact = all.Exact && guess == 0
		// An estimate raises the price, but is never a reason to refuse.
		l.Missing += min(guess, w.quota.room()-min(w.quota.room(), l.Missing))
	}
	return l, nil
}

// visible reports whether a requester may see a root; nil: it may see all.
type visible func(context.Context, cid.Cid) bool

// visibleTo returns which roots the jobs of peer from see before that peer has sent any block.
func (w *network) visibleTo(from peer.ID) visible {
	if w.peer.Allows(from, host.ReceiveBlocks) {
		return nil
	}
	return func(ctx context.Context, c cid.Cid) bool { return w.access.Allowed(ctx, from, c) }
}

// covers measures how much the node holds of the visible roots.
func (w *network) covers(ctx context.Context, sees visible, roots ...cid.Cid) (dag.Coverage, error) {
	if sees == nil {
		return w.node.coverage.of(ctx, roots...)
	}
	shown, hidden := roots[:0:0], map[cid.Cid]bool{}
	for _, c := range roots {
		if sees(ctx, c) {
			shown = append(shown, c)
		} else {
			hidden[c] = true
		}
	}
	all, err := w.node.coverage.of(ctx, shown...)
	if n := len(hidden); n > 0 { // hidden roots count as missing
		all.Lacks, all.Untold, all.Depth = all.Lacks+n, all.Untold+n, max(all.Depth, 1)
	}
	return all, err
}

// Assumed sizes, in bytes, of missing data of unknown size. usualInput is large enough that a provider that
// holds the inputs is the better choice, with or without the module.
const (
	usualModule = 2 << 20
	usualInput  = 256 << 20
)

// Award implements market.Provider.
func (p *provider) Award(_ context.Context, from peer.ID, r market.Request, a market.Awarded) (*market.Run, time.Duration, error) {
	if p.w.node.room() != nil {
		return nil, 0, &market.DeclinedError{Why: diskFull}
	}
	w := scheduler.Work{ABI: r.Work.ABI, Bytes: r.Bytes}
	s := p.w.state(a.Signed, p.w.ceiling(from))
	s.Load = scheduler.Load{} // the admission queue decides about the load
	if bid := scheduler.Offer(a.Signed, w, s, scheduler.Locality{}); bid.Refuses() {
		return nil, 0, &market.DeclinedError{Why: bid.Refusal}
	}
	if a.For <= 0 { // the queue takes 0 for a lease that never expires
		return nil, 0, &market.DeclinedError{Why: "award: lease duration is 0, want more"}
	}
	x := newAward(p, from, r, a)
	started, start, err := p.w.queue.reserve(scheduler.Reservation{
		Lease: scheduler.Lease(a.Lease), Job: a.Signed, For: a.For, Queue: a.Queue,
	}, x.expired)
	var declined *scheduler.Decline
	if errors.As(err, &declined) {
		return nil, 0, &market.DeclinedError{Why: declined.Why, Queue: declined.Queue}
	}
	if err != nil {
		return nil, 0, err
	}
	if !p.addAward(x) {
		p.w.queue.release(scheduler.Lease(a.Lease))
		return nil, 0, &market.DeclinedError{Why: "it is shutting down"}
	}
	go func() {
		defer p.working.Done()
		x.work(started)
	}()
	return x.run, start, nil
}

// addAward adds an award, unless the node is shutting down or has that lease already.
func (p *provider) addAward(x *award) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.w.closing.Load() || p.awards[x.lease] != nil {
		return false
	}
	if old := p.oldest(x.from); old != nil {
		p.discardLater(old)
	}
	p.awards[x.lease] = x
	p.working.Add(1)
	return true
}

// maxAwards is how many awards of one requester are kept at most: beyond it, the result that has waited longest
// is discarded.
const maxAwards = 256

// oldest returns the award of a requester whose result has waited longest, if the requester has too many; else
// nil. p.mu is held.
func (p *provider) oldest(from peer.ID) (old *award) {
	if len(p.awards) < maxAwards {
		return nil
	}
	var since time.Time
	n := 0
	for _, x := range p.awards {
		if x.from != from {
			continue
		}
		n++
		x.mu.Lock()
		ended := x.ended
		x.mu.Unlock()
		if !ended.IsZero() && (old == nil || ended.Before(since)) {
			old, since = x, ended
		}
	}
	if n < maxAwards {
		return nil
	}
	return old
}

// discardLater discards an award once its run has ended.
func (p *provider) discardLater(x *award) {
	p.discarding.Go(func() {
		<-x.kept
		x.discard()
	})
}

// Attach implements market.Provider.
func (p *provider) Attach(_ context.Context, from peer.ID, a market.Attach) (*market.Run, error) {
	p.mu.Lock()
	x := p.awards[a.Lease]
	p.mu.Unlock()
	if x == nil || x.from != from || x.envelope != a.Order {
		return nil, &market.FailedError{Code: request.CodeUnknown, Why: "the provider does not know this lease"}
	}
	x.reattached()
	return x.run, nil
}

// remove removes an award from the known ones.
func (p *provider) remove(x *award) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.awards[x.lease] == x {
		delete(p.awards, x.lease)
	}
}

// drain accepts no more awards and waits for the running ones. When ctx ends it hands the rest back. It returns
// when no run is left.
func (p *provider) drain(ctx context.Context) {
	p.mu.Lock() // no award is added from here on
	p.w.closing.Store(true)
	p.mu.Unlock()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.working.Wait()
	}()
	select {
	case <-ended:
	case <-ctx.Done():
		for _, x := range p.all() {
			x.cancel(errHandedBack)
		}
		<-ended
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), notifyTimeout)
		defer cancel()
	}
	p.delivered(ctx)
}

// notifyTimeout is how long, beyond the grace period, requesters are told that their jobs are handed back. A
// requester that is not told finds out by its missing heartbeats.
const notifyTimeout = time.Second

// delivered waits until each connected requester has its result or its failure, or ctx ends.
func (p *provider) delivered(ctx context.Context) {
	for _, x := range p.all() {
		closed, away := x.deliveryEvents()
		select {
		case <-closed:
		case <-away:
		case <-ctx.Done():
			return
		}
	}
}

func (p *provider) all() []*award {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []*award
	for _, x := range p.awards {
		all = append(all, x)
	}
	return all
}

// close frees the memory that the awards hold, after all their streams have ended. Results that wait for their
// requesters stay pinned.
func (p *provider) close() {
	p.discarding.Wait()
	for _, x := range p.all() {
		x.release()
	}
}

// errHandedBack is the cause that ends another peer's job when this node shuts down.
var errHandedBack = errors.New("the provider is shutting down")

// taskRoots returns the roots of the DAGs that a Task names.
func taskRoots(t job.Task) []cid.Cid {
	roots := []cid.Cid{t.Mod}
	for _, in := range t.In {
		roots = append(roots, in.CID)
	}
	if t.Stdin.Defined() {
		roots = append(roots, t.Stdin)
	}
	return roots
}

// leasePin is the name of the pin that keeps a result for its requester.
func leasePin(l market.Lease) string { return fmt.Sprintf("lease:%x", l[:]) }
