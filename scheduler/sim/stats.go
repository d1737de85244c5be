package sim

import (
	"slices"
	"time"
)

// stats accumulates the counted jobs.
type stats struct {
	took, award             []float64
	failed, possible, local int
	localAll                int
	messages, heartbeats    int
	lost, declined          int
	hints                   int
	began                   time.Duration
	busy                    time.Duration // busy time of all slots before began
	ended                   time.Duration
	busyAtEnd               time.Duration
}

// begin drops what was counted before.
func (s *stats) begin(net *network) {
	*s = stats{began: net.clock.since(), busy: net.busy()}
}

func (net *network) busy() (d time.Duration) {
	for _, n := range net.peers {
		d += n.busy
		for _, r := range n.runs {
			if !r.started.IsZero() {
				d += net.clock.now.Sub(r.started)
			}
		}
	}
	return d
}

func (s *stats) add(net *network, t *task, ok bool) {
	s.messages += t.messages
	s.heartbeats += t.heartbeats
	if t.n == net.Warm+net.Jobs-1 || s.ended == 0 && len(s.took) >= net.Jobs*9/10 {
		s.ended, s.busyAtEnd = net.clock.since(), net.busy() // before the last jobs end one by one
	}
	if t.asked {
		s.award = append(s.award, t.awarded.Sub(t.submitted).Seconds())
	}
	if !ok {
		s.failed++
		return
	}
	s.took = append(s.took, net.clock.now.Sub(t.submitted).Seconds())
	if t.possible {
		s.possible++
		if t.local {
			s.local++
		}
	}
	if t.local {
		s.localAll++
	}
}

func (net *network) result() Result {
	s := &net.counted
	slices.Sort(s.took)
	slices.Sort(s.award)
	span := (net.clock.since() - s.began).Seconds()
	jobs := float64(len(s.took) + s.failed)
	return Result{
		Jobs: len(s.took) + s.failed, Failed: s.failed, Mean: mean(s.took), P95: at(s.took, 0.95), Award: at(s.award, 0.5), Award95: at(s.award, 0.95),
		Possible: s.possible, Local: s.local, LocalAll: s.localAll, Lost: s.lost, Declined: s.declined,
		Messages: float64(s.messages) / jobs, Heartbeats: float64(s.heartbeats) / jobs, PerPeer: float64(s.messages) / span / float64(net.Peers),
		Hints: float64(s.hints) / span,
		Busy:  float64(s.busyAtEnd-s.busy) / float64(s.ended-s.began) / float64(net.Peers*net.Slots), End: net.clock.since(),
	}
}

func mean(v []float64) (m float64) {
	for _, x := range v {
		m += x / float64(len(v))
	}
	return m
}

// at returns a quantile of sorted values.
func at(v []float64, q float64) float64 {
	if len(v) == 0 {
		return 0
	}
	return v[min(int(q*float64(len(v))), len(v)-1)]
}
