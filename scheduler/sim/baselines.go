package sim

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/ipfs-liftoff/liftoff/scheduler"
)

// place assigns t at once to the node that choose returns. A job that is lost in a crash is placed
// again at the same moment.
func (net *network) place(t *task, choose func(*task) *node) {
	n := choose(t)
	if n == nil {
		net.ended(t, false)
		return
	}
	if !t.asked {
		t.asked, t.awarded = true, net.clock.now
	}
	var l scheduler.Lease
	binary.BigEndian.PutUint64(l[:], uint64(t.n))
	binary.BigEndian.PutUint64(l[8:], net.policyRand.Uint64())
	r := &run{
		t: t, lease: l, onStart: func(local bool) { t.local = local },
		onDone: func() { net.clock.after(net.rtt(t.from, n)/2, func() { net.ended(t, true) }) },
		onCrash: func() {
			if t.n >= net.Warm {
				net.counted.lost++
			}
			net.clock.after(0, func() { net.place(t, choose) })
		},
	}
	fetch, run := net.trueCost(t, n)
	net.clock.after(net.rtt(t.from, n)/2, func() {
		if !n.up {
			r.onCrash()
			return
		}
		if _, err := n.accept(r, 0, fetch+run, true); err != nil {
			panic(err) // own jobs are refused only for memory, which is unlimited here
		}
	})
}

// trueCost returns how long t takes at n once it has a slot.
func (net *network) trueCost(t *task, n *node) (fetch, run time.Duration) {
	if !n.holds(t) {
		fetch = seconds(net.data[t.data].bytes, n.link) + 2*depth*net.nearest(t, n)
	}
	return fetch, seconds(t.fuel, n.rate)
}

// cheapest returns the peer with the lowest true cost at this moment.
func (net *network) cheapest(t *task) (best *node) {
	least := time.Duration(math.MaxInt64)
	for _, n := range net.peers {
		if !n.up {
			continue
		}
		fetch, run := net.trueCost(t, n)
		cost := fetch + run + seconds(output, n.link) + net.rtt(t.from, n)
		if cost >= least {
			continue
		}
		if cost += n.admission.Load(0, net.clock.now).Queue; cost < least {
			best, least = n, cost
		}
	}
	return best
}

// randomPeer returns any peer that is up.
func (net *network) randomPeer(*task) *node {
	for range 1000 {
		if n := net.peers[net.policyRand.IntN(len(net.peers))]; n.up {
			return n
		}
	}
	return nil
}
