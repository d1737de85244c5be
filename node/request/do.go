package request

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node/api"
	"github.com/ipfs-liftoff/liftoff/scheduler"
)

// driver is a Run in progress.
type driver struct {
	*Run
	placement *scheduler.Placement
	events    chan event    // from the goroutines of peers
	over      chan struct{} // closed when the loop takes no more events
	tasks     sync.WaitGroup
	wake      *time.Timer
	returning func() bool // reports whether the ctx ended with ErrReturning

	talks   map[job.DID]*talk              // with peers that have bid
	runs    map[scheduler.Lease]*activeRun // active awards, on this node too
	results map[job.DID]Result
	broken  bool
	ending  *Ending
	failed  error

	mu   sync.Mutex
	late []Mismatch // found after the loop took its last event: what was shown is false nevertheless
}

// event is an event for the Placement, with the data that belongs to it.
type event struct {
	scheduler.Event
	talk       *talk      // with a Bid
	result     *Result    // with a Done
	broken     bool       // with a Lost: the peer gave no reason
	mismatches []Mismatch // with any event: printed output of a peer that differs from its Outcome
	fault      error      // a fault of this machine, which ends the job
}

// activeRun is the run of one active award.
type activeRun struct {
	lease      Lease
	transcript *transcript
	cancel     context.CancelCauseFunc
	talk       *talk // nil: it runs on this node
	phase      int   // number of phases that have started
	lost       bool  // it was started by a process that has ended, and is not found yet

	cuts atomic.Int32 // how often the transfer of its result was cut off
}

// phases are the phases of a run in order, with their texts for display.
var phases = []struct{ name, text string }{
	{"fetch", "is preparing the module"},
	{"compile", "is compiling the module"},
	{"run", "is running the job"},
	{"pack", "is sending the result"},
}

// advance records a phase and reports whether it is a later one. So a peer cannot fill the job's
// events by switching back and forth.
func (o *activeRun) advance(phase string) bool {
	i := slices.IndexFunc(phases, func(p struct{ name, text string }) bool { return p.name == phase })
	if i < o.phase {
		return false
	}
	o.phase = i + 1
	return true
}

// ErrReturning is the cause with which a ctx ends when the requester stops but will come back:
// peers go on with the job.
var ErrReturning = errors.New("the requester is restarting")

// errClosed is the cause that ends a run which the Placement has closed.
var errClosed = errors.New("run closed by the requester")

// Do runs the job to its end. start contains this node's own bid. The error is a *FailedError, the
// cause of ctx, or a fault of this machine. The Ending has a Record also when there is an error.
func (r *Run) Do(ctx context.Context, start scheduler.Start) (Ending, error) {
	d := &driver{
		Run: r, placement: scheduler.NewPlacement(r.Config, r.Request),
		events: make(chan event), over: make(chan struct{}),
		talks: map[job.DID]*talk{}, runs: map[scheduler.Lease]*activeRun{}, results: map[job.DID]Result{},
	}
	ctx, cancel := context.WithCancelCause(ctx)
	// A goroutine that the end of ctx wakes may run before the loop does. So it asks ctx too.
	d.returning = func() bool { return errors.Is(context.Cause(ctx), ErrReturning) }
	d.wake = time.NewTimer(time.Hour)
	d.wake.Stop()
	start.Prior = d.resume(r.Checkpoint)
	err := d.loop(ctx, start)
	d.wake.Stop()
	close(d.over)
	cancel(errClosed)
	for _, t := range d.talks {
		t.leave(scheduler.CloseCancelled)
	}
	d.tasks.Wait()
	for _, m := range d.late {
		d.Node.Mismatch(m)
	}
	e := Ending{Record: d.placement.Record(), Broken: d.broken}
	if d.ending != nil {
		e.Results, e.Disagree = d.ending.Results, d.ending.Disagree
	}
	return e, err
}

func (d *driver) loop(ctx context.Context, start scheduler.Start) error {
	if d.Request.Where != scheduler.Local {
		start.Peers = d.Node.Peers(ctx)
	}
	d.step(ctx, start)
	done := ctx.Done()
	for d.ending == nil && d.failed == nil {
		select {
		case e := <-d.events:
			d.take(ctx, e)
		case <-d.wake.C:
			d.step(ctx, scheduler.Tick{})
		case <-done:
			done = nil
			if d.returning() {
				return context.Cause(ctx)
			}
			d.step(ctx, scheduler.Cancel{Why: context.Cause(ctx).Error()})
			if d.ending == nil {
				return context.Cause(ctx)
			}
		}
	}
	return d.failed
}

// take feeds an event to the Placement, with the data that belongs to it.
func (d *driver) take(ctx context.Context, e event) {
	if e.fault != nil {
		d.failed = e.fault
		return
	}
	for _, m := range e.mismatches {
		d.Node.Mismatch(m)
	}
	switch ev := e.Event.(type) {
	case scheduler.Bid:
		if old := d.talks[ev.Peer]; old != nil {
			old.leave(scheduler.CloseLost)
		}
		if e.talk != nil {
			d.talks[ev.Peer] = e.talk
		}
	case scheduler.Heartbeat:
		if o := d.runs[ev.Lease]; o != nil {
			d.found(o)
		}
		if o := d.runs[ev.Lease]; o != nil && o.advance(ev.Phase) {
			d.Node.Event(api.Event{
				Kind: api.EventPhase, Peer: string(ev.Peer), Phase: ev.Phase,
				Text: scheduler.Short(ev.Peer) + " " + phases[o.phase-1].text,
			})
		}
	case scheduler.Done:
		d.results[ev.Peer] = *e.result
		d.forget(ev.Lease)
	case scheduler.Declined:
		d.abandon(ev.Lease)
		d.forget(ev.Lease)
	case scheduler.Lost:
		d.broken = d.broken || e.broken
		if ev.Gone || ev.Final != "" {
			d.abandon(ev.Lease)
			d.forget(ev.Lease)
		}
	case scheduler.Accepted:
		d.saveCheckpoint()
	}
	d.step(ctx, e.Event)
}

// abandon ends the output of a run without an Outcome.
func (d *driver) abandon(l scheduler.Lease) {
	if o := d.runs[l]; o != nil && o.transcript.abandon() {
		d.Node.Event(api.Event{
			Kind: api.EventNote, Peer: string(o.lease.Peer),
			Text: "the output of " + scheduler.Short(o.lease.Peer) + " so far is not verified; the next run prints from the beginning",
		})
	}
}

// forget removes an award that has ended.
func (d *driver) forget(l scheduler.Lease) {
	if d.runs[l] != nil {
		delete(d.runs, l)
		d.saveCheckpoint()
	}
}

// step feeds one event to the Placement and carries out the returned actions.
func (d *driver) step(ctx context.Context, ev scheduler.Event) {
	next := api.Event{Kind: api.EventNote}
	for _, a := range d.placement.Step(ev, d.Clock()) {
		switch a := a.(type) {
		case scheduler.Award:
			next = api.Event{Kind: api.EventAwarded, Peer: string(a.Peer), Attempt: a.Attempt}
		case scheduler.RunHere:
			next = api.Event{Kind: api.EventStarted, Peer: string(d.Request.Self), Attempt: a.Attempt}
		case scheduler.Note: // after an award: the provider and the reason
			next.Text = a.Text
			d.Node.Event(next)
			next = api.Event{Kind: api.EventNote}
			continue
		}
		d.act(ctx, a)
	}
}

func (d *driver) act(ctx context.Context, a scheduler.Action) {
	switch a := a.(type) {
	case scheduler.Ask:
		d.Node.Event(api.Event{Kind: api.EventAsked, Attempt: a.Attempt, Text: askText(a)})
		for _, p := range a.Peers {
			d.tasks.Go(func() { d.ask(ctx, p, a) })
		}
	case scheduler.Announce:
		d.tasks.Go(func() { d.announce(ctx, a) })
	case scheduler.Award:
		d.award(ctx, a)
	case scheduler.RunHere:
		d.runLocal(ctx, a)
	case scheduler.Attach:
		d.attach(ctx, a)
	case scheduler.Close:
		d.close(a)
	case scheduler.Wake:
		d.wake.Reset(max(0, a.At.Sub(d.Clock())))
	case scheduler.Calibrate:
		d.Node.Calibrate(a)
	case scheduler.Finish:
		e := &Ending{Disagree: a.Disagree}
		for _, w := range a.Winners {
			e.Results = append(e.Results, d.results[w.Peer])
		}
		d.ending = e
	case scheduler.Fail:
		d.failed = &FailedError{a.Code, a.Why, a.Hint}
	default:
		panic(fmt.Sprintf("request: unknown action %T", a))
	}
}

func askText(a scheduler.Ask) string {
	if len(a.Peers) == 1 {
		return "asking 1 peer for a bid"
	}
	return fmt.Sprintf("asking %d peers for bids", len(a.Peers))
}

// feed passes an event to the loop. It returns false when the loop takes no more events.
func (d *driver) feed(e event) bool {
	select {
	case d.events <- e:
		return true
	case <-d.over:
		return false
	}
}

// close ends a conversation, and the run that belongs to it.
func (d *driver) close(a scheduler.Close) {
	if o := d.runs[a.Lease]; o != nil {
		d.broken = d.broken || a.Why == scheduler.CloseLost // the peer reported no end of the run, otherwise forget would have removed it
		o.cancel(errClosed)
		if o.talk != nil {
			o.talk.leave(a.Why)
		}
		d.abandon(a.Lease)
		delete(d.runs, a.Lease)
		d.saveCheckpoint()
	}
	if t := d.talks[a.Peer]; t != nil && (a.Lease == scheduler.Lease{} || !t.awarded) {
		t.leave(a.Why)
		delete(d.talks, a.Peer)
	}
}

func (d *driver) announce(ctx context.Context, a scheduler.Announce) {
	ctx, cancel := context.WithTimeout(ctx, a.Window)
	defer cancel()
	err := d.Node.Announce(ctx, a, func(c scheduler.Candidate) {
		d.feed(event{Event: scheduler.Candidates{Peers: []scheduler.Candidate{c}}})
	})
	if err != nil && ctx.Err() == nil {
		d.feed(event{Event: scheduler.Candidates{}})
	}
}

// runLocal runs the Task on this node.
func (d *driver) runLocal(ctx context.Context, a scheduler.RunHere) {
	ctx, cancel := context.WithCancelCause(ctx)
	out := d.Printed.run(d.Request.Self, true)
	d.runs[a.Lease] = &activeRun{lease: Lease{Peer: d.Request.Self}, transcript: out, cancel: cancel}
	d.tasks.Go(func() {
		defer cancel(nil)
		r, err := d.Node.RunLocal(ctx, a.Sources, Output{
			Stdout: out.writer(1), Stderr: out.writer(2), Progress: d.Printed.out.Progress,
		})
		switch {
		case err == nil:
			out.trust(r.Outcome)
			d.feed(event{Event: scheduler.Done{Peer: d.Request.Self, Lease: a.Lease, Outcome: r.Outcome, Receipt: r.Receipt, Fuel: r.Value.Fuel}, result: &r})
		case errors.Is(context.Cause(ctx), errClosed):
		default:
			d.lostLocal(a.Lease, err)
		}
	})
}

// lostLocal reports why this node could not run the Task. A fault of the module or an exceeded
// timeout is the same on every node, so it ends the job. A fault of this machine or missing data is
// not.
func (d *driver) lostLocal(l scheduler.Lease, err error) {
	lost := scheduler.Lost{Peer: d.Request.Self, Lease: l, Why: err.Error(), Gone: true}
	var e *api.Error
	if !errors.As(err, &e) {
		d.feed(event{fault: err}) // a writer's
		return
	}
	if e.Code != api.CodeMissing && e.Code != api.CodeFault || d.Request.Where == scheduler.Local {
		d.feed(event{fault: err})
		return
	}
	d.feed(event{Event: lost})
}
