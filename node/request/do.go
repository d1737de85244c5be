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

// driver is a Run that is under way.
type driver struct {
	*Run
	placement *scheduler.Placement
	events    chan event    // from the goroutines of peers
	over      chan struct{} // closed when nobody takes events any more
	tasks     sync.WaitGroup
	wake      *time.Timer
	returning func() bool // the ctx ended with ErrReturning

	talks   map[job.DID]*talk               // with peers that have bid
	runs    map[scheduler.Lease]*occupation // those that were awarded, self among them
	results map[job.DID]Result
	broken  bool
	ending  *Ending
	failed  error

	mu   sync.Mutex
	late []Mismatch // found when the loop took no events any more: what was shown is false all the same
}

// event is one for the Placement, and what comes with it.
type event struct {
	scheduler.Event
	talk   *talk      // with a Bid
	result *Result    // with a Done
	broken bool       // with a Lost: the peer did not say why
	lies   []Mismatch // with any: what a peer has printed and its Outcome does not say
	fault  error      // of this machine: it ends all
}

// occupation is what an award keeps busy.
type occupation struct {
	lease  Lease
	said   *transcript
	cancel context.CancelCauseFunc
	talk   *talk // nil: it runs here
	phase  int   // how many of the phases it has begun
	lost   bool  // it was left by a process that has ended, and is not found yet

	cuts atomic.Int32 // how often its result broke off
}

// phases are what a peer does for a job, in order, and how people are told.
var phases = []struct{ name, text string }{
	{"fetch", "is fetching the module"},
	{"compile", "is compiling the module"},
	{"run", "is running it"},
	{"pack", "is sending the result"},
}

// advance takes note of a phase, and reports whether it is a later one: no peer fills the
// job's events by going back and forth.
func (o *occupation) advance(phase string) bool {
	i := slices.IndexFunc(phases, func(p struct{ name, text string }) bool { return p.name == phase })
	if i < o.phase {
		return false
	}
	o.phase = i + 1
	return true
}

// ErrReturning is the cause with which a ctx ends when the requester does and will be
// back: peers that are at the job go on with it.
var ErrReturning = errors.New("the requester comes back")

// errClosed is the cause that ends what the Placement has closed.
var errClosed = errors.New("closed by the requester")

// Do brings the job to its end. start has this node's own price. Its error is a
// *FailedError, the cause of ctx, or a fault of this machine; the Record is there with
// every error.
func (r *Run) Do(ctx context.Context, start scheduler.Start) (Ending, error) {
	d := &driver{
		Run: r, placement: scheduler.NewPlacement(r.Config, r.Request),
		events: make(chan event), over: make(chan struct{}),
		talks: map[job.DID]*talk{}, runs: map[scheduler.Lease]*occupation{}, results: map[job.DID]Result{},
	}
	ctx, cancel := context.WithCancelCause(ctx)
	// Who is woken by the end of ctx may be there before the loop: it asks ctx, too.
	d.returning = func() bool { return errors.Is(context.Cause(ctx), ErrReturning) }
	d.wake = time.NewTimer(time.Hour)
	d.wake.Stop()
	start.Left = d.takeUp(r.Left)
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

// take feeds an event to the Placement, with what belongs to it.
func (d *driver) take(ctx context.Context, e event) {
	if e.fault != nil {
		d.failed = e.fault
		return
	}
	for _, m := range e.lies {
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
		d.tellLeft()
	}
	d.step(ctx, e.Event)
}

// abandon ends what a run prints that has no Outcome.
func (d *driver) abandon(l scheduler.Lease) {
	if o := d.runs[l]; o != nil && o.said.abandon() {
		d.Node.Event(api.Event{
			Kind: api.EventNote, Peer: string(o.lease.Peer),
			Text: "not verified: what " + scheduler.Short(o.lease.Peer) + " printed so far; the next run prints from the beginning",
		})
	}
}

// forget drops an award that has ended.
func (d *driver) forget(l scheduler.Lease) {
	if d.runs[l] != nil {
		delete(d.runs, l)
		d.tellLeft()
	}
}

// step feeds one event to the Placement and carries out what it says.
func (d *driver) step(ctx context.Context, ev scheduler.Event) {
	said := api.Event{Kind: api.EventNote}
	for _, a := range d.placement.Step(ev, d.Clock()) {
		switch a := a.(type) {
		case scheduler.Award:
			said = api.Event{Kind: api.EventAwarded, Peer: string(a.Peer), Attempt: a.Attempt}
		case scheduler.RunHere:
			said = api.Event{Kind: api.EventStarted, Peer: string(d.Request.Self), Attempt: a.Attempt}
		case scheduler.Note: // of an award: who got it, and why
			said.Text = a.Text
			d.Node.Event(said)
			said = api.Event{Kind: api.EventNote}
			continue
		}
		d.act(ctx, a)
	}
}

func (d *driver) act(ctx context.Context, a scheduler.Action) {
	switch a := a.(type) {
	case scheduler.Ask:
		d.Node.Event(api.Event{Kind: api.EventAsked, Attempt: a.Attempt, Text: asks(a)})
		for _, p := range a.Peers {
			d.tasks.Go(func() { d.ask(ctx, p, a) })
		}
	case scheduler.Announce:
		d.tasks.Go(func() { d.announce(ctx, a) })
	case scheduler.Award:
		d.award(ctx, a)
	case scheduler.RunHere:
		d.here(ctx, a)
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
		panic(fmt.Sprintf("request: an action of type %T", a))
	}
}

func asks(a scheduler.Ask) string {
	if len(a.Peers) == 1 {
		return "asks 1 peer"
	}
	return fmt.Sprintf("asks %d peers", len(a.Peers))
}

// feed hands an event to the loop; false: nobody takes it any more.
func (d *driver) feed(e event) bool {
	select {
	case d.events <- e:
		return true
	case <-d.over:
		return false
	}
}

// close ends a conversation, and the run that it is about.
func (d *driver) close(a scheduler.Close) {
	if o := d.runs[a.Lease]; o != nil {
		d.broken = d.broken || a.Why == scheduler.CloseLost // it had said nothing: else it would be forgotten
		o.cancel(errClosed)
		if o.talk != nil {
			o.talk.leave(a.Why)
		}
		d.abandon(a.Lease)
		delete(d.runs, a.Lease)
		d.tellLeft()
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

// here runs the Task on this node.
func (d *driver) here(ctx context.Context, a scheduler.RunHere) {
	ctx, cancel := context.WithCancelCause(ctx)
	said := d.Printed.run(d.Request.Self, true)
	d.runs[a.Lease] = &occupation{lease: Lease{Peer: d.Request.Self}, said: said, cancel: cancel}
	d.tasks.Go(func() {
		defer cancel(nil)
		r, err := d.Node.Here(ctx, a.Sources, Output{
			Stdout: said.writer(1), Stderr: said.writer(2), Progress: d.Printed.out.Progress,
		})
		switch {
		case err == nil:
			said.vouch(r.Outcome)
			d.feed(event{Event: scheduler.Done{Peer: d.Request.Self, Lease: a.Lease, Outcome: r.Outcome, Receipt: r.Receipt, Fuel: r.Value.Fuel}, result: &r})
		case errors.Is(context.Cause(ctx), errClosed):
		default:
			d.lostHere(a.Lease, err)
		}
	})
}

// lostHere tells why this node could not run it. What is wrong with the module, or with
// the time that it was given, is so everywhere; what is wrong with this machine, or not
// here, need not be.
func (d *driver) lostHere(l scheduler.Lease, err error) {
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
