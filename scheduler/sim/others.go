package sim

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/ipfs-liftoff/liftoff/scheduler"
)

// place gives t at once to whom choose names; what is lost in a crash is placed again
// at that very moment.
func (w *world) place(t *task, choose func(*task) *node) {
	n := choose(t)
	if n == nil {
		w.ended(t, false)
		return
	}
	if !t.asked {
		t.asked, t.awarded = true, w.clock.now
	}
	var l scheduler.Lease
	binary.BigEndian.PutUint64(l[:], uint64(t.n))
	binary.BigEndian.PutUint64(l[8:], w.die.Uint64())
	r := &run{
		t: t, lease: l, begun: func(local bool) { t.local = local },
		done: func() { w.clock.after(w.rtt(t.from, n)/2, func() { w.ended(t, true) }) },
		lost: func() {
			if t.n >= w.Warm {
				w.counted.lost++
			}
			w.clock.after(0, func() { w.place(t, choose) })
		},
	}
	fetch, run := w.truly(t, n)
	w.clock.after(w.rtt(t.from, n)/2, func() {
		if !n.up {
			r.lost()
			return
		}
		if _, err := n.accept(r, 0, fetch+run, true); err != nil {
			panic(err) // own jobs are refused for memory alone, and there is no bound
		}
	})
}

// truly is how long t takes at n once it has a slot.
func (w *world) truly(t *task, n *node) (fetch, run time.Duration) {
	if !n.holds(t) {
		fetch = seconds(w.data[t.data].bytes, n.link) + 2*depth*w.nearest(t, n)
	}
	return fetch, seconds(t.fuel, n.rate)
}

// cheapest is the peer with the least true cost at this moment.
func (w *world) cheapest(t *task) (best *node) {
	least := time.Duration(math.MaxInt64)
	for _, n := range w.peers {
		if !n.up {
			continue
		}
		fetch, run := w.truly(t, n)
		cost := fetch + run + seconds(output, n.link) + w.rtt(t.from, n)
		if cost >= least {
			continue
		}
		if cost += n.book.Load(0, w.clock.now).Queue; cost < least {
			best, least = n, cost
		}
	}
	return best
}

// anyone is any peer that is up.
func (w *world) anyone(*task) *node {
	for range 1000 {
		if n := w.peers[w.die.IntN(len(w.peers))]; n.up {
			return n
		}
	}
	return nil
}
