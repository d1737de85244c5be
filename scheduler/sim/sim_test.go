package sim

import (
	"flag"
	"fmt"
	"math"
	"runtime"
	"sync"
	"testing"
)

var (
	only  = flag.Int("peers", 0, "with -full: one size of market; 0: all")
	full  = flag.Bool("full", false, "simulate 10, 100 and 1,000 peers: the table of docs/scale.md")
	seeds = flag.Int("seeds", 20, "of each row of the table")
)

// TestMarket is a small variant of the table of docs/scale.md. A run depends only on its Config, so
// the result is reproducible. The bounds are wider than the aims, because a few seeds of small
// markets differ more than the table.
func TestMarket(t *testing.T) {
	for _, peers := range []int{10, 50} {
		rows := map[Policy]Result{}
		for _, p := range []Policy{Market, Oracle, Random} {
			rows[p] = average(Config{Peers: peers, Policy: p, Jobs: 12 * peers}, 4)
		}
		m, o, r := rows[Market], rows[Oracle], rows[Random]
		if m.Failed+o.Failed+r.Failed > 0 {
			t.Errorf("%d peers: %d, %d and %d jobs failed", peers, m.Failed, o.Failed, r.Failed)
		}
		if m.Mean > 1.2*o.Mean {
			t.Errorf("%d peers: mean %.2f s, oracle %.2f s", peers, m.Mean, o.Mean)
		}
		if m.Mean > r.Mean/1.5 {
			t.Errorf("%d peers: mean %.2f s, random %.2f s", peers, m.Mean, r.Mean)
		}
		if m.Locality() < 0.93 {
			t.Errorf("%d peers: locality %.3f", peers, m.Locality())
		}
		if n := m.Messages - m.Heartbeats; n > 30 {
			t.Errorf("%d peers: %.1f messages for each job", peers, n)
		}
	}
}

// TestSameSeedSameResult runs one market twice.
func TestSameSeedSameResult(t *testing.T) {
	c := Config{Peers: 20, Seed: 7, Jobs: 200}
	if a, b := Run(c), Run(c); a != b {
		t.Errorf("%+v\n%+v", a, b)
	}
	d := c
	d.Seed++
	if Run(c) == Run(d) {
		t.Error("the seed changes nothing")
	}
}

// TestEveryJobEnds simulates peers that crash about as often as a job ends.
func TestEveryJobEnds(t *testing.T) {
	r := Run(Config{Peers: 20, Seed: 3, Jobs: 200, Lifetime: 60e9, Dishonest: 0.3, Load: 0.5})
	if r.Jobs != 200 || r.Lost == 0 {
		t.Errorf("%+v", r)
	}
	if r.Failed > 10 {
		t.Errorf("%d of %d jobs failed", r.Failed, r.Jobs)
	}
}

// TestTable prints the table of docs/scale.md; `make sim` runs it.
func TestTable(t *testing.T) {
	if !*full {
		t.Skip("without -full: minutes to hours")
	}
	fmt.Println("| peers | placed by | mean s | against oracle | p95 s | locality where possible | of all | award ms | p95 | messages/job | of them heartbeats | /peer/s | hints heard/s | lost | failed |")
	fmt.Println("| --: | --- | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: |")
	for _, peers := range []int{10, 100, 1000} {
		if *only != 0 && peers != *only {
			continue
		}
		var best float64
		for _, p := range []Policy{Oracle, Market, Random} {
			r := average(Config{Peers: peers, Policy: p}, *seeds)
			if p == Oracle {
				best = r.Mean
			}
			jobs := float64(r.Jobs)
			fmt.Printf("| %d | %s | %.2f | %+.1f %% | %.1f | %.1f %% | %.1f %% | %.0f | %.0f | %.1f | %.1f | %.2f | %.1f | %.2f %% | %.2f %% |\n",
				peers, p, r.Mean, 100*(r.Mean/best-1), r.P95, 100*r.Locality(), 100*float64(r.LocalAll)/jobs,
				1000*r.Award, 1000*r.Award95, r.Messages, r.Heartbeats, r.PerPeer, r.Hints, 100*float64(r.Lost)/jobs, 100*float64(r.Failed)/jobs)
		}
	}
}

// average runs c with n seeds, as many at the same time as there are processors. Counters are added
// up, other values are averaged.
func average(c Config, n int) Result {
	results := make([]Result, n)
	var all sync.WaitGroup
	turn := make(chan struct{}, runtime.GOMAXPROCS(0))
	for i := range results {
		all.Go(func() {
			turn <- struct{}{}
			c := c
			c.Seed = uint64(i)
			results[i] = Run(c)
			<-turn
		})
	}
	all.Wait()
	var sum Result
	for _, r := range results {
		for _, f := range []struct{ to, from *float64 }{
			{&sum.Mean, &r.Mean},
			{&sum.P95, &r.P95},
			{&sum.Award, &r.Award},
			{&sum.Award95, &r.Award95},
			{&sum.Messages, &r.Messages},
			{&sum.Heartbeats, &r.Heartbeats},
			{&sum.PerPeer, &r.PerPeer},
			{&sum.Hints, &r.Hints},
			{&sum.Busy, &r.Busy},
		} {
			*f.to += *f.from / float64(n)
		}
		for _, f := range []struct{ to, from *int }{
			{&sum.Jobs, &r.Jobs},
			{&sum.Failed, &r.Failed},
			{&sum.Possible, &r.Possible},
			{&sum.Local, &r.Local},
			{&sum.LocalAll, &r.LocalAll},
			{&sum.Lost, &r.Lost},
			{&sum.Declined, &r.Declined},
		} {
			*f.to += *f.from
		}
	}
	if math.IsNaN(sum.Mean) {
		panic("a mean of nothing")
	}
	return sum
}
