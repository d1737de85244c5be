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

// Properties of the network. Rates vary between peers by a factor of four.
const (
	meanRate  = 1e9      // fuel per second of one slot
	meanLink  = 40 << 20 // bytes per second
	meanFuel  = 4e9      // fuel of a job
	meanData  = 64 << 20
	output    = 256 << 10
	depth     = 3       // levels of the DAG of a data set
	cacheSize = 4 << 30 // bytes that a peer caches of what it has fetched
	maxRTT    = 60 * time.Millisecond
	down      = 30 * time.Second // downtime of a crash
	hintEvery = 30 * time.Second // interval of hints without a change
	hintLeast = 5 * time.Second  // minimum interval of hints
	gossip    = 200 * time.Millisecond
	advert    = 10 * time.Second // until other peers know what a peer holds
)

// network is the true state of the simulation at one moment.
type network struct {
	Config
	rng        *rand.Rand // for the network and its jobs
	crashRand  *rand.Rand // for crashes
	policyRand *rand.Rand // for the random choices of a policy
	clock      *clock
	peers      []*node
	byDID      map[job.DID]*node
	data       []dataset
	pick       []float64 // cumulative weights of data
	requesters []*node   // the peers that submit jobs
	left       int       // jobs that have not ended
	counted    stats
}

// dataset is the input of a job.
type dataset struct {
	bytes      uint64
	holders    map[*node]bool      // the peers that hold all of it
	advertised map[*node]time.Time // the peers that are said to hold it, and from when on
}

// task is one job.
type task struct {
	n          int
	data       int
	fuel       uint64
	guess      uint64 // fuel that its requester expects
	from       *node
	submitted  time.Time
	possible   bool // an honest holder was idle when it was submitted
	awarded    time.Time
	asked      bool // it was awarded at least once
	local      bool // it runs on a holder of its data
	messages   int
	heartbeats int
}

func (net *network) populate() {
	net.byDID = map[job.DID]*node{}
	for i := range net.Peers {
		net.addPeer(i)
	}
	for i := range 2 * net.Peers {
		d := dataset{bytes: uint64(net.lognormal(meanData, 1)), holders: map[*node]bool{}, advertised: map[*node]time.Time{}}
		net.data = append(net.data, d)
		for _, j := range net.rng.Perm(net.Peers)[:min(net.Copies, net.Peers)] {
			d.holders[net.peers[j]] = true
			d.advertised[net.peers[j]] = epoch
			net.peers[j].own[i] = true
		}
		var before float64
		if i > 0 {
			before = net.pick[i-1]
		}
		net.pick = append(net.pick, before+math.Pow(float64(i+1), -max(net.Zipf, 0)))
	}
	net.requesters = net.peers[:max(net.Peers/10, 1)]
	for _, n := range net.requesters {
		n.dishonest = false
	}
	for _, n := range net.peers[len(net.requesters):] {
		net.misadvertise(n)
		net.crashes(n)
	}
	for _, n := range net.peers {
		net.hint(n)
	}
}

func (net *network) addPeer(i int) {
	n := &node{
		net: net, did: job.DID(fmt.Sprintf("did:key:sim%05d", i)), up: true, x: net.rng.Float64(), y: net.rng.Float64(), own: map[int]bool{},
		link: uint64(meanLink * net.spread()), rate: uint64(meanRate * net.speed()), dishonest: net.rng.Float64() < net.Dishonest,
		runs: map[scheduler.Lease]*run{}, placements: map[int]*requester{}, hinted: net.Slots,
	}
	n.capacity = job.Capacity{Issuer: n.did, ABIs: []string{job.ABIWASI}, Slots: net.Slots, Rate: n.rate}
	n.open()
	net.peers = append(net.peers, n)
	net.byDID[n.did] = n
}

// misadvertise lists a dishonest peer as a holder of some data that it does not hold.
func (net *network) misadvertise(n *node) {
	if n.dishonest {
		for range max(len(net.data)/100, 1) {
			net.data[net.rng.IntN(len(net.data))].advertised[n] = epoch
		}
	}
}

// spread returns a random factor between 1/2 and 2, symmetric in its logarithm.
func (net *network) spread() float64 { return math.Exp2(2*net.rng.Float64() - 1) }

// speed returns a random factor between 0.9 and 1.1.
func (net *network) speed() float64 { return math.Pow(1.1, 2*net.rng.Float64()-1) }

func (net *network) lognormal(median, sigma float64) float64 {
	return median * math.Exp(sigma*net.rng.NormFloat64())
}

func exponential(r *rand.Rand, mean time.Duration) time.Duration {
	return time.Duration(r.ExpFloat64() * float64(mean))
}

// rtt returns the round-trip time of two peers, from their distance on a plane.
func (net *network) rtt(a, b *node) time.Duration {
	if a == b {
		return 0
	}
	d := math.Hypot(a.x-b.x, a.y-b.y) / math.Sqrt2
	return time.Millisecond + time.Duration(d*float64(maxRTT))
}

// arrive submits the jobs, at a rate that keeps a share of Load of all slots busy.
func (net *network) arrive() {
	var speed float64
	for _, n := range net.peers {
		speed += float64(n.rate) * float64(net.Slots)
	}
	mean := meanFuel * math.Exp(0.5) // mean of a lognormal distribution with sigma 1
	every := time.Duration(mean / (speed * net.Load) * float64(time.Second))
	net.left = net.Warm + net.Jobs
	var submit func(i int)
	submit = func(i int) {
		if i == net.Warm {
			net.counted.begin(net)
		}
		net.submit(net.newTask(i))
		if i+1 < net.Warm+net.Jobs {
			net.clock.after(exponential(net.rng, every), func() { submit(i + 1) })
		}
	}
	net.clock.after(exponential(net.rng, every), func() { submit(0) })
}

func (net *network) newTask(i int) *task {
	at := net.rng.Float64() * net.pick[len(net.pick)-1]
	t := &task{
		n: i, data: sort.SearchFloat64s(net.pick, at), fuel: uint64(net.lognormal(meanFuel, 1)),
		from: net.requesters[net.rng.IntN(len(net.requesters))], submitted: net.clock.now,
	}
	t.data = min(t.data, len(net.data)-1)
	t.guess = uint64(net.lognormal(float64(t.fuel), 0.2))
	for n := range net.data[t.data].holders {
		t.possible = t.possible || n.up && !n.dishonest && n.idle()
	}
	return t
}

func (net *network) submit(t *task) {
	switch net.Policy {
	case Oracle:
		net.place(t, net.cheapest)
	case Random:
		net.place(t, net.randomPeer)
	default:
		net.market(t)
	}
}

// ended counts t.
func (net *network) ended(t *task, ok bool) {
	net.left--
	if t.n >= net.Warm {
		net.counted.add(net, t, ok)
	}
}

// nearest returns the round trip from n to the nearest other peer that has the data of t.
func (net *network) nearest(t *task, n *node) time.Duration {
	best := maxRTT
	for h := range net.data[t.data].holders {
		if h.up && h != n {
			best = min(best, net.rtt(h, n))
		}
	}
	return best
}

// crashes schedules the crashes of n.
func (net *network) crashes(n *node) {
	if net.Lifetime < 0 {
		return
	}
	net.clock.after(exponential(net.crashRand, net.Lifetime), func() {
		n.crash()
		net.clock.after(down, func() {
			n.up = true
			n.open()
			net.crashes(n)
		})
	})
}

// hint publishes how many slots n has free: when the number changes, but at most every 5 s, and
// every 30 s in any case.
func (net *network) hint(n *node) {
	last := -1
	lastAt := epoch
	var look func()
	look = func() {
		free := 0
		if n.up {
			free = n.admission.Load(0, net.clock.now).Free
		}
		if n.dishonest {
			free = net.Slots
		}
		if n.up && (free != last || net.clock.now.Sub(lastAt) >= hintEvery) {
			last, lastAt = free, net.clock.now
			net.counted.hints++
			net.clock.after(gossip, func() { n.hinted = free })
		}
		if net.left > 0 {
			net.clock.after(hintLeast, look)
		}
	}
	net.clock.after(time.Duration(net.policyRand.Int64N(int64(hintLeast))), look)
}

// known returns what every requester knows about the other peers, and about the holders of the data
// of t.
func (net *network) known(t *task) []scheduler.Candidate {
	cs := make([]scheduler.Candidate, 0, len(net.peers))
	heard := net.data[t.data].advertised
	for _, n := range net.peers {
		if n == t.from {
			continue
		}
		since, ok := heard[n]
		cs = append(cs, scheduler.Candidate{Peer: n.did, Holder: ok && !net.clock.now.Before(since), Capacity: &n.capacity, Slots: n.hinted})
	}
	return cs
}

// keep adds the data of t to the cache of n, and evicts the least recently used data.
func (net *network) keep(t *task, n *node) {
	d := net.data[t.data]
	if n.own[t.data] {
		return
	}
	if i := slices.Index(n.cache, t.data); i >= 0 {
		n.cache = slices.Delete(n.cache, i, i+1)
	}
	n.cache = append(n.cache, t.data)
	if !d.holders[n] {
		d.holders[n] = true
		n.cached += d.bytes
		d.advertised[n] = net.clock.now.Add(advert)
	}
	for n.cached > cacheSize && len(n.cache) > 1 {
		old := net.data[n.cache[0]]
		n.cache = n.cache[1:]
		n.cached -= old.bytes
		delete(old.holders, n)
		net.clock.after(advert, func() {
			if !old.holders[n] {
				delete(old.advertised, n)
			}
		})
	}
}
