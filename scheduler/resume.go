package scheduler

import (
	"time"

	"github.com/ipfs-liftoff/liftoff/job"
)

// PriorRun is one run of an earlier Placement of the same job, whose process has ended: a run that
// may still go on at a provider, or a result.
type PriorRun struct {
	Peer   job.DID
	Lease  Lease  // of a run that may go on
	Result Result // with an Outcome: the run has ended
}

// searchTime is how long to look for a provider with a prior run. This process has just started and
// may have to find its peers first.
const searchTime = 10 * time.Second

// resume fills slots with prior runs. The bid of such a provider is not known. So it is neither
// calibrated by its time nor held to a start time.
func (p *Placement) resume(all []PriorRun, now time.Time) {
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
		if !q.contacted && q != p.self {
			q.contacted = true
			p.contacted = append(p.contacted, q)
		}
		q.taken = true
		q.set(peerUsed, "", "it ran the job before the requester restarted")
		s := &p.slots[i]
		*s = slot{state: slotRunning, peer: q, lease: l.Lease, award: len(p.rec.Awards), at: now, accepted: now, prior: true}
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
			s.end = now.Add(millis(t) + lateTolerance)
		}
		p.attach(s, now)
	}
}

// keepResult ends the award of s with the result of its run.
func (p *Placement) keepResult(s *slot, r Result, now time.Time) {
	a := &p.rec.Awards[s.award]
	a.State, a.Why, a.Took, a.Result = AwardDone, "", now.Sub(s.at), &r
	s.state, s.result = slotDone, r
	s.deadline, s.end, s.attachAt = time.Time{}, time.Time{}, time.Time{}
	s.peer.why = "it ran the job"
	s.peer.rec = p.line(s.peer)
}
