package sim

import (
	"container/heap"
	"time"
)

// epoch is the start time of every simulation.
var epoch = time.UnixMilli(1_800_000_000_000)

// clock is the virtual time. Due callbacks run in the order of their times, and at the same time in
// the order in which they were registered.
type clock struct {
	now   time.Time
	queue dueHeap
	n     int
}

type due struct {
	at time.Time
	n  int
	do func()
}

func newClock() *clock { return &clock{now: epoch} }

// after calls do after d.
func (c *clock) after(d time.Duration, do func()) { c.at(c.now.Add(d), do) }

func (c *clock) at(t time.Time, do func()) {
	if t.Before(c.now) {
		t = c.now
	}
	c.n++
	heap.Push(&c.queue, due{t, c.n, do})
}

// next advances to the next callback and calls it. It returns false without one.
func (c *clock) next() bool {
	if len(c.queue) == 0 {
		return false
	}
	d := heap.Pop(&c.queue).(due)
	c.now = d.at
	d.do()
	return true
}

// since returns the time since the start of the simulation.
func (c *clock) since() time.Duration { return c.now.Sub(epoch) }

type dueHeap []due

func (h dueHeap) Len() int { return len(h) }
func (h dueHeap) Less(i, j int) bool {
	return h[i].at.Before(h[j].at) || h[i].at.Equal(h[j].at) && h[i].n < h[j].n
}
func (h dueHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *dueHeap) Push(v any)   { *h = append(*h, v.(due)) }
func (h *dueHeap) Pop() any {
	old := *h
	v := old[len(old)-1]
	old[len(old)-1] = due{}
	*h = old[:len(old)-1]
	return v
}
