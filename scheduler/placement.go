package scheduler

import (
	"slices"
	"time"

	"github.com/ipfs-liftoff/liftoff/job"
)

// Placement is the requester's side of one job. It decides which peers to ask and which bid to
// accept, watches the leases and tries again, until every run has its result or nothing more can be
// done. It always ends, provided that it gets the Ticks that it requests and that no provider sends
// heartbeats for ever.
type Placement struct {
	cfg       Config
	req       Request
	rec       Record
	self      *peer // nil until Start
	peers     map[job.DID]*peer
	order     []*peer // in the order in which they became known, Self first
	contacted []*peer // Self and those of order that were asked: most steps look only at these
	slots     []slot  // one for each run

	holders bool // at least one peer is said to hold inputs

	round     int       // round of asking, from 0; -1 before the first
	askUntil  time.Time // when the window of the round closes; zero: it has closed
	callUntil time.Time // when the window of an Announce closes; zero: not waiting
	asked     int       // number of peers asked in this round
	retryAt   time.Time // when the next round starts; zero: not planned
	wake      time.Time // time of the last Wake
	loss      string    // the last failure, for the next Note

	out   []Action // result of the current Step
	ended bool
}

// attemptsOfOne is the number of rounds when the user named one peer. No other peer can replace it,
// and the user wants to know soon that it cannot be reached.
const attemptsOfOne = 3

// NewPlacement returns a Placement. A Start event starts it.
func NewPlacement(cfg Config, req Request) *Placement {
	n := min(max(req.Job.Runs, 1), job.MaxRuns)
	p := &Placement{
		cfg: cfg.orDefault(n), req: req, rec: Record{Where: req.Where}, round: -1,
		peers: map[job.DID]*peer{}, slots: make([]slot, n),
	}
	if p.namesPeer() && cfg.Attempts <= 0 {
		p.cfg.Attempts = attemptsOfOne
	}
	return p
}

// Step processes one event that happened at now. It returns what to do next, in order. now must
// never go backwards.
func (p *Placement) Step(ev Event, now time.Time) []Action {
	if p.ended || p.self == nil && !startsPlacement(ev) {
		return nil
	}
	p.out = nil
	p.take(ev, now)
	p.advance(now)
	return p.out
}

// startsPlacement reports whether ev is valid before a Start.
func startsPlacement(ev Event) bool {
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
		p.addCandidates(ev.Peers)
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
		p.heartbeat(ev, now)
	case Done:
		p.done(ev, now)
	case Lost:
		p.lost(ev, now)
	case Cancel:
		p.fail(CodeCancelled, orDefaultText(ev.Why, "the job was cancelled"), "", now)
	case Tick:
	}
}

// start scores this node first, and resumes prior runs.
func (p *Placement) start(ev Start, now time.Time) {
	p.peers = make(map[job.DID]*peer, len(ev.Peers)+2)
	p.order = make([]*peer, 0, len(ev.Peers)+2)
	p.self = p.known(p.req.Self)
	p.contacted = append(p.contacted, p.self)
	p.self.capacity = ev.Capacity
	p.self.bid, p.self.bidAt = ev.Self, now
	switch {
	case p.self.state == peerBarred:
	case ev.Self.Refuses():
		p.self.refuse(ev.Self)
	default:
		p.self.set(peerBid, "", outbid)
	}
	p.self.rec = p.line(p.self)
	if p.namesPeer() {
		p.known(job.DID(p.req.Where)) // it is asked even if it is not known
	}
	p.addCandidates(ev.Peers)
	if len(p.slots) > 1 && p.req.Where != Anywhere && p.req.Where != OnNetwork {
		p.fail(CodeNoPeer, "several runs need several peers, and --where allows only one", "run it without --where or without --runs", now)
		return
	}
	p.resume(ev.Prior, now)
}

// stay runs the job on this node if that is certain to be best: nothing is missing, a slot is free,
// and no peer can have more of the preferred labels.
func (p *Placement) stay(now time.Time) {
	if p.self.state != peerBid || !perfect(p.self.bid) || len(p.req.Job.Prefer) > 0 && met(p.req.Job, p.self.capacity) < 1 {
		return
	}
	i := slices.IndexFunc(p.slots, func(s slot) bool { return s.state == slotEmpty })
	p.award(&p.slots[i], p.self, now)
}

// advance does what is due because of the time or of the last event.
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

// fill awards the n empty slots to the best bids. When there are too few bids, it plans another
// round after a pause, unless another round is useless.
func (p *Placement) fill(n int, now time.Time) {
	bids := 0
	for _, q := range p.contacted {
		if p.awardable(q, now) {
			bids++
		}
	}
	if bids < n && p.retryAt.IsZero() && (p.round+1 >= p.cfg.Attempts || !p.retryUseful()) {
		p.failWithReasons(now)
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
		p.noteNext("asking for bids again in " + roundTime(p.retryAt.Sub(now)))
	case !now.Before(p.retryAt):
		p.ask(now)
		if p.enough() { // no peer could be asked
			p.fill(p.empty(), now)
		}
	}
}

// due returns the next time at which something has to be done.
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
	for _, q := range p.contacted {
		if q.open && q.state == peerBid && q != p.self {
			sooner(q.bidAt.Add(p.cfg.BidAge))
		}
	}
	return at
}

// finish ends the Placement with the results of all slots.
func (p *Placement) finish() {
	f := Finish{}
	for _, s := range p.slots {
		f.Winners = append(f.Winners, s.result)
		f.Disagree = f.Disagree || s.result.Outcome != p.slots[0].result.Outcome
		if s.peer != p.self && s.lease != (Lease{}) { // otherwise the result is of a prior run
			p.do(Close{Peer: s.peer.did, Lease: s.lease, Why: CloseOK})
			s.peer.open = false
		}
	}
	f.Outcome = f.Winners[0].Outcome
	p.closeAll(CloseLost)
	if f.Disagree {
		p.end(count(len(f.Winners), "run") + " came to different outcomes")
	} else {
		p.end("done")
	}
	p.do(f)
}

// fail ends the Placement without a result.
func (p *Placement) fail(code, why, hint string, now time.Time) {
	reason := CloseLost
	if code == CodeCancelled {
		reason = CloseCancelled
	}
	for i := range p.slots {
		if s := &p.slots[i]; s.state == slotAwarded || s.state == slotRunning {
			q := s.peer
			p.settle(s, AwardClosed, why, CloseCancelled, now)
			q.why = "its run was stopped: " + why
		}
	}
	for _, q := range p.contacted {
		q.taken = false
	}
	p.closeAll(reason)
	p.end(why)
	p.do(Fail{Code: code, Why: why, Hint: hint})
}

func (p *Placement) end(why string) {
	p.ended = true
	p.rec.Ended = why
	for _, q := range p.contacted {
		if q.state == peerAsked {
			q.set(peerRefused, CodeUnneeded, "the job ended before its bid")
			q.bid = job.Bid{}
		}
		q.rec = p.line(q)
	}
}

// closeAll ends every open conversation.
func (p *Placement) closeAll(why CloseReason) {
	for _, q := range p.contacted {
		p.close(q, why)
	}
}

// closeStale ends the conversations whose bids are too old to be accepted.
func (p *Placement) closeStale(now time.Time) {
	for _, q := range p.contacted {
		if q.state == peerBid && q.open && !p.fresh(q, now) {
			p.close(q, CloseLost)
		}
	}
}

// close ends a conversation without an active award.
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
