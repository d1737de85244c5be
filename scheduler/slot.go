package scheduler

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/ipfs-liftoff/liftoff/internal/units"
)

// slot is the place of one run: at most one award of it is alive.
type slot struct {
	state    slotState
	peer     *peer
	lease    Lease
	award    int       // of Record.Awards
	at       time.Time // of the award
	deadline time.Time // of the answer to an award, or of the next sign of life; zero: none
	end      time.Time // when a runner is late beyond all patience; zero: never
	attachAt time.Time // when to try again to attach; zero: nothing is broken
	trying   bool      // an Attach is under way
	tried    time.Time // when the last one began
	accepted time.Time
	left     bool // by an earlier Placement: nothing is known of a bid
	result   Result
}

type slotState int

const (
	slotEmpty slotState = iota
	slotAwarded
	slotRunning
	slotDone
)

// attachPause is between two tries to attach.
const attachPause = time.Second

// patience is how much later than its limits say a runner may be.
const patience = 30 * time.Second

// due is when something has to be done for s.
func (s *slot) due() (at time.Time) {
	for _, t := range []time.Time{s.deadline, s.end, s.attachAt} {
		if !t.IsZero() && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	return at
}

// award gives s to q.
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
	p.say(p.whereTo(q))
}

func (p *Placement) index(s *slot) int {
	for i := range p.slots {
		if s == &p.slots[i] {
			return i
		}
	}
	panic("a slot of another placement")
}

// lease names the nth award of the job.
func (p *Placement) lease(n int) (l Lease) {
	h := sha256.New()
	h.Write([]byte("liftoff/lease"))
	h.Write(p.req.CID.Bytes())
	h.Write(p.req.Job.Nonce[:])
	h.Write(binary.AppendUvarint(nil, uint64(n)))
	copy(l[:], h.Sum(nil))
	return l
}

// whereTo is the line that says where it runs and why.
func (p *Placement) whereTo(q *peer) string {
	who := "goes to " + Short(q.did)
	if q == p.self {
		who = "runs here"
	}
	var what string
	switch b := q.bid; {
	case b.Missing == 0 && b.Have > 0:
		what = "holds all " + units.Bytes(b.Have) + " of the inputs"
	case b.Missing == 0:
		what = "nothing is missing"
	default:
		what = fmt.Sprintf("holds %s, lacks %s", units.Bytes(b.Have), units.Bytes(b.Missing))
		if !b.Exact {
			what = fmt.Sprintf("holds %s or more, lacks some %s by its guess", units.Bytes(b.Have), units.Bytes(b.Missing))
		}
	}
	if q.bid.Queue > 0 {
		what += ", starts in " + round(millis(q.bid.Queue))
	}
	return who + ": " + what
}

// say writes one line about how it goes on, together with what went wrong before.
func (p *Placement) say(next string) {
	if p.loss != "" {
		next = p.loss + "; " + next
		p.loss = ""
	}
	p.note(next)
}

// holding finds the slot whose living award is of this peer and lease.
func (p *Placement) holding(q *peer, l Lease) *slot {
	for i := range p.slots {
		if s := &p.slots[i]; (s.state == slotAwarded || s.state == slotRunning) && s.peer == q && s.lease == l {
			return s
		}
	}
	return nil
}

func (p *Placement) accepted(ev Accepted, now time.Time) {
	s := p.holding(p.peers[ev.Peer], ev.Lease)
	if s == nil || s.state != slotAwarded {
		return
	}
	p.run(s, now)
	s.deadline = now.Add(p.cfg.Silence)
	if t := p.req.Job.Timeout; t > 0 {
		b := s.peer.bid
		s.end = now.Add(clamp(maxFactor*(millis(b.Queue)+clamp(ev.Start))) + millis(t) + patience)
	}
}

func (p *Placement) run(s *slot, now time.Time) {
	s.state, s.accepted = slotRunning, now
	p.rec.Awards[s.award].State = AwardRunning
}

// declined puts the peer out of this round, or back into the ranking at its new price.
func (p *Placement) declined(ev Declined, now time.Time) {
	q := p.peers[ev.Peer]
	s := p.holding(q, ev.Lease)
	if s == nil || q == p.self {
		return
	}
	why := "it declined: " + cut(orDefaultText(ev.Why, "it gives no reason"))
	if s.state == slotRunning { // a reservation that is taken back
		p.forsake(s, why, now)
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
	p.loss = Short(q.did) + " declined: " + cut(ev.Why)
}

func (p *Placement) beat(ev Heartbeat, now time.Time) {
	s := p.holding(p.peers[ev.Peer], ev.Lease)
	if s == nil || s.state != slotRunning || s.peer == p.self {
		return
	}
	s.deadline = now.Add(p.cfg.Silence)
	s.attachAt, s.trying = time.Time{}, false
	p.rec.Awards[s.award].Why = ""
	p.punctual(s, ev.Phase, now)
}

// punctual takes the job away from a runner that waits for a slot long after it had
// said it would start: nothing is lost by that but the waiting. A job that runs is never
// taken away for being slow, since how slow it should be is a guess.
func (p *Placement) punctual(s *slot, phase string, now time.Time) {
	said, waited := millis(s.peer.bid.Queue), now.Sub(s.accepted)
	if s.left || phase != PhaseQueue || waited <= maxFactor*said+time.Second {
		return
	}
	p.do(Calibrate{Peer: s.peer.did, Claimed: said, Actual: waited})
	p.forsake(s, "it was to start in "+round(said)+" and still waits for a slot after "+round(waited), now)
}

func (p *Placement) done(ev Done, now time.Time) {
	s := p.holding(p.peers[ev.Peer], ev.Lease)
	if s == nil || s.state != slotRunning || !ev.Outcome.Defined() {
		return
	}
	p.keepResult(s, Result{Peer: ev.Peer, Outcome: ev.Outcome, Receipt: ev.Receipt}, now)
	if s.peer == p.self || s.left {
		return
	}
	// That an answer from memory was quick is no merit of the claim; if it was slow, the
	// peer is no better for having called it one.
	claimed, actual := p.should(s.peer, ev.Fuel), clamp(now.Sub(s.accepted)-ev.Moved)
	if !ev.Replayed || actual > claimed {
		p.do(Calibrate{Peer: ev.Peer, Claimed: claimed, Actual: actual})
	}
}

// should is how long a job of fuel should have taken at q by what it claimed. The fuel
// was the requester's own guess and is known now, so a wrong guess is not held against
// the peer.
func (p *Placement) should(q *peer, fuel uint64) time.Duration {
	run := millis(q.bid.Run)
	if fuel > 0 && q.capacity != nil && q.capacity.Rate > 0 {
		run = seconds(fuel, q.capacity.Rate)
	}
	return clamp(millis(q.bid.Queue) + millis(q.bid.Fetch) + run)
}

// lost hears that a stream broke: the runner may still be there, so it is looked for
// until it has been silent for too long.
func (p *Placement) lost(ev Lost, now time.Time) {
	s := p.holding(p.peers[ev.Peer], ev.Lease)
	if s == nil {
		return
	}
	why := cut(orDefaultText(ev.Why, "its stream ended"))
	switch {
	case ev.Final != "":
		p.settle(s, AwardLost, why, CloseLost, now)
		p.fail(ev.Final, why, "", now)
	case ev.Gone || s.state == slotAwarded || s.peer == p.self:
		if ev.Lied {
			claim := claimed(s.peer.bid)
			p.do(Calibrate{Peer: s.peer.did, Claimed: claim, Actual: maxFactor * (claim + noise)})
		}
		p.forsake(s, why, now)
	case s.trying:
		s.trying, s.attachAt = false, now.Add(attachPause)
		p.rec.Awards[s.award].Why = why
	case s.attachAt.IsZero():
		p.rec.Awards[s.award].Why = why
		if next := s.tried.Add(attachPause); now.Before(next) { // it answers, and breaks off at once
			s.attachAt = next
		} else {
			p.attach(s, now)
		}
	}
}

func (p *Placement) attach(s *slot, now time.Time) {
	s.trying, s.tried, s.attachAt = true, now, time.Time{}
	p.do(Attach{Peer: s.peer.did, Lease: s.lease})
}

// watch ends what was silent for too long, and tries again to attach.
func (p *Placement) watch(now time.Time) {
	for i := range p.slots {
		s := &p.slots[i]
		switch due := func(t time.Time) bool { return !t.IsZero() && !now.Before(t) }; {
		case due(s.deadline) && s.state == slotAwarded:
			p.forsake(s, "it did not answer the award within "+round(p.cfg.Reply), now)
		case due(s.deadline):
			p.forsake(s, silence(p.silent(s), p.rec.Awards[s.award].Why), now)
		case due(s.end):
			p.forsake(s, "it took much longer than the job's timeout", now)
		case due(s.attachAt):
			p.attach(s, now)
		}
	}
}

// silent is how long nothing was heard of the runner of s, whose deadline has passed. One
// that was left has more time until it is found.
func (p *Placement) silent(s *slot) time.Duration {
	if s.left && s.deadline.Equal(s.accepted.Add(searchTime)) {
		return searchTime
	}
	return p.cfg.Silence
}

// silence says how a runner was lost; broke is why its stream ended, if it has.
func silence(d time.Duration, broke string) string {
	text := "no sign of life for " + round(d)
	if broke != "" {
		text += ": " + broke
	}
	return text
}

// forsake gives the award of s up for lost: its peer is not asked again.
func (p *Placement) forsake(s *slot, why string, now time.Time) {
	q, tell := s.peer, CloseLost
	if q == p.self {
		tell = "" // it has said itself that the run is over
	}
	p.settle(s, AwardLost, why, tell, now)
	q.set(peerOut, CodeLost, "it lost the job: "+why)
	q.rec = p.line(q)
	p.loss = "lost " + Short(q.did) + " (" + why + ")"
	if q == p.self {
		p.loss = "it could not run here (" + why + ")"
	}
}

// settle ends the award of s in the record, tells a peer that may be running it, and
// empties s.
func (p *Placement) settle(s *slot, state, why string, tell CloseReason, now time.Time) {
	a := &p.rec.Awards[s.award]
	a.State, a.Why, a.Took = state, why, now.Sub(s.at)
	q := s.peer
	q.taken = false
	if tell != "" {
		q.open = false
		p.do(Close{Peer: q.did, Lease: s.lease, Why: tell})
	}
	*s = slot{}
}
