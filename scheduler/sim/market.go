package sim

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/scheduler"
)

// requester carries out the decisions of the Placement of one job. Each message takes half a round
// trip, and a peer that is down does not answer.
type requester struct {
	net  *network
	t    *task
	p    *scheduler.Placement
	wake int // number of Wakes so far: only the last one counts
	bids map[job.DID]job.Bid
	ran  map[scheduler.Lease]*node
}

// market places t like a node does.
func (net *network) market(t *task) {
	r := &requester{net: net, t: t, bids: map[job.DID]job.Bid{}, ran: map[scheduler.Lease]*node{}}
	var nonce [16]byte
	binary.BigEndian.PutUint64(nonce[:], net.Seed)
	binary.BigEndian.PutUint64(nonce[8:], uint64(t.n))
	r.p = scheduler.NewPlacement(scheduler.Config{Factor: t.from.calibration.Factor}, scheduler.Request{
		Job: job.Order{Runs: 1, Nonce: nonce}, CID: name(nonce), Self: t.from.did, Work: t.work(),
	})
	r.step(scheduler.Start{Self: t.from.offer(t, net.nearest(t, t.from)), Capacity: &t.from.capacity, Peers: net.known(t)})
}

// name returns the CID of a job.
func name(nonce [16]byte) cid.Cid { return job.CIDOf(nonce[:]) }

func (r *requester) step(ev scheduler.Event) {
	for _, a := range r.p.Step(ev, r.net.clock.now) {
		r.do(a)
	}
}

// send delivers a message to n unless n is down, and counts it.
func (r *requester) send(n *node, arrive, downAnswer func()) {
	r.t.messages++
	r.net.clock.after(r.net.rtt(r.t.from, n)/2, func() {
		if n.up {
			arrive()
		} else {
			r.net.clock.after(r.net.rtt(r.t.from, n)/2, downAnswer)
		}
	})
}

// reply delivers an event from n to the requester.
func (r *requester) reply(n *node, ev scheduler.Event) {
	r.t.messages++
	r.net.clock.after(r.net.rtt(r.t.from, n)/2, func() { r.step(ev) })
}

func (r *requester) do(a scheduler.Action) {
	net, t := r.net, r.t
	switch a := a.(type) {
	case scheduler.Ask:
		for _, d := range a.Peers {
			r.ask(net.byDID[d])
		}
	case scheduler.Award:
		r.awarded()
		r.award(a, net.byDID[a.Peer])
	case scheduler.RunHere:
		r.awarded()
		r.runLocal(a)
	case scheduler.Attach:
		n := net.byDID[a.Peer]
		lost := func() { r.step(scheduler.Lost{Peer: a.Peer, Lease: a.Lease, Why: "connection refused"}) }
		r.send(n, func() {
			if n.runs[a.Lease] == nil {
				r.reply(n, scheduler.Lost{Peer: a.Peer, Lease: a.Lease, Why: "unknown lease", Gone: true})
				return
			}
			r.reply(n, scheduler.Heartbeat{Peer: a.Peer, Lease: a.Lease})
		}, lost)
	case scheduler.Close:
		n := net.byDID[a.Peer]
		r.send(n, func() {
			if n.runs[a.Lease] != nil {
				n.release(a.Lease)
			}
		}, func() {})
	case scheduler.Announce:
		t.messages++
	case scheduler.Wake:
		r.wake++
		mine := r.wake
		net.clock.at(a.At, func() {
			if mine == r.wake {
				r.step(scheduler.Tick{})
			}
		})
	case scheduler.Calibrate:
		t.from.calibration.Observe(a.Peer, a.Claimed, a.Actual)
	case scheduler.Finish:
		r.count()
		net.ended(t, true)
	case scheduler.Fail:
		r.count()
		net.ended(t, false)
	}
}

// count adds the record to the statistics.
func (r *requester) count() {
	if r.t.n < r.net.Warm {
		return
	}
	for _, a := range r.p.Record().Awards {
		switch a.State {
		case scheduler.AwardLost:
			r.net.counted.lost++
		case scheduler.AwardDeclined:
			r.net.counted.declined++
		}
	}
}

func (r *requester) awarded() {
	if !r.t.asked {
		r.t.asked, r.t.awarded = true, r.net.clock.now
	}
}

func (r *requester) ask(n *node) {
	r.send(n, func() {
		bid, ok := n.admission.Ask(r.t.from.did, r.net.clock.now)
		if ok {
			bid = n.offer(r.t, r.net.nearest(r.t, n))
		}
		r.bids[n.did] = bid
		r.reply(n, scheduler.Bid{Peer: n.did, Bid: bid, RTT: r.net.rtt(r.t.from, n)})
	}, func() { r.step(scheduler.AskFailed{Peer: n.did, Why: "connection refused"}) })
}

func (r *requester) award(a scheduler.Award, n *node) {
	lost := func(gone bool) func() {
		return func() {
			r.step(scheduler.Lost{Peer: a.Peer, Lease: a.Lease, Why: "connection refused", Gone: gone})
		}
	}
	r.send(n, func() {
		life := n.life
		b := r.bids[n.did]
		run := r.newRun(a.Lease, func() {
			if n.life == life {
				r.reply(n, scheduler.Done{Peer: a.Peer, Lease: a.Lease, Outcome: name([16]byte(a.Lease)), Fuel: r.t.fuel, Moved: seconds(output, n.link) + r.net.rtt(r.t.from, n)/2})
			}
		}, func() { r.net.clock.after(r.net.rtt(r.t.from, n)/2, lost(false)) })
		g, err := n.accept(run, a.Queue, ms(b.Fetch+b.Run), false)
		var declined *scheduler.Decline
		if errors.As(err, &declined) {
			r.reply(n, scheduler.Declined{Peer: a.Peer, Lease: a.Lease, Why: declined.Why, Queue: declined.Queue})
			return
		}
		r.reply(n, scheduler.Accepted{Peer: a.Peer, Lease: a.Lease, Start: g.Start})
		r.heartbeats(a, n, run)
	}, lost(true))
}

// heartbeats sends a heartbeat every two seconds while the run goes on.
func (r *requester) heartbeats(a scheduler.Award, n *node, run *run) {
	r.net.clock.after(2*time.Second, func() {
		if n.up && n.runs[a.Lease] == run {
			r.t.heartbeats++
			phase := scheduler.PhaseQueue
			if !run.started.IsZero() {
				phase = "run"
			}
			r.reply(n, scheduler.Heartbeat{Peer: a.Peer, Lease: a.Lease, Phase: phase})
			r.heartbeats(a, n, run)
		}
	})
}

func (r *requester) runLocal(a scheduler.RunHere) {
	n := r.t.from
	run := r.newRun(a.Lease, func() {
		r.step(scheduler.Done{Peer: n.did, Lease: a.Lease, Outcome: name([16]byte(a.Lease)), Fuel: r.t.fuel})
	}, func() {})
	b := n.offer(r.t, r.net.nearest(r.t, n))
	if _, err := n.accept(run, 0, ms(b.Fetch+b.Run), true); err != nil {
		r.net.clock.after(0, func() {
			r.step(scheduler.Lost{Peer: n.did, Lease: a.Lease, Why: err.Error(), Gone: true})
		})
	}
}

func (r *requester) newRun(l scheduler.Lease, done, lost func()) *run {
	return &run{t: r.t, lease: l, onDone: done, onCrash: lost, onStart: func(local bool) { r.t.local = local }}
}

func ms(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

// sorted returns runs in an order that does not depend on the map.
func sorted(runs map[scheduler.Lease]*run) []*run {
	var rs []*run
	for _, r := range runs {
		rs = append(rs, r)
	}
	slices.SortFunc(rs, func(a, b *run) int {
		return cmp.Or(cmp.Compare(a.t.n, b.t.n), bytes.Compare(a.lease[:], b.lease[:]))
	})
	return rs
}
