package scheduler

import (
	"slices"
	"time"

	"github.com/ipfs-liftoff/liftoff/job"
)

// Placement is the requester's side of one job: it says whom to ask and which bid to
// take, watches the leases and tries again, until every run has its result or
// nothing more can be done. It always ends, provided that it gets the Ticks that it
// asks for and that no runner beats for ever.
type Placement struct {
	cfg   Config
	req   Request
	rec   Record
	self  *peer // nil until Start
	peers map[job.DID]*peer
	order []*peer // as they were met, Self first
	met   []*peer // those of them that were asked, and Self: most steps look at no other
	slots []slot  // one for each run

	holders bool // somebody is said to hold inputs

	round     int       // of asking, from 0; -1 before the first
	askUntil  time.Time // when the round's window closes; zero: it has
	callUntil time.Time // until when answers to an Announce are waited for; zero: not at all
	asked     int       // peers asked in this round
	retryAt   time.Time // when the next round begins; zero: not planned
	wake      time.Time // the last Wake
	loss      string    // what went wrong, for the line that says how it goes on

	out   []Action // of the step that is being taken
	ended bool
}

// attemptsOfOne is how often a peer is asked that the user has named: nobody else can come
// instead, and who waits wants to know soon that it cannot be reached.
const attemptsOfOne = 3

// NewPlacement prepares a Placement; a Start begins it.
func NewPlacement(cfg Config, req Request) *Placement {
	n := min(max(req.Job.Runs, 1), job.MaxRuns)
	p := &Placement{
		cfg: cfg.orDefault(n), req: req, rec: Record{Where: req.Where}, round: -1,
		peers: map[job.DID]*peer{}, slots: make([]slot, n),
	}
	if p.wantsOne() && cfg.Attempts <= 0 {
		p.cfg.Attempts = attemptsOfOne
	}
	return p
}

// Step takes one event that happened at now and returns what is to be done next, in
// order. now never goes backwards.
func (p *Placement) Step(ev Event, now time.Time) []Action {
	if p.ended || p.self == nil && !begins(ev) {
		return nil
	}
	p.out = nil
	p.take(ev, now)
	p.advance(now)
	return p.out
}

// begins reports whether ev makes sense before a Start.
func begins(ev Event) bool {
	switch ev.(type) {
	case Start, Cancel:
		return true
	}
	return false
}

// Ended reports whether Finish or Fail was returned.
func (p *Placement) Ended() bool { return p.ended }

func (p *Placement) take(ev Event, now time.Time) {
	switch ev := ev.(type) {
	case Start:
		if p.self == nil {
			p.start(ev, now)
		}
	case Candidates:
		p.meet(ev.Peers)
		if now.Before(p.askUntil) && !p.enough() {
			p.askMore(now)
		}
	case Bid:
		p.answered(ev, now)
	case AskFailed:
		p.unreached(ev)
	case Accepted:
		p.accepted(ev, now)
	case Declined:
		p.declined(ev, now)
	case Heartbeat:
		p.beat(ev, now)
	case Done:
		p.done(ev, now)
	case Lost:
		p.lost(ev, now)
	case Cancel:
		p.fail(CodeCancelled, orDefaultText(ev.Why, "it was cancelled"), "", now)
	case Tick:
	}
}

// start scores this node first, and takes up what was left.
func (p *Placement) start(ev Start, now time.Time) {
	p.peers = make(map[job.DID]*peer, len(ev.Peers)+2)
	p.order = make([]*peer, 0, len(ev.Peers)+2)
	p.self = p.known(p.req.Self)
	p.met = append(p.met, p.self)
	p.self.capacity = ev.Capacity
	p.self.bid, p.self.bidAt = ev.Self, now
	switch {
	case p.self.state == peerBarred:
	case ev.Self.Refuses():
		p.self.refuse(ev.Self)
	default:
		p.self.set(peerBid, "", "its price was not the best")
	}
	p.self.rec = p.line(p.self)
	if p.wantsOne() {
		p.known(job.DID(p.req.Where)) // it is asked even if it has not been met
	}
	p.meet(ev.Peers)
	if len(p.slots) > 1 && p.req.Where != Anywhere && p.req.Where != OnNetwork {
		p.fail(CodeNoPeer, "runs need as many peers, and only one is allowed", "leave out --where or --runs", now)
		return
	}
	p.takeUp(ev.Left, now)
}

// stay runs the job here if that is sure to be best: nothing is missing, a slot is free,
// and nobody has more of the preferred labels.
func (p *Placement) stay(now time.Time) {
	if p.self.state != peerBid || !perfect(p.self.bid) || len(p.req.Job.Prefer) > 0 && met(p.req.Job, p.self.capacity) < 1 {
		return
	}
	i := slices.IndexFunc(p.slots, func(s slot) bool { return s.state == slotEmpty })
	p.award(&p.slots[i], p.self, now)
}

// advance does what time and the last event have made due.
func (p *Placement) advance(now time.Time) {
	if p.ended {
		return
	}
	p.watch(now)
	p.closeStale(now)
	p.closeWindow(now)
	if p.round < 0 && p.empty() > 0 {
		p.stay(now)
	}
	if p.round < 0 && p.empty() > 0 {
		p.ask(now)
	}
	switch n := p.empty(); {
	case n == 0:
		p.retryAt = time.Time{}
	case p.enough():
		p.fill(n, now)
	}
	if p.ended {
		return
	}
	if !slices.ContainsFunc(p.slots, func(s slot) bool { return s.state != slotDone }) {
		p.finish()
		return
	}
	if at := p.due(); !at.IsZero() && !at.Equal(p.wake) {
		p.wake = at
		p.do(Wake{At: at})
	}
}

// fill gives the n empty slots the best bids. When there are too few, peers are asked
// again after a pause, unless that is no use.
func (p *Placement) fill(n int, now time.Time) {
	bids := 0
	for _, q := range p.met {
		if p.awardable(q, now) {
			bids++
		}
	}
	if bids < n && p.retryAt.IsZero() && (p.round+1 >= p.cfg.Attempts || !p.hope()) {
		p.giveUp(now)
		return
	}
	for i := range p.slots {
		if s := &p.slots[i]; s.state == slotEmpty && bids > 0 {
			p.award(s, p.best(now), now)
			bids--
		}
	}
	switch {
	case p.empty() == 0:
		p.retryAt = time.Time{}
	case p.retryAt.IsZero():
		p.retryAt = now.Add(p.cfg.Backoff << min(p.round, 16))
		p.say("asking again in " + round(p.retryAt.Sub(now)))
	case !now.Before(p.retryAt):
		p.ask(now)
		if p.enough() { // there was nobody to ask
			p.fill(p.empty(), now)
		}
	}
}

// due is the next time at which something happens by itself.
func (p *Placement) due() (at time.Time) {
	sooner := func(t time.Time) {
		if !t.IsZero() && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	sooner(p.askUntil)
	sooner(p.callUntil)
	sooner(p.retryAt)
	for i := range p.slots {
		sooner(p.slots[i].due())
	}
	for _, q := range p.met {
		if q.open && q.state == peerBid && q != p.self {
			sooner(q.bidAt.Add(p.cfg.BidAge))
		}
	}
	return at
}

// finish ends it with the results of all slots.
func (p *Placement) finish() {
	f := Finish{}
	for _, s := range p.slots {
		f.Winners = append(f.Winners, s.result)
		f.Disagree = f.Disagree || s.result.Outcome != p.slots[0].result.Outcome
		if s.peer != p.self && s.lease != (Lease{}) { // else its result was here before
			p.do(Close{Peer: s.peer.did, Lease: s.lease, Why: CloseOK})
			s.peer.open = false
		}
	}
	f.Outcome = f.Winners[0].Outcome
	p.closeAll(CloseLost)
	if f.Disagree {
		p.end(count(len(f.Winners), "run") + " do not agree")
	} else {
		p.end("done")
	}
	p.do(f)
}

// fail ends it without a result.
func (p *Placement) fail(code, why, hint string, now time.Time) {
	reason := CloseLost
	if code == CodeCancelled {
		reason = CloseCancelled
	}
	for i := range p.slots {
		if s := &p.slots[i]; s.state == slotAwarded || s.state == slotRunning {
			q := s.peer
			p.settle(s, AwardClosed, why, CloseCancelled, now)
			q.why = "its run was ended: " + why
		}
	}
	for _, q := range p.met {
		q.taken = false
	}
	p.closeAll(reason)
	p.end(why)
	p.do(Fail{Code: code, Why: why, Hint: hint})
}

func (p *Placement) end(why string) {
	p.ended = true
	p.rec.Ended = why
	for _, q := range p.met {
		if q.state == peerAsked {
			q.set(peerRefused, CodeUnneeded, "the job ended before its answer")
			q.bid = job.Bid{}
		}
		q.rec = p.line(q)
	}
}

// closeAll ends every conversation that is still open.
func (p *Placement) closeAll(why CloseReason) {
	for _, q := range p.met {
		p.close(q, why)
	}
}

// closeStale ends the conversations whose bids are too old to be taken.
func (p *Placement) closeStale(now time.Time) {
	for _, q := range p.met {
		if q.state == peerBid && q.open && !p.fresh(q, now) {
			p.close(q, CloseLost)
		}
	}
}

// close ends a conversation in which no award is alive.
func (p *Placement) close(q *peer, why CloseReason) {
	if q.open && !q.taken {
		q.open = false
		p.do(Close{Peer: q.did, Why: why})
	}
}

func (p *Placement) do(a Action) { p.out = append(p.out, a) }

func (p *Placement) note(text string) { p.do(Note{Text: text}) }

func orDefaultText(s, def string) string {
	if s == "" {
		return def
	}
	return s
}
