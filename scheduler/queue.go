package scheduler

import (
	"slices"
	"time"
)

// unknownRun is what a job is expected to take as long as nothing has run here.
const unknownRun = time.Second

// enqueue puts e at the end of the queue; a job of larger priority then takes the
// places of its own requester's lesser ones, so that nobody gains on others by it. It
// passes none that needs more memory, which might wait for just that.
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

// start gives slots to those at the head of the queue, as far as there are any. It
// never lets a small job overtake a large one, which could otherwise wait for ever.
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

// Load says how busy the node is for a job that may use memory bytes. The queue is
// estimated by letting every job take what its bid claimed, and the ones that have
// claimed nothing what jobs have taken here of late.
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

// ending is a slot that becomes free.
type ending struct {
	in     time.Duration
	memory uint64
}

// estimate is how long one more job of memory bytes would wait: the book played
// forward.
func (a *Admission) estimate(memory uint64, now time.Time) time.Duration {
	ends := make([]ending, 0, len(a.running)+len(a.waiting))
	used := a.memory
	for _, e := range a.running {
		ends = append(ends, ending{a.left(e, now), e.memory})
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

// left is what a running job still needs. One that takes longer than expected is taken
// to need a quarter of its age more: the older, the longer.
func (a *Admission) left(e *entry, now time.Time) time.Duration {
	age := now.Sub(e.started)
	return max(a.expect(e)-age, age/4, time.Millisecond)
}
