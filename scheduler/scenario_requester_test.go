package scheduler

import (
	"fmt"
	"strings"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/job"
)

// requester is the stage of a Placement. It delivers the Ticks that the Placement requests.
type requester struct {
	p      *Placement
	now    time.Time
	wake   time.Time
	next   []Candidate
	prior  []PriorRun
	leases map[job.DID]Lease // of the newest award
	before map[job.DID]Lease // and of the one before
	factor map[job.DID]float64
	names  map[cid.Cid]string // of the Outcomes
	self   *job.Capacity
}

func newRequester(c command) *requester {
	r := &requester{
		now: epoch, leases: map[job.DID]Lease{}, before: map[job.DID]Lease{}, factor: map[job.DID]float64{}, names: map[cid.Cid]string{},
	}
	cfg := Config{
		Window: c.time("window"), Attempts: c.int("attempts", 0), Asked: c.int("asked", 0),
		Factor: func(d job.DID) float64 { return orDefault(r.factor[d], 1) },
	}
	r.p = NewPlacement(cfg, Request{
		Job: job.Order{
			Runs: c.int("runs", 1), Need: c.labels("need"), Prefer: c.labels("prefer"), Limits: c.limits(),
			Timeout: c.time("timeout").Milliseconds(),
		},
		CID: named("job " + c.str("name")), Self: "self", Where: c.str("where"), Alone: c.is("alone"),
		Work: Work{ABI: job.ABIWASI},
	})
	return r
}

func (r *requester) play(c command) error {
	if c.verb == "after" {
		return r.after(c)
	}
	var d job.DID
	if len(c.words) > 0 {
		d = job.DID(c.words[0])
	}
	lease := r.leases[d]
	if c.is("old") {
		lease = r.before[d]
	}
	switch c.verb {
	case "peer":
		r.next = append(r.next, r.candidate(c))
	case "factor":
		r.factor[d] = float64(c.int("percent", 100)) / 100
	case "self":
		cc := r.candidate(c)
		r.self = cc.Capacity
	case "start":
		b := c.bid()
		r.step(c, Start{Self: b, Capacity: r.self, Peers: r.take(), Prior: r.prior})
	case "prior":
		r.prior = append(r.prior, r.priorOf(c, d))
	case "meet":
		r.step(c, Candidates{r.take()})
	case "bid":
		r.step(c, Bid{Peer: d, Bid: c.bid(), RTT: c.time("rtt")})
	case "unreached":
		r.step(c, AskFailed{Peer: d, Why: c.str("why"), Denied: c.is("denied")})
	case "accept":
		r.step(c, Accepted{Peer: d, Lease: lease, Start: c.time("start")})
	case "decline":
		r.step(c, Declined{Peer: d, Lease: lease, Why: c.str("why"), Queue: c.time("queue")})
	case "heartbeat":
		r.step(c, Heartbeat{Peer: d, Lease: lease, Phase: orDefaultText(c.str("phase"), "run")})
	case "done":
		o := named(c.str("outcome"))
		r.names[o] = c.value["outcome"]
		r.step(c, Done{Peer: d, Lease: lease, Outcome: o, Fuel: c.bytes("fuel"), Moved: c.time("moved"), Replayed: c.str("replayed") != ""})
	case "lost":
		r.step(c, Lost{Peer: d, Lease: lease, Why: c.str("why"), Gone: c.is("gone"), FalseOutput: c.is("false"), Final: c.str("final")})
	case "cancel":
		r.step(c, Cancel{Why: c.str("why")})
	case "tick":
		r.step(c, Tick{})
	case "record":
		r.record(c)
	default:
		return fmt.Errorf("unknown verb of a requester")
	}
	return nil
}

func (r *requester) take() (cs []Candidate) {
	cs, r.next = r.next, nil
	return cs
}

// priorOf returns a prior run of a peer: a running one, or an outcome.
func (r *requester) priorOf(c command, d job.DID) PriorRun {
	if name := c.str("outcome"); name != "" {
		o := named(name)
		r.names[o] = name
		return PriorRun{Peer: d, Result: Result{Peer: d, Outcome: o}}
	}
	l := Lease{byte(len(r.prior) + 1)}
	if _, ok := r.leases[d]; !ok {
		r.leases[d] = l
	}
	return PriorRun{Peer: d, Lease: l}
}

func (r *requester) candidate(c command) Candidate {
	capacity := job.Capacity{
		ABIs: []string{job.ABIWASI}, Labels: c.labels("labels"), Slots: 2, Memory: c.bytes("mem"), Rate: c.bytes("rate"),
		Ceiling: job.Limits{Pages: c.bytes("ceiling") / pageSize},
	}
	if c.is("stores") {
		capacity.ABIs = nil
	}
	if a := c.str("abi"); a != "" {
		capacity.ABIs = []string{a}
	}
	cand := Candidate{Holder: c.is("holder"), Capacity: &capacity, Slots: c.int("free", -1)}
	if len(c.words) > 0 {
		cand.Peer = job.DID(c.words[0])
	}
	if c.is("unknown") {
		cand.Capacity = nil
	}
	return cand
}

// after advances the time, with a Tick whenever one was requested.
func (r *requester) after(c command) error {
	d, err := time.ParseDuration(c.words[0])
	if err != nil {
		return err
	}
	end := r.now.Add(d)
	for n := 0; !r.wake.IsZero() && !r.wake.After(end); n++ {
		if n > 1000 {
			return fmt.Errorf("endless Wakes")
		}
		r.now, r.wake = r.wake, time.Time{}
		r.step(c, Tick{})
	}
	r.now = end
	return nil
}

func (r *requester) step(c command, ev Event) {
	for _, a := range r.p.Step(ev, r.now) {
		at := ""
		if _, ok := ev.(Tick); ok {
			at = fmt.Sprintf("[%s] ", r.now.Sub(epoch))
		}
		if text := r.show(a); text != "" {
			c.say("%s%s", at, text)
		}
	}
}

func (r *requester) show(a Action) string {
	switch a := a.(type) {
	case Ask:
		return fmt.Sprintf("ask %s (attempt %d, window %s)", dids(a.Peers), a.Attempt, a.Window)
	case Announce:
		return fmt.Sprintf("announce (window %s)%s", a.Window, unless(len(a.Exclude) == 0, " excluding "+dids(a.Exclude)))
	case Award:
		r.before[a.Peer], r.leases[a.Peer] = r.leases[a.Peer], a.Lease
		return fmt.Sprintf("award %s (attempt %d, queue %s)%s", a.Peer, a.Attempt, a.Queue, unless(len(a.Sources) == 0, " sources "+dids(a.Sources)))
	case RunHere:
		r.leases["self"] = a.Lease
		return "run here" + unless(len(a.Sources) == 0, " sources "+dids(a.Sources))
	case Attach:
		return fmt.Sprintf("attach %s", a.Peer)
	case Close:
		return fmt.Sprintf("close %s%s: %s", a.Peer, unless(a.Lease == Lease{}, "'s lease"), a.Why)
	case Wake:
		r.wake = a.At
		return ""
	case Calibrate:
		return fmt.Sprintf("calibrate %s: claimed %s, took %s", a.Peer, a.Claimed, a.Actual)
	case Note:
		return "| " + a.Text
	case Finish:
		var w []string
		for _, x := range a.Winners {
			w = append(w, fmt.Sprintf("%s=%s", x.Peer, r.names[x.Outcome]))
		}
		return "finish " + strings.Join(w, " ") + unless(!a.Disagree, " DISAGREE")
	case Fail:
		return fmt.Sprintf("fail %s: %s%s", a.Code, a.Why, unless(a.Hint == "", "\n\thint: "+a.Hint))
	}
	return fmt.Sprintf("%T %+v", a, a)
}

func (r *requester) record(c command) {
	rec := r.p.Record()
	c.say("attempts %d, announced %d: %s", rec.Attempts, rec.Announce, orDefaultText(rec.Ended, "goes on"))
	for _, p := range rec.Peers {
		c.say("peer %s: %s%s", p.Peer, unless(p.Code == "", "["+p.Code+"] "), p.Why)
	}
	for _, s := range rec.Skipped {
		c.say("skipped %d (%s): %s%s", s.Count, dids(s.Peers), unless(s.Code == "", "["+s.Code+"] "), s.Why)
	}
	for _, a := range rec.Awards {
		c.say("award slot %d attempt %d %s: %s%s", a.Slot, a.Attempt, a.Peer, a.State, unless(a.Why == "", ": "+a.Why))
	}
}

func dids(ds []job.DID) string {
	var s []string
	for _, d := range ds {
		s = append(s, string(d))
	}
	return strings.Join(s, " ")
}

func unless(not bool, s string) string {
	if not {
		return ""
	}
	return s
}
