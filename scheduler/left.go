package scheduler

import (
	"time"

	"github.com/ipfs-liftoff/liftoff/job"
)

// Left is what an earlier Placement of the same job, whose process has ended, has left of
// one run: a runner, which may still be at it, or a result.
type Left struct {
	Peer   job.DID
	Lease  Lease  // of a runner
	Result Result // with an Outcome: it has ended
}

// searchTime is how long a runner that was left is looked for: this process has just
// begun, and may have to find its peers first.
const searchTime = 10 * time.Second

// takeUp fills slots with what was left. Nothing is known of a runner's bid, so that it
// is neither calibrated by how long it takes nor held to when it was to start.
func (p *Placement) takeUp(all []Left, now time.Time) {
	for _, l := range all {
		i := 0
		for i < len(p.slots) && p.slots[i].state != slotEmpty {
			i++
		}
		isResult := l.Result.Outcome.Defined()
		if i == len(p.slots) || l.Peer == p.req.Self && !isResult {
			continue
		}
		q := p.known(l.Peer)
		if q == nil || q.taken {
			continue
		}
		if !q.met && q != p.self {
			q.met = true
			p.met = append(p.met, q)
		}
		q.taken = true
		q.set(peerUsed, "", "it had the job before")
		s := &p.slots[i]
		*s = slot{state: slotRunning, peer: q, lease: l.Lease, award: len(p.rec.Awards), at: now, accepted: now, left: true}
		q.rec = p.line(q)
		p.rec.Awards = append(p.rec.Awards, AwardRecord{
			Slot: i, Peer: q.did, Self: q == p.self, Lease: l.Lease, At: now, State: AwardRunning,
		})
		if isResult {
			p.keepResult(s, l.Result, now)
			continue
		}
		s.deadline = now.Add(searchTime)
		if t := p.req.Job.Timeout; t > 0 {
			s.end = now.Add(millis(t) + patience)
		}
		p.attach(s, now)
	}
}

// keepResult ends the award of s with what its run came to.
func (p *Placement) keepResult(s *slot, r Result, now time.Time) {
	a := &p.rec.Awards[s.award]
	a.State, a.Why, a.Took, a.Result = AwardDone, "", now.Sub(s.at), &r
	s.state, s.result = slotDone, r
	s.deadline, s.end, s.attachAt = time.Time{}, time.Time{}, time.Time{}
	s.peer.why = "it ran the job"
	s.peer.rec = p.line(s.peer)
}
