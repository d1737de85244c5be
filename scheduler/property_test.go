package scheduler

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/ipfs/go-cid"
	"pgregory.net/rapid"

	"github.com/ipfs-liftoff/liftoff/job"
)

// observer checks a Placement from outside. It derives from the actions alone the invariants that
// hold whatever the peers send, in any order.
type observer struct {
	t        *rapid.T
	p        *Placement
	now      time.Time
	wake     time.Time
	runs     int
	asked    int // maximum number of peers asked in a round
	round    int
	inRound  int
	known    map[job.DID]bool
	open     map[job.DID]bool  // conversations
	waiting  map[job.DID]bool  // those without an answer
	living   map[Lease]job.DID // awards with an active lease
	accepted map[Lease]bool
	results  map[job.DID]cid.Cid
	ended    Action
	awards   int
}

func (w *observer) step(ev Event) {
	w.before(ev)
	for _, a := range w.p.Step(ev, w.now) {
		if w.ended != nil {
			w.t.Fatalf("%#v after the end", a)
		}
		w.do(a)
	}
	if n := len(w.living) + len(w.results); n > w.runs {
		w.t.Fatalf("%d awards for %d runs", n, w.runs)
	}
	if (w.ended != nil) != w.p.Ended() {
		w.t.Fatalf("ended: %v and %v", w.ended, w.p.Ended())
	}
}

// before applies the effects of an event itself.
func (w *observer) before(ev Event) {
	switch ev := ev.(type) {
	case Bid:
		if w.waiting[ev.Peer] && ev.Bid.Refuses() {
			delete(w.open, ev.Peer)
		}
		delete(w.waiting, ev.Peer)
	case AskFailed:
		if w.waiting[ev.Peer] {
			delete(w.open, ev.Peer)
		}
		delete(w.waiting, ev.Peer)
	case Accepted:
		if w.living[ev.Lease] == ev.Peer {
			w.accepted[ev.Lease] = true
		}
	case Declined:
		if w.living[ev.Lease] == ev.Peer && ev.Peer != "self" && !w.accepted[ev.Lease] {
			delete(w.living, ev.Lease)
		}
	case Lost:
		if w.living[ev.Lease] == ev.Peer && ev.Peer == "self" {
			delete(w.living, ev.Lease)
		}
	case Done:
		if w.living[ev.Lease] == ev.Peer && w.accepted[ev.Lease] && ev.Outcome.Defined() {
			delete(w.living, ev.Lease)
			w.results[ev.Peer] = ev.Outcome
		}
	}
}

func (w *observer) do(a Action) {
	switch a := a.(type) {
	case Ask:
		if a.Attempt != w.round {
			w.round, w.inRound = a.Attempt, 0
		}
		if w.inRound += len(a.Peers); w.inRound > w.asked {
			w.t.Fatalf("%d asked in round %d, at most %d", w.inRound, w.round, w.asked)
		}
		for _, d := range a.Peers {
			if d == "self" || !w.known[d] || w.open[d] {
				w.t.Fatalf("ask %s", d)
			}
			w.open[d], w.waiting[d] = true, true
		}
	case Award:
		if !w.open[a.Peer] {
			w.t.Fatalf("award without a conversation: %s", a.Peer)
		}
		w.award(a.Peer, a.Lease)
	case RunHere:
		w.award("self", a.Lease)
		w.accepted[a.Lease] = true
	case Attach:
		if w.living[a.Lease] != a.Peer {
			w.t.Fatalf("attach to an unknown lease")
		}
	case Close:
		if a.Lease == (Lease{}) && !w.open[a.Peer] {
			w.t.Fatalf("close %s, which is not open", a.Peer)
		}
		delete(w.open, a.Peer)
		delete(w.waiting, a.Peer)
		delete(w.living, a.Lease)
	case Wake:
		if a.At.Before(w.now) {
			w.t.Fatalf("Wake in the past")
		}
		w.wake = a.At
	case Finish, Fail:
		w.ended = a
	}
}

func (w *observer) award(d job.DID, l Lease) {
	for old, other := range w.living {
		if old == l || other == d {
			w.t.Fatalf("%s is awarded twice", d)
		}
	}
	if _, ok := w.results[d]; ok {
		w.t.Fatalf("%s already has a result", d)
	}
	w.living[l] = d
	w.awards++
}

// drawBid generates a bid with true or false claims.
func drawBid(t *rapid.T) job.Bid {
	if rapid.IntRange(0, 3).Draw(t, "refuses") == 0 {
		return Refuse(rapid.SampledFrom([]string{job.RefuseBusy, job.RefuseLabels, "new-code"}).Draw(t, "code"), "it does not want to")
	}
	ms := rapid.SampledFrom([]int64{0, 0, 1, 1000, 1 << 62})
	return job.Bid{
		Have: 1 << 20, Missing: rapid.SampledFrom([]uint64{0, 1, 1 << 62}).Draw(t, "missing"),
		Queue: ms.Draw(t, "queue"), Fetch: ms.Draw(t, "fetch"), Run: ms.Draw(t, "run"), Slots: rapid.IntRange(0, 2).Draw(t, "slots"),
	}
}

func drawCandidates(t *rapid.T, from, most int) (cs []Candidate) {
	for i := range rapid.IntRange(0, most).Draw(t, "peers") {
		c := Candidate{Peer: job.DID(fmt.Sprint("p", from+i)), Holder: rapid.Bool().Draw(t, "holder"), Slots: rapid.IntRange(-1, 1).Draw(t, "free")}
		switch rapid.IntRange(0, 4).Draw(t, "capacity") {
		case 0:
			c.Capacity = &job.Capacity{}
		case 1:
			c.Capacity = &job.Capacity{ABIs: []string{job.ABIWASI}}
		}
		cs = append(cs, c)
	}
	return cs
}

// drawPrior generates prior runs.
func drawPrior(t *rapid.T) (all []PriorRun) {
	for i := range max(0, rapid.IntRange(-3, 4).Draw(t, "left")) {
		l := PriorRun{Peer: job.DID(rapid.SampledFrom([]string{"self", "p1", "p2", "p3", "q"}).Draw(t, "by"))}
		if rapid.Bool().Draw(t, "ended") {
			l.Result = Result{Peer: l.Peer, Outcome: named("x")}
		} else {
			l.Lease = Lease{byte(i + 1)}
		}
		all = append(all, l)
	}
	return all
}

// resumes records which prior runs the Placement must resume: at most as many as there are runs,
// one of each peer, and no running one of this node.
func (w *observer) resumes(all []PriorRun) {
	seen := map[job.DID]bool{}
	for _, l := range all {
		if seen[l.Peer] || len(seen) == w.runs || l.Peer == "self" && !l.Result.Outcome.Defined() {
			continue
		}
		seen[l.Peer], w.known[l.Peer] = true, l.Peer != "self"
		w.awards++
		if l.Result.Outcome.Defined() {
			w.results[l.Peer] = l.Result.Outcome
		} else {
			w.living[l.Lease], w.accepted[l.Lease] = l.Peer, true
		}
	}
}

// TestPlacementKeepsItsInvariants sends any event from any peer at any time.
func TestPlacementKeepsItsInvariants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		runs := rapid.IntRange(1, 3).Draw(t, "runs")
		asked := rapid.SampledFrom([]int{0, 2}).Draw(t, "asked")
		where := rapid.SampledFrom([]string{Anywhere, Anywhere, Local, OnNetwork, "p1"}).Draw(t, "where")
		w := &observer{
			t: t, now: epoch, runs: runs, asked: orDefault(asked, max(8, 4*runs)),
			known: map[job.DID]bool{"p1": where == "p1"}, open: map[job.DID]bool{}, waiting: map[job.DID]bool{}, living: map[Lease]job.DID{}, accepted: map[Lease]bool{},
			results: map[job.DID]cid.Cid{},
			p: NewPlacement(Config{Asked: asked}, Request{
				Job: job.Order{Runs: runs, Timeout: 1000}, CID: named("x"), Self: "self", Where: where, Work: Work{ABI: job.ABIWASI},
				Alone: rapid.Bool().Draw(t, "alone"),
			}),
		}
		known := drawCandidates(t, 0, 12)
		for _, c := range known {
			w.known[c.Peer] = true
		}
		prior := drawPrior(t)
		if runs == 1 || where == Anywhere || where == OnNetwork { // else it fails at once
			w.resumes(prior)
		}
		w.step(Start{Self: drawBid(t), Peers: known, Prior: prior})
		for range rapid.IntRange(0, 60).Draw(t, "events") {
			w.random()
		}
		w.drain()
		w.check()
	})
}

// random applies one random event, preferably a valid one.
func (w *observer) random() {
	t := w.t
	d := job.DID(fmt.Sprint("p", rapid.IntRange(0, 15).Draw(t, "who")))
	var l Lease
	if ls := sortedLeases(w.living); len(ls) > 0 && rapid.IntRange(0, 5).Draw(t, "right") > 0 {
		l = rapid.SampledFrom(ls).Draw(t, "lease")
		d = w.living[l]
	}
	switch rapid.IntRange(0, 11).Draw(t, "what") {
	case 0, 1, 2:
		if open := sortedDIDs(w.open); len(open) > 0 {
			d = rapid.SampledFrom(open).Draw(t, "bidder")
		}
		w.step(Bid{Peer: d, Bid: drawBid(t)})
	case 3:
		w.step(AskFailed{Peer: d, Why: "it is gone", Denied: rapid.Bool().Draw(t, "denied")})
	case 4, 5:
		w.step(Accepted{Peer: d, Lease: l})
	case 6:
		w.step(Declined{Peer: d, Lease: l, Why: "no", Queue: time.Duration(rapid.IntRange(0, 1).Draw(t, "later")) * time.Second})
	case 7:
		w.step(Heartbeat{Peer: d, Lease: l})
	case 8:
		w.step(Done{Peer: d, Lease: l, Outcome: named(rapid.SampledFrom([]string{"", "x", "y"}).Draw(t, "outcome")), Fuel: 1 << 40})
	case 9:
		w.step(Lost{Peer: d, Lease: l, Why: "it broke", Gone: rapid.Bool().Draw(t, "gone")})
	case 10:
		cs := drawCandidates(t, rapid.IntRange(0, 12).Draw(t, "from"), 3)
		for _, c := range cs {
			w.known[c.Peer] = w.known[c.Peer] || w.ended == nil
		}
		w.step(Candidates{cs})
	case 11:
		w.pass(time.Duration(rapid.IntRange(0, 20_000).Draw(t, "ms")) * time.Millisecond)
	}
}

// pass advances the time, with the Ticks that were requested.
func (w *observer) pass(d time.Duration) {
	end := w.now.Add(d)
	for !w.wake.IsZero() && !w.wake.After(end) && w.ended == nil {
		w.now, w.wake = w.wake, time.Time{}
		w.step(Tick{})
	}
	w.now = end
}

// drain sends no more events of peers, only results of this node: the Placement must end by itself.
func (w *observer) drain() {
	for n := 0; w.ended == nil; n++ {
		if n > 500 {
			w.t.Fatalf("it does not end: %+v", w.p.Record())
		}
		for _, l := range sortedLeases(w.living) {
			if w.living[l] == "self" {
				w.step(Done{Peer: "self", Lease: l, Outcome: named("x")})
			}
		}
		if w.ended == nil && w.wake.IsZero() {
			w.t.Fatalf("it has not ended and requests no Tick: %+v", w.p.Record())
		}
		if w.ended == nil {
			w.now, w.wake = w.wake, time.Time{}
			w.step(Tick{})
		}
	}
}

func (w *observer) check() {
	t := w.t
	if len(w.living) > 0 {
		t.Fatalf("active leases after the end: %v", w.living)
	}
	for d := range w.open {
		t.Fatalf("the conversation with %s was not closed", d)
	}
	if f, ok := w.ended.(Finish); ok {
		if len(f.Winners) != w.runs || len(w.results) != w.runs {
			t.Fatalf("%d winners, %d results", len(f.Winners), len(w.results))
		}
		differ := false
		for _, r := range f.Winners {
			differ = differ || w.results[r.Peer] != f.Outcome
		}
		if differ != f.Disagree {
			t.Fatalf("disagree is %v of %v", f.Disagree, w.results)
		}
	}
	if f, ok := w.ended.(Fail); ok && (f.Why == "" || f.Code == "") {
		t.Fatalf("failed without a reason: %+v", f)
	}
	r := w.p.Record()
	explained := len(r.Peers)
	for _, p := range r.Peers {
		if p.Why == "" {
			t.Fatalf("no reason for %s", p.Peer)
		}
	}
	for _, s := range r.Skipped {
		explained += s.Count
		if s.Why == "" {
			t.Fatalf("no reason for %v", s.Peers)
		}
	}
	if want := len(w.p.peers); explained != want {
		t.Fatalf("%d of %d peers are explained", explained, want)
	}
	for d, known := range w.known {
		if known && w.p.peers[d] == nil {
			t.Fatalf("%s was forgotten", d)
		}
	}
	if len(r.Awards) != w.awards {
		t.Fatalf("%d awards in the record, %d were made", len(r.Awards), w.awards)
	}
	for _, a := range r.Awards {
		if a.State == AwardOpen || a.State == AwardRunning {
			t.Fatalf("the award of %s is %s after the end", a.Peer, a.State)
		}
	}
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var back Record
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(back)
	if err != nil || string(again) != string(b) {
		t.Fatalf("the record does not survive JSON: %v\n%s", err, cmp.Diff(string(b), string(again)))
	}
}

// TestTheBestBidWins compares an award with the definition of the best bid.
func TestTheBestBidWins(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 8).Draw(t, "peers")
		var cs []Candidate
		bids := map[job.DID]job.Bid{}
		factors := map[job.DID]float64{}
		for i := range n {
			d := job.DID(fmt.Sprint("p", i))
			cs = append(cs, Candidate{Peer: d})
			bids[d] = job.Bid{Missing: rapid.Uint64Range(1, 9).Draw(t, "missing"), Fetch: rapid.Int64Range(0, 400).Draw(t, "fetch"), Slots: 1}
			factors[d] = rapid.SampledFrom([]float64{0.5, 1, 8}).Draw(t, "factor")
		}
		award := func(order []Candidate) job.DID {
			p := NewPlacement(Config{Factor: func(d job.DID) float64 { return factors[d] }}, Request{Job: job.Order{Runs: 1}, CID: named("x"), Self: "self", Where: OnNetwork})
			p.Step(Start{Peers: order}, epoch)
			for _, c := range order {
				for _, a := range p.Step(Bid{Peer: c.Peer, Bid: bids[c.Peer]}, epoch) {
					if a, ok := a.(Award); ok {
						return a.Peer
					}
				}
			}
			t.Fatalf("no award")
			return ""
		}
		got := award(cs)
		least := 1e9
		for d, b := range bids {
			least = min(least, score(b, factors[d], 0))
		}
		mine := score(bids[got], factors[got], 0)
		if mine > least*tie {
			t.Fatalf("%s costs %f, the least is %f", got, mine, least)
		}
		for d, b := range bids {
			if score(b, factors[d], 0) <= least*tie && b.Missing < bids[got].Missing {
				t.Fatalf("%s has more missing bytes than %s, at about the same score", got, d)
			}
		}
		slices.Reverse(cs)
		if again := award(cs); again != got {
			t.Fatalf("%s won, but %s when the bids came in another order", got, again)
		}
	})
}

// TestAdmissionIsNeverExceeded applies random reservations and releases.
func TestAdmissionIsNeverExceeded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := AdmissionConfig{
			Slots: rapid.IntRange(1, 3).Draw(t, "slots"), Queue: rapid.IntRange(-1, 4).Draw(t, "queue"),
			Memory: rapid.SampledFrom([]uint64{0, 4 << 20}).Draw(t, "memory"), PerRequester: rapid.IntRange(0, 4).Draw(t, "share"),
		}
		a := NewAdmission(cfg)
		now := epoch
		leases := map[Lease]bool{} // true: it has a slot
		seen := map[[17]byte]time.Time{}
		started := func(ls []Lease) {
			for _, l := range ls {
				if slot, ok := leases[l]; !ok || slot {
					t.Fatalf("%s is started and has %v, %v", l, slot, ok)
				}
				leases[l] = true
			}
		}
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			var l Lease
			l[0] = byte(rapid.IntRange(0, 12).Draw(t, "lease"))
			switch rapid.IntRange(0, 5).Draw(t, "what") {
			case 0, 1, 2:
				r := Reservation{
					Lease: l, For: 15 * time.Second, Queue: time.Hour, Own: rapid.IntRange(0, 5).Draw(t, "own") == 0,
					Job: job.Order{
						Issuer: job.DID(rapid.SampledFrom([]string{"a", "b"}).Draw(t, "issuer")), Priority: rapid.IntRange(-1, 1).Draw(t, "priority"),
						Limits: job.Limits{Pages: uint64(rapid.IntRange(1, 70).Draw(t, "pages"))}, Issued: now.UnixMilli(), Expires: now.Add(time.Second).UnixMilli(),
					},
				}
				r.Job.Nonce[0] = byte(rapid.IntRange(0, 30).Draw(t, "nonce"))
				key := [17]byte{byte(r.Job.Issuer[0]), r.Job.Nonce[0]}
				_, had := leases[l]
				g, err := a.Accept(r, now)
				if err != nil {
					break
				}
				if had {
					t.Fatalf("%s was accepted twice", l)
				}
				if !r.Own {
					if until, ok := seen[key]; ok && !now.After(until) {
						t.Fatalf("a replay was accepted")
					}
					seen[key] = now.Add(time.Second + ClockSkew)
				}
				leases[l] = g.Started
			case 3:
				delete(leases, l)
				started(a.Release(l, now))
			case 4:
				if _, ok := leases[l]; a.Renew(l, now) != ok {
					t.Fatalf("renew %s: %v", l, !ok)
				}
			case 5:
				now = now.Add(time.Duration(rapid.IntRange(0, 400).Draw(t, "s")) * time.Second)
				ended, begun := a.Expire(now)
				for _, l := range ended {
					delete(leases, l)
				}
				started(begun)
			}
			running := 0
			for _, slot := range leases {
				if slot {
					running++
				}
			}
			if running != a.Running() || len(leases)-running != a.Waiting() || len(a.leases) != len(leases) {
				t.Fatalf("%d running, %d waiting; Admission says %d, %d", running, len(leases)-running, a.Running(), a.Waiting())
			}
			if running > cfg.Slots || cfg.Memory > 0 && a.memory > cfg.Memory {
				t.Fatalf("%d of %d slots, %d bytes", running, cfg.Slots, a.memory)
			}
			if a.Waiting() > 0 && a.fits(a.waiting[0].memory) {
				t.Fatalf("a job waits although a slot is free")
			}
		}
	})
}

func sortedLeases(m map[Lease]job.DID) (ls []Lease) {
	for l := range m {
		ls = append(ls, l)
	}
	slices.SortFunc(ls, func(a, b Lease) int { return slices.Compare(a[:], b[:]) })
	return ls
}

func sortedDIDs(m map[job.DID]bool) (ds []job.DID) {
	for d, ok := range m {
		if ok {
			ds = append(ds, d)
		}
	}
	slices.Sort(ds)
	return ds
}
