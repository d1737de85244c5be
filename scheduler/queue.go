package scheduler

import (
	"slices"
	"time"
)

// unknownRun is the expected run time before anything has run on this node.
const unknownRun = time.Second

// enqueue appends e to the queue. A job of higher priority then takes the places of jobs of its own
// requester with lower priority, so that no requester gains on others by it. It does not pass a job
// that needs more memory, because that job may be waiting for exactly that memory.
func (a *Admission) enqueue(e *entry) {
	a.waiting = append(a.waiting, e)
	at := len(a.waiting) - 1
	for i := at - 1; i >= 0; i-- {
		if o := a.waiting[i]; o.Job.Issuer == e.Job.Issuer && o.Job.Priority < e.Job.Priority && o.memory <= e.memory {
			a.waiting[i], a.waiting[at] = e, o
			at = i
		}
	}
}

// start gives free slots to the jobs at the head of the queue. A small job never overtakes a large
// one, which could otherwise wait for ever.
func (a *Admission) start(now time.Time) (started []Lease) {
	for len(a.waiting) > 0 && a.fits(a.waiting[0].memory) {
		e := a.waiting[0]
		a.waiting = slices.Delete(a.waiting, 0, 1)
		e.started = now
		a.running = append(a.running, e)
		a.memory += e.memory
		started = append(started, e.Lease)
	}
	return started
}

func (a *Admission) fits(memory uint64) bool {
	return len(a.running) < a.cfg.Slots && a.within(a.memory, memory)
}

func (a *Admission) within(used, more uint64) bool {
	return a.cfg.Memory == 0 || used+more <= a.cfg.Memory
}

// Load returns how busy the node is for a job of memory bytes. The queue time is estimated: every
// job takes the time that its bid claimed, or the recent mean when its bid claimed none.
func (a *Admission) Load(memory uint64, now time.Time) Load {
	l := Load{Free: a.cfg.Slots - len(a.running), Memory: a.freeMemory()}
	if len(a.waiting) == 0 && a.fits(memory) {
		return l
	}
	l.Free = 0
	l.Full = len(a.waiting) >= a.cfg.Queue
	l.Queue = a.estimate(memory, now)
	return l
}

func (a *Admission) freeMemory() uint64 {
	if a.cfg.Memory == 0 {
		return 1 << 62
	}
	return a.cfg.Memory - a.memory
}

// ending is a slot that will become free.
type ending struct {
	in     time.Duration
	memory uint64
}

// estimate returns how long one more job of memory bytes would wait. It simulates the queue.
func (a *Admission) estimate(memory uint64, now time.Time) time.Duration {
	ends := make([]ending, 0, len(a.running)+len(a.waiting))
	used := a.memory
	for _, e := range a.running {
		ends = append(ends, ending{a.remaining(e, now), e.memory})
	}
	var at time.Duration
	place := func(memory uint64, takes time.Duration) {
		for len(ends) > 0 && (len(ends) >= a.cfg.Slots || !a.within(used, memory)) {
			i := earliest(ends)
			at, used = max(at, ends[i].in), used-ends[i].memory
			ends = slices.Delete(ends, i, i+1)
		}
		ends, used = append(ends, ending{at + takes, memory}), used+memory
	}
	for _, e := range a.waiting {
		place(e.memory, a.expect(e))
	}
	place(memory, 0)
	return clamp(at)
}

func earliest(ends []ending) (at int) {
	for i, e := range ends {
		if e.in < ends[at].in {
			at = i
		}
	}
	return at
}

func (a *Admission) expect(e *entry) time.Duration {
	if e.Expect > 0 {
		return e.Expect
	}
	return orDefault(a.mean, unknownRun)
}

// remaining returns the time that a running job still needs. One that takes longer than expected is
// assumed to need another quarter of its age: the older, the longer.
func (a *Admission) remaining(e *entry, now time.Time) time.Duration {
	age := now.Sub(e.started)
	return max(a.expect(e)-age, age/4, time.Millisecond)
}
