//go:build !windows

package main

import (
	"fmt"
	"time"

	"github.com/ipfs-liftoff/liftoff/node/api"
)

// Bounds of the search for repeated events.
const (
	maxCycle  = 4 // different events in a row that repeat together
	minRepeat = 3 // fewer repetitions are printed in full
)

// cycle is a row of events that was repeated times in a row.
type cycle struct {
	events []api.Event // of the first time
	times  int
}

// cycles splits events into rows, in order: the events of a job that waits for a peer repeat until the peer answers.
// Its cost grows with the number of events.
func cycles(events []api.Event) (all []cycle) {
	for len(events) > 0 {
		best := cycle{events[:1], 1}
		for n := 1; n <= maxCycle && 2*n <= len(events); n++ {
			times := 1
			for (times+1)*n <= len(events) && sameTexts(events[:n], events[times*n:(times+1)*n]) {
				times++
			}
			if times >= minRepeat && times*n > len(best.events)*best.times {
				best = cycle{events[:n], times}
			}
		}
		all = append(all, best)
		events = events[len(best.events)*best.times:]
	}
	return all
}

// repeated returns a count in a format, or "" for 1.
func repeated(times int, format string) string {
	if times == 1 {
		return ""
	}
	return fmt.Sprintf(format, times)
}

func sameTexts(a, b []api.Event) bool {
	for i := range a {
		if a[i].Kind != b[i].Kind || a[i].Text != b[i].Text {
			return false
		}
	}
	return true
}

// repeats decides which of the events that arrive with the same text are printed: the first, and then one in
// repeatPause.
type repeats struct {
	seen map[string]*repeat // at most maxRepeats texts
}

type repeat struct {
	printed time.Time
	times   int // since then
}

const (
	repeatPause = 10 * time.Second
	maxRepeats  = 256
)

// of returns what to print of a text that arrives at now, or "".
func (r *repeats) of(text string, now time.Time) string {
	if old := r.seen[text]; old != nil {
		old.times++
		if now.Sub(old.printed) < repeatPause {
			return ""
		}
		n := old.times
		old.printed, old.times = now, 0
		return text + repeated(n, " (%d times)")
	}
	if r.seen == nil || len(r.seen) >= maxRepeats {
		r.seen = map[string]*repeat{}
	}
	r.seen[text] = &repeat{printed: now}
	return text
}
