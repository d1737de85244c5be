package sim

import (
	"time"

	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/scheduler"
)

// node is one peer: a provider, and a requester if it submits jobs.
type node struct {
	net       *network
	did       job.DID
	capacity  job.Capacity
	x, y      float64
	link      uint64 // bytes per second, each way
	rate      uint64
	dishonest bool

	up        bool
	life      int // number of crashes so far
	admission *scheduler.Admission
	runs      map[scheduler.Lease]*run
	busy      time.Duration // busy time of all its slots
	hinted    int           // free slots, as other peers know it

	own    map[int]bool // data that it never drops
	cache  []int        // data that it has fetched, the most recently used at the end
	cached uint64

	calibration scheduler.Calibration
	placements  map[int]*requester
}

// run is a job on a provider.
type run struct {
	t       *task
	lease   scheduler.Lease
	fetch   time.Duration
	started time.Time
	onDone  func()           // sends the result
	onCrash func()           // called when the machine crashes
	onStart func(local bool) // called when it gets its slot
}

// open gives the node an empty Admission.
func (n *node) open() {
	n.admission = scheduler.NewAdmission(scheduler.AdmissionConfig{Slots: n.net.Slots, PerRequester: 1 << 20})
}

func (n *node) idle() bool { return n.admission.Load(0, n.net.clock.now).Free > 0 }

func (n *node) holds(t *task) bool { return n.net.data[t.data].holders[n] }

// work returns what the requester tells providers about t.
func (t *task) work() scheduler.Work {
	return scheduler.Work{ABI: job.ABIWASI, Fuel: t.guess, Output: output}
}

// offer returns the node's answer to an Ask.
func (n *node) offer(t *task, r time.Duration) job.Bid {
	bytes := n.net.data[t.data].bytes
	l := scheduler.Locality{Have: bytes, Exact: true}
	if !n.holds(t) {
		l = scheduler.Locality{Missing: bytes, Exact: true, Depth: depth, RTT: r}
	}
	s := scheduler.State{Capacity: n.capacity, Load: n.admission.Load(0, n.net.clock.now), Disk: 1 << 50, Bandwidth: n.link, Uplink: n.link}
	if n.dishonest {
		l = scheduler.Locality{Have: bytes, Exact: true}
		s.Load = scheduler.Load{Free: n.net.Slots}
	}
	return scheduler.Offer(job.Order{}, t.work(), s, l)
}

// accept admits a run. queue and expect are the times of the bid.
func (n *node) accept(r *run, queue, expect time.Duration, own bool) (scheduler.Grant, error) {
	now := n.net.clock.now
	res := scheduler.Reservation{
		Lease: r.lease, Queue: queue, Expect: expect, Own: own || n.dishonest,
		Job: job.Order{Issuer: r.t.from.did, Issued: now.UnixMilli(), Expires: now.Add(time.Minute).UnixMilli(), Nonce: [16]byte(r.lease)},
	}
	n.runs[r.lease] = r // Accept may start it
	g, err := n.admission.Accept(res, now)
	if err != nil {
		delete(n.runs, r.lease)
		return g, err
	}
	if g.Started {
		n.begin(r)
	}
	return g, nil
}

// begin fetches the data and runs the job.
func (n *node) begin(r *run) {
	net := n.net
	local := n.holds(r.t)
	r.started = net.clock.now
	r.onStart(local)
	if !local {
		r.fetch = seconds(net.data[r.t.data].bytes, n.link) + 2*depth*net.nearest(r.t, n)
	}
	life := n.life
	net.clock.after(r.fetch+seconds(r.t.fuel, n.rate), func() {
		if n.life != life || n.runs[r.lease] != r {
			return
		}
		net.keep(r.t, n)
		n.release(r.lease)
		net.clock.after(seconds(output, n.link), r.onDone)
	})
}

// release ends a run, and starts the runs that get a slot because of it.
func (n *node) release(l scheduler.Lease) {
	if r, ok := n.runs[l]; ok && !r.started.IsZero() {
		n.busy += n.net.clock.now.Sub(r.started)
	}
	delete(n.runs, l)
	for _, next := range n.admission.Release(l, n.net.clock.now) {
		n.begin(n.runs[next])
	}
}

// crash loses all running and queued jobs. The data stays.
func (n *node) crash() {
	n.up = false
	n.life++
	runs := n.runs
	n.runs = map[scheduler.Lease]*run{}
	for _, r := range sorted(runs) {
		if !r.started.IsZero() {
			n.busy += n.net.clock.now.Sub(r.started)
		}
		r.onCrash()
	}
}

func seconds(n, perSecond uint64) time.Duration {
	return time.Duration(float64(n) / float64(perSecond) * float64(time.Second))
}
