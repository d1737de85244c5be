package sim

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sort"
	"time"

	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/scheduler"
)

// What the world is made of. Rates vary between peers by a factor of four.
const (
	meanRate  = 1e9      // fuel per second of a slot
	meanLink  = 40 << 20 // bytes per second
	meanFuel  = 4e9      // of a job
	meanData  = 64 << 20
	output    = 256 << 10
	depth     = 3       // levels of a data set's DAG
	cacheSize = 4 << 30 // bytes that a peer keeps of what it has fetched
	maxRTT    = 60 * time.Millisecond
	down      = 30 * time.Second // that a crash takes
	hintEvery = 30 * time.Second // without a change
	hintLeast = 5 * time.Second  // between two
	gossip    = 200 * time.Millisecond
	advert    = 10 * time.Second // until others know what a peer holds
)

// world is everything that is true at one moment.
type world struct {
	Config
	rng     *rand.Rand // of what the world is like, and of what is asked of it
	fate    *rand.Rand // of crashes
	die     *rand.Rand // of whatever a policy leaves to chance
	clock   *clock
	peers   []*node
	byDID   map[job.DID]*node
	data    []dataset
	pick    []float64 // cumulated weights of data
	askers  []*node   // who submits jobs
	left    int       // jobs that have not ended
	counted stats
}

// dataset is what a job reads.
type dataset struct {
	bytes uint64
	truly map[*node]bool      // who holds it all
	heard map[*node]time.Time // who is said to, from when on
}

// task is one job.
type task struct {
	n         int
	data      int
	fuel      uint64
	guess     uint64 // what its requester expects
	from      *node
	submitted time.Time
	possible  bool // an honest holder was idle when it was submitted
	awarded   time.Time
	asked     bool // it was awarded at least once
	local     bool // where it runs, the data is
	messages  int
	beats     int
}

func (w *world) populate() {
	w.byDID = map[job.DID]*node{}
	for i := range w.Peers {
		w.addPeer(i)
	}
	for i := range 2 * w.Peers {
		d := dataset{bytes: uint64(w.lognormal(meanData, 1)), truly: map[*node]bool{}, heard: map[*node]time.Time{}}
		w.data = append(w.data, d)
		for _, j := range w.rng.Perm(w.Peers)[:min(w.Copies, w.Peers)] {
			d.truly[w.peers[j]] = true
			d.heard[w.peers[j]] = epoch
			w.peers[j].own[i] = true
		}
		var before float64
		if i > 0 {
			before = w.pick[i-1]
		}
		w.pick = append(w.pick, before+math.Pow(float64(i+1), -max(w.Zipf, 0)))
	}
	w.askers = w.peers[:max(w.Peers/10, 1)]
	for _, n := range w.askers {
		n.liar = false
	}
	for _, n := range w.peers[len(w.askers):] {
		w.rumour(n)
		w.crashes(n)
	}
	for _, n := range w.peers {
		w.hint(n)
	}
}

func (w *world) addPeer(i int) {
	n := &node{
		w: w, did: job.DID(fmt.Sprintf("did:key:sim%05d", i)), up: true, x: w.rng.Float64(), y: w.rng.Float64(), own: map[int]bool{},
		link: uint64(meanLink * w.spread()), rate: uint64(meanRate * w.speed()), liar: w.rng.Float64() < w.Liars,
		runs: map[scheduler.Lease]*run{}, placements: map[int]*requester{}, hinted: w.Slots,
	}
	n.capacity = job.Capacity{Issuer: n.did, ABIs: []string{job.ABIWASI}, Slots: w.Slots, Rate: n.rate}
	n.open()
	w.peers = append(w.peers, n)
	w.byDID[n.did] = n
}

// rumour lets a liar be named as a holder of some data that it does not hold.
func (w *world) rumour(n *node) {
	if n.liar {
		for range max(len(w.data)/100, 1) {
			w.data[w.rng.IntN(len(w.data))].heard[n] = epoch
		}
	}
}

// spread is between a half and two, and one in the mean of its logarithm.
func (w *world) spread() float64 { return math.Exp2(2*w.rng.Float64() - 1) }

// speed is between 0.9 and 1.1.
func (w *world) speed() float64 { return math.Pow(1.1, 2*w.rng.Float64()-1) }

func (w *world) lognormal(median, sigma float64) float64 {
	return median * math.Exp(sigma*w.rng.NormFloat64())
}

func exponential(r *rand.Rand, mean time.Duration) time.Duration {
	return time.Duration(r.ExpFloat64() * float64(mean))
}

// rtt is between two peers on a plane.
func (w *world) rtt(a, b *node) time.Duration {
	if a == b {
		return 0
	}
	d := math.Hypot(a.x-b.x, a.y-b.y) / math.Sqrt2
	return time.Millisecond + time.Duration(d*float64(maxRTT))
}

// arrive submits the jobs, at a rate that keeps Load of all slots busy running.
func (w *world) arrive() {
	var speed float64
	for _, n := range w.peers {
		speed += float64(n.rate) * float64(w.Slots)
	}
	mean := meanFuel * math.Exp(0.5) // of a lognormal with sigma 1
	every := time.Duration(mean / (speed * w.Load) * float64(time.Second))
	w.left = w.Warm + w.Jobs
	var submit func(i int)
	submit = func(i int) {
		if i == w.Warm {
			w.counted.begin(w)
		}
		w.submit(w.newTask(i))
		if i+1 < w.Warm+w.Jobs {
			w.clock.after(exponential(w.rng, every), func() { submit(i + 1) })
		}
	}
	w.clock.after(exponential(w.rng, every), func() { submit(0) })
}

func (w *world) newTask(i int) *task {
	at := w.rng.Float64() * w.pick[len(w.pick)-1]
	t := &task{
		n: i, data: sort.SearchFloat64s(w.pick, at), fuel: uint64(w.lognormal(meanFuel, 1)),
		from: w.askers[w.rng.IntN(len(w.askers))], submitted: w.clock.now,
	}
	t.data = min(t.data, len(w.data)-1)
	t.guess = uint64(w.lognormal(float64(t.fuel), 0.2))
	for n := range w.data[t.data].truly {
		t.possible = t.possible || n.up && !n.liar && n.idle()
	}
	return t
}

func (w *world) submit(t *task) {
	switch w.Policy {
	case Oracle:
		w.place(t, w.cheapest)
	case Random:
		w.place(t, w.anyone)
	default:
		w.market(t)
	}
}

// ended counts t.
func (w *world) ended(t *task, ok bool) {
	w.left--
	if t.n >= w.Warm {
		w.counted.add(w, t, ok)
	}
}

// nearest is the round trip to who has the data of t and is not n.
func (w *world) nearest(t *task, n *node) time.Duration {
	best := maxRTT
	for h := range w.data[t.data].truly {
		if h.up && h != n {
			best = min(best, w.rtt(h, n))
		}
	}
	return best
}

// crashes lets n crash now and then.
func (w *world) crashes(n *node) {
	if w.Lifetime < 0 {
		return
	}
	w.clock.after(exponential(w.fate, w.Lifetime), func() {
		n.crash()
		w.clock.after(down, func() {
			n.up = true
			n.open()
			w.crashes(n)
		})
	})
}

// hint lets the others hear how many slots n has free: when it changes, but not more
// often than every 5 s, and every 30 s in any case.
func (w *world) hint(n *node) {
	last := -1
	said := epoch
	var look func()
	look = func() {
		free := 0
		if n.up {
			free = n.book.Load(0, w.clock.now).Free
		}
		if n.liar {
			free = w.Slots
		}
		if n.up && (free != last || w.clock.now.Sub(said) >= hintEvery) {
			last, said = free, w.clock.now
			w.counted.hints++
			w.clock.after(gossip, func() { n.hinted = free })
		}
		if w.left > 0 {
			w.clock.after(hintLeast, look)
		}
	}
	w.clock.after(time.Duration(w.die.Int64N(int64(hintLeast))), look)
}

// known is what every requester has heard of the others, and of who holds the data of t.
func (w *world) known(t *task) []scheduler.Candidate {
	cs := make([]scheduler.Candidate, 0, len(w.peers))
	heard := w.data[t.data].heard
	for _, n := range w.peers {
		if n == t.from {
			continue
		}
		since, ok := heard[n]
		cs = append(cs, scheduler.Candidate{Peer: n.did, Holder: ok && !w.clock.now.Before(since), Capacity: &n.capacity, Slots: n.hinted})
	}
	return cs
}

// keep puts the data of t into n's cache, and throws out what was used least recently.
func (w *world) keep(t *task, n *node) {
	d := w.data[t.data]
	if n.own[t.data] {
		return
	}
	if i := slices.Index(n.cache, t.data); i >= 0 {
		n.cache = slices.Delete(n.cache, i, i+1)
	}
	n.cache = append(n.cache, t.data)
	if !d.truly[n] {
		d.truly[n] = true
		n.cached += d.bytes
		d.heard[n] = w.clock.now.Add(advert)
	}
	for n.cached > cacheSize && len(n.cache) > 1 {
		old := w.data[n.cache[0]]
		n.cache = n.cache[1:]
		n.cached -= old.bytes
		delete(old.truly, n)
		w.clock.after(advert, func() {
			if !old.truly[n] {
				delete(old.heard, n)
			}
		})
	}
}
