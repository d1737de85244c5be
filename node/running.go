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

// running is a job of this process that has not ended: its request, its state and events, and its watchers. One
// goroutine runs it; all others only read it.
type running struct {
	id        string
	request   api.Request
	task      dag.Block
	expires   time.Time // of its results
	self      host.Identity
	session   *store.Session // keeps inputs and output until they are pinned
	watch     api.Watch      // the attached client's
	submitted bool           // it does not end with its client
	clock     func() time.Time
	spool     *spool.Spool
	timer     *time.Timer // writes the first record

	viewers sync.WaitGroup // goroutines that send events to an attached client
	eventMu sync.Mutex     // held while watch.Event is called

	mu         sync.Mutex
	cancel     context.CancelCauseFunc // nil: runJob has not started
	checkpoint request.Checkpoint      // what another process needs to resume it
	pinned     int                     // number of the job's Mismatches that its pin keeps
	stopped    error                   // cause of a stop before runJob started
	misled     [2]bool                 // stdout, stderr: the attached client was shown text that differs from the Outcome
	job        api.Job                 // the public state
	changed    chan struct{}           // closed, and replaced, at an event; nil: no waiters
	over       bool                    // its last record is written, or being written
}

// snapshot returns the job's current state. The caller must not change its Events.
func (x *running) snapshot() api.Job {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.job
}

// fillEvents copies the current events and mismatches into j.
func (x *running) fillEvents(j *api.Job) {
	now := x.snapshot()
	j.Events, j.Mismatches = now.Events, now.Mismatches
}

// event appends e to the job and delivers it to all watchers. It fills in Seq and At.
func (x *running) event(e api.Event) {
	x.eventMu.Lock() // keeps the events in order
	defer x.eventMu.Unlock()
	x.mu.Lock()
	e = x.append(&x.job, e)
	x.wake()
	x.mu.Unlock()
	if x.watch.Event != nil {
		x.watch.Event(e)
	}
}

// append adds e to j's events and drops the oldest when there are too many. Other goroutines may hold the old
// slice: it is never modified. x.mu is held.
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

// wake wakes the goroutines that wait for an event. x.mu is held.
func (x *running) wake() {
	if x.changed != nil {
		close(x.changed)
		x.changed = nil
	}
}

// finish publishes j, the ended job, and delivers its last event. It is called after the record is written.
func (x *running) finish(j api.Job) {
	x.eventMu.Lock()
	defer x.eventMu.Unlock()
	x.mu.Lock()
	x.job = j
	x.wake()
	x.mu.Unlock()
	x.spool.End()
	if n := len(j.Events); n > 0 && x.watch.Event != nil {
		x.watch.Event(j.Events[n-1])
	}
}

// follow calls each for the events numbered from and later, until the last event.
func (x *running) follow(ctx context.Context, from int, each func(api.Event) error) error {
	for {
		x.mu.Lock()
		events := x.job.Events
		if x.changed == nil {
			x.changed = make(chan struct{})
		}
		changed := x.changed
		x.mu.Unlock()
		last, err := sendEvents(events, &from, each)
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

// sendEvents calls each for the events numbered *from and later, and advances *from past them. last reports
// whether the final event was among events.
func sendEvents(events []api.Event, from *int, each func(api.Event) error) (last bool, err error) {
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

// setCancel sets the function that cancels the job. A stop that was requested before takes effect now.
func (x *running) setCancel(cancel context.CancelCauseFunc) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.cancel = cancel
	if x.stopped != nil {
		cancel(x.stopped)
	}
}

// stop ends the job with the given cause.
func (x *running) stop(why error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.cancel != nil {
		x.cancel(why)
	} else if x.stopped == nil {
		x.stopped = why
	}
}

// output returns the writers of the guest's output: the spool, which anyone may follow, and the attached client,
// which blocks the guest until the client has read the output.
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

// unnamed returns an empty file that disappears when it is closed or the process ends.
func (n *Node) unnamed() (*os.File, error) {
	dir, remove, err := n.store.NewScratch()
	if err != nil {
		return nil, err
	}
	defer remove() //nolint:errcheck // the next Open removes a leftover folder
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
