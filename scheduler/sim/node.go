package sim

import (
	"time"

	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/scheduler"
)

// node is one peer: a provider, and a requester if it submits jobs.
type node struct {
	w        *world
	did      job.DID
	capacity job.Capacity
	x, y     float64
	link     uint64 // bytes per second, each way
	rate     uint64
	liar     bool

	up     bool
	life   int // of crashes so far
	book   *scheduler.Admission
	runs   map[scheduler.Lease]*run
	busy   time.Duration // of its slots, together
	hinted int           // free slots, as the others have heard

	own    map[int]bool // data that it never loses
	cache  []int        // data that it has fetched, the one used last at the end
	cached uint64

	calibration scheduler.Calibration
	placements  map[int]*requester
}

// run is a job at a provider.
type run struct {
	t       *task
	lease   scheduler.Lease
	fetch   time.Duration
	started time.Time
	done    func()           // the result is on its way
	lost    func()           // the machine has crashed
	begun   func(local bool) // it has its slot
}

// open gives the node an empty book.
func (n *node) open() {
	n.book = scheduler.NewAdmission(scheduler.AdmissionConfig{Slots: n.w.Slots, PerRequester: 1 << 20})
}

func (n *node) idle() bool { return n.book.Load(0, n.w.clock.now).Free > 0 }

func (n *node) holds(t *task) bool { return n.w.data[t.data].truly[n] }

// work is what the requester tells of t.
func (t *task) work() scheduler.Work {
	return scheduler.Work{ABI: job.ABIWASI, Fuel: t.guess, Output: output}
}

// offer is the node's answer to an Ask.
func (n *node) offer(t *task, r time.Duration) job.Bid {
	bytes := n.w.data[t.data].bytes
	l := scheduler.Locality{Have: bytes, Exact: true}
	if !n.holds(t) {
		l = scheduler.Locality{Missing: bytes, Exact: true, Depth: depth, RTT: r}
	}
	s := scheduler.State{Capacity: n.capacity, Load: n.book.Load(0, n.w.clock.now), Disk: 1 << 50, Bandwidth: n.link, Uplink: n.link}
	if n.liar {
		l = scheduler.Locality{Have: bytes, Exact: true}
		s.Load = scheduler.Load{Free: n.w.Slots}
	}
	return scheduler.Offer(job.Order{}, t.work(), s, l)
}

// accept books a run; what was bid is in queue and expect.
func (n *node) accept(r *run, queue, expect time.Duration, own bool) (scheduler.Grant, error) {
	now := n.w.clock.now
	res := scheduler.Reservation{
		Lease: r.lease, Queue: queue, Expect: expect, Own: own || n.liar,
		Job: job.Order{Issuer: r.t.from.did, Issued: now.UnixMilli(), Expires: now.Add(time.Minute).UnixMilli(), Nonce: [16]byte(r.lease)},
	}
	n.runs[r.lease] = r // Accept may start it
	g, err := n.book.Accept(res, now)
	if err != nil {
		delete(n.runs, r.lease)
		return g, err
	}
	if g.Started {
		n.begin(r)
	}
	return g, nil
}

// begin fetches and runs.
func (n *node) begin(r *run) {
	w := n.w
	local := n.holds(r.t)
	r.started = w.clock.now
	r.begun(local)
	if !local {
		r.fetch = seconds(w.data[r.t.data].bytes, n.link) + 2*depth*w.nearest(r.t, n)
	}
	life := n.life
	w.clock.after(r.fetch+seconds(r.t.fuel, n.rate), func() {
		if n.life != life || n.runs[r.lease] != r {
			return
		}
		w.keep(r.t, n)
		n.release(r.lease)
		w.clock.after(seconds(output, n.link), r.done)
	})
}

// release ends a run, and begins those that get a slot by it.
func (n *node) release(l scheduler.Lease) {
	if r, ok := n.runs[l]; ok && !r.started.IsZero() {
		n.busy += n.w.clock.now.Sub(r.started)
	}
	delete(n.runs, l)
	for _, next := range n.book.Release(l, n.w.clock.now) {
		n.begin(n.runs[next])
	}
}

// crash loses all that runs and waits; the data stays.
func (n *node) crash() {
	n.up = false
	n.life++
	runs := n.runs
	n.runs = map[scheduler.Lease]*run{}
	for _, r := range sorted(runs) {
		if !r.started.IsZero() {
			n.busy += n.w.clock.now.Sub(r.started)
		}
		r.lost()
	}
}

func seconds(n, perSecond uint64) time.Duration {
	return time.Duration(float64(n) / float64(perSecond) * float64(time.Second))
}
