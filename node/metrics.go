package node

import (
	"context"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ipfs-liftoff/liftoff/host/market"
	"github.com/ipfs-liftoff/liftoff/host/store"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

// metrics are the node's Prometheus metrics. Label values come from fixed sets, never from other peers, so that
// peers cannot create series. The methods of a nil *metrics do nothing.
type metrics struct {
	jobs    *prometheus.CounterVec   // by where and state
	seconds *prometheus.HistogramVec // by where
	asks    *prometheus.CounterVec   // by answer
	served  *prometheus.CounterVec   // by state
	fetched prometheus.Counter
	scrub   struct{ blocks, bytes, damaged prometheus.Counter }
}

// Values of the label "where".
const (
	whereCache = "cache" // a cached result
	whereLocal = "local"
	wherePeer  = "peer"
)

// newMetrics registers n's metrics with r, or returns nil when r is nil.
func newMetrics(r prometheus.Registerer, n *Node) (*metrics, error) {
	if r == nil {
		return nil, nil
	}
	f := &metrics{
		jobs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "liftoff_jobs_total", Help: "Ended jobs of this node, by where they ran and by final state.",
		}, []string{"where", "state"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "liftoff_job_seconds", Help: "Time from submission to end of this node's jobs.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 12), // 1 ms to 70 min
		}, []string{"where"}),
		asks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "liftoff_asks_total", Help: "Requests for bids from other peers, by answer: bid, or the code of the refusal.",
		}, []string{"answer"}),
		served: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "liftoff_served_jobs_total", Help: "Jobs of other peers that ran on this node, by final state.",
		}, []string{"state"}),
		fetched: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "liftoff_fetched_bytes_total", Help: "Bytes of inputs fetched from other peers for runs on this node.",
		}),
	}
	counter := func(name, text string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: text})
	}
	f.scrub.blocks = counter("liftoff_scrub_blocks_total", "Blocks read and hashed by the background scrub.")
	f.scrub.bytes = counter("liftoff_scrub_bytes_total", "Bytes of intact blocks read by the background scrub.")
	f.scrub.damaged = counter("liftoff_scrub_damaged_total", "Damaged blocks and files found by the background scrub; the log names them.")
	for _, c := range []prometheus.Collector{
		f.jobs, f.seconds, f.asks, f.served, f.fetched, f.scrub.blocks, f.scrub.bytes, f.scrub.damaged, newGauges(n),
	} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// ended counts an ended job of this node, unless another process will resume it.
func (f *metrics) ended(j api.Job) {
	if f == nil || j.State == api.JobRunning {
		return
	}
	where := whereLocal
	switch {
	case j.Cached:
		where = whereCache
	case j.Remote:
		where = wherePeer
	}
	state := j.State
	if j.Outcome != nil {
		state = string(j.Outcome.State)
	}
	f.jobs.WithLabelValues(where, state).Inc()
	f.seconds.WithLabelValues(where).Observe(j.Ended.Sub(j.Created).Seconds())
	if !j.Remote {
		f.fetched.Add(float64(j.Fetched.Bytes))
	}
}

// scrubbed counts one part of a scrub.
func (f *metrics) scrubbed(v store.Checked) {
	if f == nil {
		return
	}
	f.scrub.blocks.Add(float64(v.Blocks))
	f.scrub.bytes.Add(float64(v.Bytes))
	f.scrub.damaged.Add(float64(v.Damaged + v.Foreign))
}

// ran counts a job of another peer.
func (f *metrics) ran(j api.Job, err error) {
	if f == nil {
		return
	}
	state := api.JobFailed
	if err == nil && j.Outcome != nil {
		state = string(j.Outcome.State)
	}
	f.served.WithLabelValues(state).Inc()
	f.fetched.Add(float64(j.Fetched.Bytes))
}

// counted wraps a provider and counts its answers.
type counted struct {
	*provider
	metrics *metrics
}

var _ market.Provider = counted{}

func (c counted) Ask(ctx context.Context, from peer.ID, r market.Request) job.Bid {
	b := c.provider.Ask(ctx, from, r)
	if c.metrics != nil {
		answer := "bid"
		if b.Refuses() {
			answer = b.Code
		}
		c.metrics.asks.WithLabelValues(answer).Inc()
	}
	return b
}

// state is the collector of the gauges, which are read when they are collected.
type gauges struct {
	node *Node

	mu    sync.Mutex
	until time.Time // usage is fresh enough
	usage store.Usage
}

var (
	runningDesc   = prometheus.NewDesc("liftoff_jobs_running", "Jobs of this node that have not ended.", nil, nil)
	peersDesc     = prometheus.NewDesc("liftoff_peers_connected", "Connected peers.", nil, nil)
	slotsDesc     = prometheus.NewDesc("liftoff_slots", "Job slots.", nil, nil)
	freeSlotsDesc = prometheus.NewDesc("liftoff_slots_free", "Free job slots.", nil, nil)
	blocksDesc    = prometheus.NewDesc("liftoff_store_blocks", "Blocks in the repo; updated every few minutes.", nil, nil)
	fullDesc      = prometheus.NewDesc("liftoff_disk_full", "1 while the disk is full and no jobs are accepted, else 0.", nil, nil)
	bytesDesc     = prometheus.NewDesc("liftoff_store_bytes", "Bytes of blocks in the repo; updated every few minutes.", nil, nil)
)

func newGauges(n *Node) *gauges { return &gauges{node: n} }

// Describe implements prometheus.Collector.
func (s *gauges) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{runningDesc, peersDesc, slotsDesc, freeSlotsDesc, blocksDesc, bytesDesc, fullDesc} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (s *gauges) Collect(to chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64) { to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v) }
	full := 0.0
	if s.node.store.IsFull() {
		full = 1
	}
	gauge(fullDesc, full)
	gauge(runningDesc, float64(len(s.node.history.liveJobs(""))))
	if w := s.node.net.Load(); w != nil {
		connected := 0
		for _, p := range w.peer.Peers() {
			if p.Connected {
				connected++
			}
		}
		gauge(peersDesc, float64(connected))
		gauge(slotsDesc, float64(w.cfg.Slots))
		gauge(freeSlotsDesc, float64(w.queue.load(0).Free))
	}
	if u, err := s.stored(); err == nil { // a closed store has no usage
		gauge(blocksDesc, float64(u.Blocks))
		gauge(bytesDesc, float64(u.Bytes))
	}
}

// usageTime is how long a count of the store's blocks is used. A slow count is used for longer.
const usageTime = time.Minute

func (s *gauges) stored() (store.Usage, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := s.node.clock()
	if asked.Before(s.until) {
		return s.usage, nil
	}
	u, err := s.node.store.Stat(context.Background())
	if now := s.node.clock(); err == nil {
		s.usage, s.until = u, now.Add(max(usageTime, 100*now.Sub(asked)))
	}
	return u, err
}
