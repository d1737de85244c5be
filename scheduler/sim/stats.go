package sim

import (
	"slices"
	"time"
)

// stats adds up the jobs that are counted.
type stats struct {
	took, award             []float64
	failed, possible, local int
	localAll                int
	messages, beats         int
	lost, declined          int
	hints                   int
	began                   time.Duration
	busy                    time.Duration // of all slots, before
	ended                   time.Duration
	busyAtEnd               time.Duration
}

// begin forgets what was before.
func (s *stats) begin(w *world) {
	*s = stats{began: w.clock.since(), busy: w.busy()}
}

func (w *world) busy() (d time.Duration) {
	for _, n := range w.peers {
		d += n.busy
		for _, r := range n.runs {
			if !r.started.IsZero() {
				d += w.clock.now.Sub(r.started)
			}
		}
	}
	return d
}

func (s *stats) add(w *world, t *task, ok bool) {
	s.messages += t.messages
	s.beats += t.beats
	if t.n == w.Warm+w.Jobs-1 || s.ended == 0 && len(s.took) >= w.Jobs*9/10 {
		s.ended, s.busyAtEnd = w.clock.since(), w.busy() // before the last ones trickle out
	}
	if t.asked {
		s.award = append(s.award, t.awarded.Sub(t.submitted).Seconds())
	}
	if !ok {
		s.failed++
		return
	}
	s.took = append(s.took, w.clock.now.Sub(t.submitted).Seconds())
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

func (w *world) result() Result {
	s := &w.counted
	slices.Sort(s.took)
	slices.Sort(s.award)
	span := (w.clock.since() - s.began).Seconds()
	jobs := float64(len(s.took) + s.failed)
	return Result{
		Jobs: len(s.took) + s.failed, Failed: s.failed, Mean: mean(s.took), P95: at(s.took, 0.95), Award: at(s.award, 0.5), Award95: at(s.award, 0.95),
		Possible: s.possible, Local: s.local, LocalAll: s.localAll, Lost: s.lost, Declined: s.declined,
		Messages: float64(s.messages) / jobs, Heartbeats: float64(s.beats) / jobs, PerPeer: float64(s.messages) / span / float64(w.Peers),
		Hints: float64(s.hints) / span,
		Busy:  float64(s.busyAtEnd-s.busy) / float64(s.ended-s.began) / float64(w.Peers*w.Slots), End: w.clock.since(),
	}
}

func mean(v []float64) (m float64) {
	for _, x := range v {
		m += x / float64(len(v))
	}
	return m
}

// at is a quantile of what is sorted.
func at(v []float64, q float64) float64 {
	if len(v) == 0 {
		return 0
	}
	return v[min(int(q*float64(len(v))), len(v)-1)]
}
