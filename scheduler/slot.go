package scheduler

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/ipfs-liftoff/liftoff/internal/units"
)

// slot is the state of one run. At most one award of it is active.
type slot struct {
	state      slotState
	peer       *peer
	lease      Lease
	award      int       // index in Record.Awards
	at         time.Time // of the award
	deadline   time.Time // for the answer to an award, or for the next heartbeat; zero: none
	end        time.Time // when the provider is too late for any tolerance; zero: never
	attachAt   time.Time // when to try the next Attach; zero: the stream is not broken
	attaching  bool      // an Attach is in progress
	attachedAt time.Time // when the last Attach started
	accepted   time.Time
	prior      bool // a prior run: its bid is not known
	result     Result
}

type slotState int

const (
	slotEmpty slotState = iota
	slotAwarded
	slotRunning
	slotDone
)

// attachPause is the pause between two Attach actions.
const attachPause = time.Second

// lateTolerance is how much later than its limits allow a provider may be.
const lateTolerance = 30 * time.Second

// due returns when something has to be done for s.
func (s *slot) due() (at time.Time) {
	for _, t := range []time.Time{s.deadline, s.end, s.attachAt} {
		if !t.IsZero() && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	return at
}

// award awards s to q.
func (p *Placement) award(s *slot, q *peer, now time.Time) {
	*s = slot{state: slotAwarded, peer: q, at: now, award: len(p.rec.Awards), lease: p.lease(len(p.rec.Awards))}
	p.price(q)
	q.set(peerUsed, "", "it was awarded the job")
	q.taken = true
	q.rec = p.line(q)
	p.rec.Awards = append(p.rec.Awards, AwardRecord{
		Slot: p.index(s), Attempt: q.attempt, Peer: q.did, Self: q == p.self, Lease: s.lease,
		At: now, Claimed: claimed(q.bid), State: AwardOpen,
	})
	if q == p.self {
		p.run(s, now)
		p.do(RunHere{Attempt: q.attempt, Lease: s.lease, Sources: p.sources(q)})
	} else {
		s.deadline = now.Add(p.cfg.Reply)
		p.do(Award{
			Peer: q.did, Attempt: q.attempt, Lease: s.lease, LeaseFor: p.cfg.Lease,
			Queue: millis(q.bid.Queue), Sources: p.sources(q),
		})
	}
	p.noteNext(p.awardText(q))
}

func (p *Placement) index(s *slot) int {
	for i := range p.slots {
		if s == &p.slots[i] {
			return i
		}
	}
	panic("scheduler: slot of another placement")
}

// lease returns the id of the nth award of the job.
func (p *Placement) lease(n int) (l Lease) {
	h := sha256.New()
	h.Write([]byte("liftoff/lease"))
	h.Write(p.req.CID.Bytes())
	h.Write(p.req.Job.Nonce[:])
	h.Write(binary.AppendUvarint(nil, uint64(n)))
	copy(l[:], h.Sum(nil))
	return l
}

// awardText returns the line that says where the job runs and why.
func (p *Placement) awardText(q *peer) string {
	where := "awarded to " + Short(q.did)
	if q == p.self {
		where = "runs on this node"
	}
	var what string
	switch b := q.bid; {
	case b.Missing == 0 && b.Have > 0:
		what = "holds all " + units.Bytes(b.Have) + " of the inputs"
	case b.Missing == 0:
		what = "nothing to download"
	default:
		what = fmt.Sprintf("holds %s, %s to download", units.Bytes(b.Have), units.Bytes(b.Missing))
		switch {
		case p.isGuess(b):
			what = fmt.Sprintf("holds at least %s, the rest is of unknown size", units.Bytes(b.Have))
		case !b.Exact:
			what = fmt.Sprintf("holds at least %s, about %s to download (estimate)", units.Bytes(b.Have), units.Bytes(p.informed(b).Missing))
		}
	}
	if q.bid.Queue > 0 {
		what += ", starts in " + roundTime(millis(q.bid.Queue))
	}
	return where + ": " + what
}

// noteNext emits a Note about the next step, together with the last failure.
func (p *Placement) noteNext(next string) {
	if p.loss != "" {
		next = p.loss + "; " + next
		p.loss = ""
	}
	p.note(next)
}

// activeSlot returns the slot whose active award has this peer and lease, or nil.
func (p *Placement) activeSlot(q *peer, l Lease) *slot {
	for i := range p.slots {
		if s := &p.slots[i]; (s.state == slotAwarded || s.state == slotRunning) && s.peer == q && s.lease == l {
			return s
		}
	}
	return nil
}

func (p *Placement) accepted(ev Accepted, now time.Time) {
	s := p.activeSlot(p.peers[ev.Peer], ev.Lease)
	if s == nil || s.state != slotAwarded {
		return
	}
	p.run(s, now)
	s.deadline = now.Add(p.cfg.Silence)
	if t := p.req.Job.Timeout; t > 0 {
		b := s.peer.bid
		s.end = now.Add(clamp(maxFactor*(millis(b.Queue)+clamp(ev.Start))) + millis(t) + lateTolerance)
	}
}

func (p *Placement) run(s *slot, now time.Time) {
	s.state, s.accepted = slotRunning, now
	p.rec.Awards[s.award].State = AwardRunning
}

// declined removes the peer from this round, or puts it back into the ranking with its new queue
// time.
func (p *Placement) declined(ev Declined, now time.Time) {
	q := p.peers[ev.Peer]
	s := p.activeSlot(q, ev.Lease)
	if s == nil || q == p.self {
		return
	}
	why := "it declined: " + truncate(orDefaultText(ev.Why, "no reason given"))
	if s.state == slotRunning { // a withdrawn reservation
		p.lose(s, why, now)
		return
	}
	p.settle(s, AwardDeclined, why, "", now)
	if ev.Queue > 0 && !q.renewed {
		q.renewed = true
		q.bid.Queue, q.bid.Slots = toMillis(clamp(ev.Queue)), 0
		q.set(peerBid, "", why)
	} else {
		q.set(peerRefused, CodeDeclined, why)
		p.close(q, CloseLost)
	}
	q.rec = p.line(q)
	p.loss = Short(q.did) + " declined: " + truncate(orDefaultText(ev.Why, "no reason given"))
}

func (p *Placement) heartbeat(ev Heartbeat, now time.Time) {
	s := p.activeSlot(p.peers[ev.Peer], ev.Lease)
	if s == nil || s.state != slotRunning || s.peer == p.self {
		return
	}
	s.deadline = now.Add(p.cfg.Silence)
	s.attachAt, s.attaching = time.Time{}, false
	p.rec.Awards[s.award].Why = ""
	p.checkStart(s, ev.Phase, now)
}

// checkStart takes the job away from a provider that still has no slot long after the time that it
// bid: only waiting time is lost. A job that runs is never taken away for being slow, because the
// expected time is only an estimate.
func (p *Placement) checkStart(s *slot, phase string, now time.Time) {
	bid, waited := millis(s.peer.bid.Queue), now.Sub(s.accepted)
	if s.prior || phase != PhaseQueue || waited <= maxFactor*bid+time.Second {
		return
	}
	p.do(Calibrate{Peer: s.peer.did, Claimed: bid, Actual: waited})
	p.lose(s, "its bid said that the job starts in "+roundTime(bid)+", but it has no slot after "+roundTime(waited), now)
}

func (p *Placement) done(ev Done, now time.Time) {
	s := p.activeSlot(p.peers[ev.Peer], ev.Lease)
	if s == nil || s.state != slotRunning || !ev.Outcome.Defined() {
		return
	}
	p.keepResult(s, Result{Peer: ev.Peer, Outcome: ev.Outcome, Receipt: ev.Receipt}, now)
	if s.peer == p.self || s.prior {
		return
	}
	// A fast answer from the result cache says nothing about the accuracy of the claim. A slow one
	// does count against the peer, cached or not.
	claimed, actual := p.expectedTime(s.peer, ev.Fuel), clamp(now.Sub(s.accepted)-ev.Moved)
	if !ev.Replayed || actual > claimed {
		p.do(Calibrate{Peer: ev.Peer, Claimed: claimed, Actual: actual})
	}
}

// expectedTime returns how long a job of this fuel should have taken at q by its claims. The fuel of the
// bid was the requester's own estimate; the actual fuel is known now. So a wrong estimate does not
// count against the peer.
func (p *Placement) expectedTime(q *peer, fuel uint64) time.Duration {
	run := millis(q.bid.Run)
	if fuel > 0 && q.capacity != nil && q.capacity.Rate > 0 {
		run = seconds(fuel, q.capacity.Rate)
	}
	return clamp(millis(q.bid.Queue) + millis(q.bid.Fetch) + run)
}

// lost handles a broken stream. The provider may still run the job, so Attach is tried until it has
// been silent for too long.
func (p *Placement) lost(ev Lost, now time.Time) {
	s := p.activeSlot(p.peers[ev.Peer], ev.Lease)
	if s == nil {
		return
	}
	why := truncate(orDefaultText(ev.Why, "its job stream ended"))
	switch {
	case ev.Final != "":
		p.settle(s, AwardLost, why, CloseLost, now)
		p.fail(ev.Final, why, "", now)
	case ev.Gone || s.state == slotAwarded || s.peer == p.self:
		if ev.FalseOutput {
			claim := claimed(s.peer.bid)
			p.do(Calibrate{Peer: s.peer.did, Claimed: claim, Actual: maxFactor * (claim + noise)})
		}
		p.lose(s, why, now)
	case s.attaching:
		s.attaching, s.attachAt = false, now.Add(attachPause)
		p.rec.Awards[s.award].Why = why
	case s.attachAt.IsZero():
		p.rec.Awards[s.award].Why = why
		if next := s.attachedAt.Add(attachPause); now.Before(next) { // it answers and breaks off at once
			s.attachAt = next
		} else {
			p.attach(s, now)
		}
	}
}

func (p *Placement) attach(s *slot, now time.Time) {
	s.attaching, s.attachedAt, s.attachAt = true, now, time.Time{}
	p.do(Attach{Peer: s.peer.did, Lease: s.lease})
}

// watch ends the runs that were silent for too long, and tries the next Attach.
func (p *Placement) watch(now time.Time) {
	for i := range p.slots {
		s := &p.slots[i]
		switch due := func(t time.Time) bool { return !t.IsZero() && !now.Before(t) }; {
		case due(s.deadline) && s.state == slotAwarded:
			p.lose(s, "it did not answer the award within "+roundTime(p.cfg.Reply), now)
		case due(s.deadline):
			p.lose(s, silenceText(p.silent(s), p.rec.Awards[s.award].Why), now)
		case due(s.end):
			p.lose(s, "it took much longer than the job's timeout", now)
		case due(s.attachAt):
			p.attach(s, now)
		}
	}
}

// silent returns how long the provider of s, whose deadline has passed, was silent. A prior run has
// searchTime until its provider is found.
func (p *Placement) silent(s *slot) time.Duration {
	if s.prior && s.deadline.Equal(s.accepted.Add(searchTime)) {
		return searchTime
	}
	return p.cfg.Silence
}

// silenceText describes how a provider was lost. broke is why its stream ended, if it has.
func silenceText(d time.Duration, broke string) string {
	text := "no heartbeat from it for " + roundTime(d)
	if broke != "" {
		text += ": " + broke
	}
	return text
}

// lose marks the award of s as lost. Its peer is not asked again for this job.
func (p *Placement) lose(s *slot, why string, now time.Time) {
	q, reason := s.peer, CloseLost
	if q == p.self {
		reason = "" // this node reported the end itself
	}
	p.settle(s, AwardLost, why, reason, now)
	q.set(peerOut, CodeLost, "it lost the job: "+why)
	q.rec = p.line(q)
	p.loss = "lost " + Short(q.did) + " (" + why + ")"
	if q == p.self {
		p.loss = "this node could not run the job (" + why + ")"
	}
}

// settle ends the award of s in the record, tells a peer that may still run it, and empties s.
func (p *Placement) settle(s *slot, state, why string, reason CloseReason, now time.Time) {
	a := &p.rec.Awards[s.award]
	a.State, a.Why, a.Took = state, why, now.Sub(s.at)
	q := s.peer
	q.taken = false
	if reason != "" {
		q.open = false
		p.do(Close{Peer: q.did, Lease: s.lease, Why: reason})
	}
	*s = slot{}
}
