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

// provider runs jobs for other peers: the market asks it, it looks at the book and at
// what is held, and runs what is awarded.
type provider struct {
	w *network

	mu      sync.Mutex
	awards  map[market.Lease]*award
	working sync.WaitGroup // those that have not come to their end
	leaving sync.WaitGroup // those that are being forgotten
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
		return &market.FailedError{Code: job.RefusePolicy, Why: "it runs jobs for members of its cluster and for those that it lists"}
	}
	if bid, ok := p.w.book.ask(did); !ok {
		return &market.FailedError{Code: bid.Code, Why: bid.Refusal}
	}
	return nil
}

// Ask implements market.Provider. What costs nothing is looked at first; what is held is
// measured only for a job that would be taken.
func (p *provider) Ask(ctx context.Context, from peer.ID, r market.Request) job.Bid {
	if code, why := scheduler.Timely(r.Signed, p.w.node.clock()); code != "" {
		return scheduler.Refuse(code, why)
	}
	w := scheduler.Work{ABI: r.Work.ABI, Bytes: r.Bytes, Module: r.Module, Fuel: r.Fuel, Output: r.Output}
	if p.w.node.room() != nil {
		return scheduler.Refuse(job.RefuseDisk, whyFull)
	}
	s := p.w.state(r.Signed, p.w.ceiling(from))
	if bid := scheduler.Offer(r.Signed, w, s, scheduler.Locality{}); bid.Refuses() {
		return bid
	}
	if _, err := p.w.node.allow(p.w.asker(from), r.Work, r.Signed.Limits.OrDefault()); err != nil {
		var denied *runtime.DeniedError
		if errors.As(err, &denied) {
			return scheduler.Refuse(job.RefusePolicy, denied.Error())
		}
		p.w.node.log.Error("no executor is offered to peers", "err", err)
		return scheduler.Refuse(job.RefuseFault, "its policy cannot be read")
	}
	l, err := p.w.locality(ctx, w, r.Work, p.w.rtt(from), p.w.seenBy(from))
	if err != nil {
		p.w.node.log.Warn("what is held of a job cannot be measured", "err", err)
		return scheduler.Refuse(job.RefuseFault, "it cannot tell what it holds")
	}
	return scheduler.Offer(r.Signed, w, s, l)
}

// whyFull is what a requester is told.
const whyFull = "its disk is full"

// bids reports whether this peer would bid for what was announced.
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

// state is this peer now, for a job under a ceiling.
func (w *network) state(j job.Order, ceiling job.Limits) scheduler.State {
	c := w.capacity
	c.Ceiling = ceiling
	return scheduler.State{
		Capacity: c, Load: w.book.load(j.Limits.OrDefault().Pages * pageSize), Disk: w.quota.room(), Closing: w.closing.Load(),
	}
}

// asker is a peer as the policy of executors sees it.
func (w *network) asker(from peer.ID) runtime.Requester {
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
	return runtime.Requester{} // it has lost its relation since it was admitted
}

// ceiling is the most that a peer may ask for.
func (w *network) ceiling(from peer.ID) job.Limits {
	if w.peer.Allows(from, host.FullLimits) {
		return w.cfg.Ceiling
	}
	return w.cfg.OpenCeiling
}

// rtt is how long a message to p and back takes, 0 when nobody knows.
func (w *network) rtt(p peer.ID) time.Duration {
	return w.peer.Libp2p().Peerstore().LatencyEWMA(p)
}

// locality measures what is held of a Task's module and inputs. When the requester says
// how much they are together, that tells how much is missing; what nobody knows the size
// of is taken to be of a usual one. A root that the requester does not see counts as not here,
// so that its bid does not tell.
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
		// A guess makes it dear, and is no reason to refuse.
		l.Missing += min(guess, w.quota.room()-min(w.quota.room(), l.Missing))
	}
	return l, nil
}

// visible says which roots a requester sees; nil: all.
type visible func(context.Context, cid.Cid) bool

// seenBy returns the roots that the jobs of from see before from has sent anything.
func (w *network) seenBy(from peer.ID) visible {
	if w.peer.Allows(from, host.ReceiveBlocks) {
		return nil
	}
	return func(ctx context.Context, c cid.Cid) bool { return w.access.Allowed(ctx, from, c) }
}

// covers measures what is held of the roots that are seen.
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
	if n := len(hidden); n > 0 { // as if they were not here
		all.Lacks, all.Untold, all.Depth = all.Lacks+n, all.Untold+n, max(all.Depth, 1)
	}
	return all, err
}

// What lacks when nobody says how much it is, in bytes. Of inputs it is enough that who
// holds them is the better choice, with or without the module.
const (
	usualModule = 2 << 20
	usualInput  = 256 << 20
)

// Award implements market.Provider.
func (p *provider) Award(_ context.Context, from peer.ID, r market.Request, a market.Awarded) (*market.Run, time.Duration, error) {
	if p.w.node.room() != nil {
		return nil, 0, &market.DeclinedError{Why: whyFull}
	}
	w := scheduler.Work{ABI: r.Work.ABI, Bytes: r.Bytes}
	s := p.w.state(a.Signed, p.w.ceiling(from))
	s.Load = scheduler.Load{} // the book says how busy it is
	if bid := scheduler.Offer(a.Signed, w, s, scheduler.Locality{}); bid.Refuses() {
		return nil, 0, &market.DeclinedError{Why: bid.Refusal}
	}
	if a.For <= 0 { // to the book: one that does not end by itself
		return nil, 0, &market.DeclinedError{Why: "it gives no lease of no length"}
	}
	x := newAward(p, from, r, a)
	started, start, err := p.w.book.reserve(scheduler.Reservation{
		Lease: scheduler.Lease(a.Lease), Job: a.Signed, For: a.For, Queue: a.Queue,
	}, x.expired)
	var declined *scheduler.Decline
	if errors.As(err, &declined) {
		return nil, 0, &market.DeclinedError{Why: declined.Why, Queue: declined.Queue}
	}
	if err != nil {
		return nil, 0, err
	}
	if !p.enter(x) {
		p.w.book.release(scheduler.Lease(a.Lease))
		return nil, 0, &market.DeclinedError{Why: "it is shutting down"}
	}
	go func() {
		defer p.working.Done()
		x.work(started)
	}()
	return x.run, start, nil
}

// enter counts an award in, unless the peer takes no more.
func (p *provider) enter(x *award) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.w.closing.Load() || p.awards[x.lease] != nil {
		return false
	}
	if old := p.oldest(x.from); old != nil {
		p.letGo(old)
	}
	p.awards[x.lease] = x
	p.working.Add(1)
	return true
}

// maxWaiting is how many jobs of one requester are known at most: with one more, the
// result that has waited longest is let go.
const maxWaiting = 256

// oldest returns the result of a requester that has waited longest, if it has too many;
// else nil. p.mu is held.
func (p *provider) oldest(from peer.ID) (old *award) {
	if len(p.awards) < maxWaiting {
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
	if n < maxWaiting {
		return nil
	}
	return old
}

// letGo forgets an award once its work is over.
func (p *provider) letGo(x *award) {
	p.leaving.Go(func() {
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
		return nil, &market.FailedError{Code: request.CodeUnknown, Why: "it knows no such lease"}
	}
	x.attached()
	return x.run, nil
}

// forget drops an award whose result nobody waits for.
func (p *provider) forget(x *award) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.awards[x.lease] == x {
		delete(p.awards, x.lease)
	}
}

// drain hands back what has not ended when ctx does, and returns when nothing runs.
func (p *provider) drain(ctx context.Context) {
	p.mu.Lock() // from here on none is entered
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
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), tellTime)
		defer cancel()
	}
	p.delivered(ctx)
}

// tellTime is how long it may take, beyond the grace, to tell requesters that they have
// their jobs back: who is not told finds out by itself, after a while.
const tellTime = time.Second

// delivered waits until requesters that listen have their results, or know that there is
// none, or ctx ends.
func (p *provider) delivered(ctx context.Context) {
	for _, x := range p.all() {
		closed, away := x.taken()
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

// close lets go of what the awards hold in memory, when the conversations about them have
// ended. Results that wait for their requesters stay pinned.
func (p *provider) close() {
	p.leaving.Wait()
	for _, x := range p.all() {
		x.release()
	}
}

// errHandedBack is the cause that ends another's job when this peer shuts down.
var errHandedBack = errors.New("it is shutting down")

// taskRoots returns what a Task names.
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

// leasePin is the name of the pin under which a result waits for its requester.
func leasePin(l market.Lease) string { return fmt.Sprintf("lease:%x", l[:]) }
