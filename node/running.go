package node

import (
	"context"
	"io"
	"os"
	"sync"
	"time"

	"github.com/ipfs-liftoff/liftoff/host"
	"github.com/ipfs-liftoff/liftoff/host/store"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/node/api"
	"github.com/ipfs-liftoff/liftoff/node/request"
	"github.com/ipfs-liftoff/liftoff/node/spool"
)

// running is a job of this process that has not ended: what it is asked to do, what it
// has to tell, and who listens. One goroutine carries it; all others look.
type running struct {
	id        string
	request   api.Request
	task      dag.Block
	expires   time.Time // of what it leaves
	self      host.Identity
	session   *store.Session // keeps inputs and output until a pin does
	watch     api.Watch      // of an attached client
	submitted bool           // it outlives its client
	clock     func() time.Time
	spool     *spool.Spool
	timer     *time.Timer // writes the record

	viewers sync.WaitGroup // who show an attached client what happens
	telling sync.Mutex     // held while watch.Event is called

	mu      sync.Mutex
	cancel  context.CancelCauseFunc // nil: it is not carried yet
	left    request.Checkpoint      // what another process needs to go on with it
	pinned  int                     // how many of the job's Mismatches its pin keeps
	stopped error                   // why it shall end, before it was carried
	misled  [2]bool                 // of stdout and stderr: the attached client was shown what is not so
	job     api.Job                 // as others see it
	changed chan struct{}           // closed, and replaced, at an event; nil: nobody waits
	over    bool                    // its last record is being written, or is
}

// look returns the job as it is now. Its Events are not to be changed.
func (x *running) look() api.Job {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.job
}

// tellInto fills in what has happened so far.
func (x *running) tellInto(j *api.Job) {
	now := x.look()
	j.Events, j.Mismatches = now.Events, now.Mismatches
}

// event tells all who listen. It fills in Seq and At.
func (x *running) event(e api.Event) {
	x.telling.Lock() // so that they are told in order
	defer x.telling.Unlock()
	x.mu.Lock()
	e = x.append(&x.job, e)
	x.wake()
	x.mu.Unlock()
	if x.watch.Event != nil {
		x.watch.Event(e)
	}
}

// append adds e to j's events, and drops the oldest when there are too many. Others may
// hold the slice as it was: nothing in it changes. x.mu is held.
func (x *running) append(j *api.Job, e api.Event) api.Event {
	e.At = x.clock().UTC()
	old := j.Events
	if n := len(old); n > 0 {
		e.Seq = old[n-1].Seq + 1
	}
	if len(old) >= api.MaxEvents {
		old = old[len(old)-api.MaxEvents+1:]
	}
	j.Events = append(old[:len(old):len(old)], e)
	return e
}

// wake lets those who wait look again. x.mu is held.
func (x *running) wake() {
	if x.changed != nil {
		close(x.changed)
		x.changed = nil
	}
}

// finish shows j, the job as it has ended, with its last event. It is called when the
// record is written.
func (x *running) finish(j api.Job) {
	x.telling.Lock()
	defer x.telling.Unlock()
	x.mu.Lock()
	x.job = j
	x.wake()
	x.mu.Unlock()
	x.spool.End()
	if n := len(j.Events); n > 0 && x.watch.Event != nil {
		x.watch.Event(j.Events[n-1])
	}
}

// follow calls each for the events from a number on, until the last one.
func (x *running) follow(ctx context.Context, from int, each func(api.Event) error) error {
	for {
		x.mu.Lock()
		events := x.job.Events
		if x.changed == nil {
			x.changed = make(chan struct{})
		}
		changed := x.changed
		x.mu.Unlock()
		last, err := tellFrom(events, &from, each)
		if err != nil || last {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// tellFrom calls each for the events numbered from and more, and moves from behind them.
// last says that no event comes after them.
func tellFrom(events []api.Event, from *int, each func(api.Event) error) (last bool, err error) {
	for _, e := range events {
		if e.Seq < *from {
			last = e.Kind.Last()
			continue
		}
		if err := each(e); err != nil {
			return false, err
		}
		*from, last = e.Seq+1, e.Kind.Last()
	}
	return last, nil
}

// carried ties the job to its context: from here on it can be cancelled. What was asked
// for before ends it now.
func (x *running) carried(cancel context.CancelCauseFunc) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.cancel = cancel
	if x.stopped != nil {
		cancel(x.stopped)
	}
}

// stop ends the job with a cause.
func (x *running) stop(why error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.cancel != nil {
		x.cancel(why)
	} else if x.stopped == nil {
		x.stopped = why
	}
}

// output returns where the guest's output goes: to who comes and asks for it, and to
// the attached client, who holds up the guest until he has read it.
func (x *running) output() api.Watch {
	tee := func(stream byte, to io.Writer) io.Writer {
		keep := x.spool.Writer(stream)
		if to == nil {
			return keep
		}
		return io.MultiWriter(keep, to)
	}
	return api.Watch{
		Stdout: tee(spool.Stdout, x.watch.Stdout), Stderr: tee(spool.Stderr, x.watch.Stderr),
		Progress: x.watch.Progress,
	}
}

// unnamed returns an empty file that is gone when it is closed, or the process ends.
func (n *Node) unnamed() (*os.File, error) {
	dir, remove, err := n.store.NewScratch()
	if err != nil {
		return nil, err
	}
	defer remove() //nolint:errcheck // a folder that stays is removed by the next Open
	f, err := os.CreateTemp(dir, "output-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
