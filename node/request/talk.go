package request

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"

	"github.com/ipfs-liftoff/liftoff/host"
	"github.com/ipfs-liftoff/liftoff/host/market"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node/api"
	"github.com/ipfs-liftoff/liftoff/scheduler"
)

// talk is a conversation with one peer, open or being opened.
type talk struct {
	d       *driver
	awarded bool       // owned by the loop, and by the goroutine of the award
	run     *activeRun // the run of the award; nil: no award yet

	mu   sync.Mutex
	conv *market.Conversation // nil: not open yet
	left scheduler.CloseReason
}

// open sets the conversation of t. It returns false if t was closed before.
func (t *talk) open(conv *market.Conversation) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.conv = conv
	if t.left != "" {
		conv.Close(market.Why(t.left)) //nolint:errcheck // a broken stream needs no close
		return false
	}
	return true
}

// leave closes the conversation, once. A requester that will come back sends nothing: the run goes
// on and waits for it.
func (t *talk) leave(why scheduler.CloseReason) {
	if t.awarded && t.d.returning() {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.left != "" {
		return
	}
	t.left = why
	if t.conv != nil {
		t.conv.Close(market.Why(why)) //nolint:errcheck // a broken stream needs no close
	}
}

// drop ends a broken conversation without a message, so that nothing is sent late: the run goes on.
func (t *talk) drop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.left == "" {
		t.left = scheduler.CloseLost
		t.conv.Drop()
	}
}

// ask asks one peer for its bid.
func (d *driver) ask(ctx context.Context, p job.DID, a scheduler.Ask) {
	conv, bid, err := d.askOne(ctx, p, a)
	switch {
	case err != nil:
		d.feed(event{Event: scheduler.AskFailed{Peer: p, Why: Reason(err), Denied: denied(err)}})
	case conv == nil:
		d.feed(event{Event: scheduler.Bid{Peer: p, Bid: bid}})
	default:
		t := &talk{d: d, conv: conv}
		if !d.feed(event{Event: scheduler.Bid{Peer: p, Bid: bid, RTT: conv.RTT()}, talk: t}) {
			t.leave(scheduler.CloseCancelled)
		}
	}
}

func (d *driver) askOne(ctx context.Context, p job.DID, a scheduler.Ask) (*market.Conversation, job.Bid, error) {
	id, err := host.IDOf(p)
	if err != nil {
		return nil, job.Bid{}, err
	}
	envelope, err := d.Node.Sign(a.Attempt, "")
	if err != nil {
		return nil, job.Bid{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, a.Window)
	defer cancel()
	w := d.Request.Work
	return d.Market.Ask(ctx, id, market.Ask{
		Order: envelope, Task: d.Task, Engine: w.ABI, Bytes: w.Bytes, Module: w.Module, Fuel: w.Fuel, Output: w.Output, Window: a.Window,
	})
}

// denied reports whether this node knows the peer and does not send it jobs: another attempt would
// end the same way. An unknown peer may be a member that has not connected yet.
func denied(err error) bool {
	var relation *host.DeniedError
	return errors.As(err, &relation) && relation.Relation != host.Unknown
}

// Reason describes an error as a clause: why there was no answer from a peer.
func Reason(err error) string {
	var dial *swarm.DialError
	var relation *host.DeniedError
	switch {
	case errors.As(err, &relation):
		return "its relation to this node is " + cmp.Or(string(relation.Relation), "unknown")
	case errors.Is(err, swarm.ErrGaterDisallowedConnection):
		return "it is not a member of the cluster and not named by --connect"
	case errors.Is(err, swarm.ErrNoAddresses):
		return "its addresses are unknown"
	case errors.Is(err, context.DeadlineExceeded):
		return "it did not answer in time"
	case errors.As(err, &dial):
		return "it did not answer at any of its addresses"
	}
	return err.Error()
}

// award awards the job to a peer that has bid. A peer that declined and is chosen again is asked
// again first, because its stream has ended.
func (d *driver) award(ctx context.Context, a scheduler.Award) {
	t := d.talks[a.Peer]
	delete(d.talks, a.Peer)
	if t == nil {
		t = &talk{d: d}
	}
	t.awarded = true
	envelope, err := d.Node.Sign(a.Attempt, a.Peer)
	if err != nil {
		d.failed = err
		return
	}
	ctx, cancel := context.WithCancelCause(ctx)
	t.run = &activeRun{
		lease: Lease{Peer: a.Peer, Lease: market.Lease(a.Lease), Envelope: envelope}, transcript: d.Printed.run(a.Peer, false), cancel: cancel, talk: t,
	}
	d.runs[a.Lease] = t.run
	d.tasks.Go(func() {
		defer cancel(nil)
		defer t.leave(scheduler.CloseCancelled)
		if err := d.reopen(ctx, t, a); err != nil {
			d.lost(ctx, nil, a.Peer, a.Lease, err)
			return
		}
		d.sendAward(ctx, t, a, envelope)
	})
}

// reopen asks a peer again if its conversation has ended.
func (d *driver) reopen(ctx context.Context, t *talk, a scheduler.Award) error {
	if t.conv != nil {
		return nil
	}
	conv, bid, err := d.askOne(ctx, a.Peer, scheduler.Ask{Attempt: a.Attempt, Window: reopenTime})
	if err != nil {
		return err
	}
	if conv == nil {
		return &market.FailedError{Code: bid.Code, Why: bid.Refusal}
	}
	if !t.open(conv) {
		return errClosed
	}
	return nil
}

// reopenTime is the time limit for a peer to repeat its bid.
const reopenTime = 2 * time.Second

// sendAward sends the award and follows the run to its end.
func (d *driver) sendAward(ctx context.Context, t *talk, a scheduler.Award, envelope []byte) {
	var sources []peer.AddrInfo
	for _, s := range a.Sources {
		if id, err := host.IDOf(s); err == nil {
			sources = append(sources, d.Node.AddrInfo(id))
		}
	}
	accepted, err := t.conv.Award(ctx, market.Award{
		Order: envelope, Lease: market.Lease(a.Lease), For: a.LeaseFor, Queue: a.Queue, Sources: sources,
	})
	var declined *market.DeclinedError
	switch {
	case errors.As(err, &declined):
		d.feed(event{Event: scheduler.Declined{Peer: a.Peer, Lease: a.Lease, Why: declined.Why, Queue: declined.Queue}})
	case err != nil:
		d.lost(ctx, nil, a.Peer, a.Lease, err)
	default:
		if d.feed(event{Event: scheduler.Accepted{Peer: a.Peer, Lease: a.Lease, Start: accepted.Start}}) {
			d.follow(ctx, t, a.Peer, a.Lease)
		}
	}
}

// follow reads the messages about a run until it ends.
func (d *driver) follow(ctx context.Context, t *talk, p job.DID, l scheduler.Lease) {
	began := d.Clock()
	for {
		e, err := t.conv.Next(ctx)
		if err != nil {
			d.lostAfter(ctx, t, p, l, err, d.Clock().Sub(began))
			return
		}
		switch e := e.(type) {
		case market.Heartbeat:
			if e.Total > 0 && d.Printed.out.Progress != nil {
				d.Printed.out.Progress(int64(e.Done), int64(e.Total))
			}
			if !d.feed(event{Event: scheduler.Heartbeat{Peer: p, Lease: l, Phase: e.Phase}}) {
				return
			}
		case market.Log:
			if err := t.run.transcript.add(e.Stream, e.Offset, e.Data); err != nil {
				d.feed(event{fault: err})
				return
			}
		case market.Done:
			if err := checkFresh(d.Request.Job, e); err != nil {
				d.lost(ctx, t, p, l, err)
				return
			}
			d.done(ctx, t, p, l, e)
			return
		}
	}
}

// checkFresh returns an error if a peer that must run the job answers from its result cache.
func checkFresh(j job.Order, e market.Done) error {
	if j.NeedsRun() && e.Receipt.Meta.Replayed {
		return &market.ProtocolError{Err: errors.New("it answered from its result cache, but the order requires a run")}
	}
	return nil
}

// done stores the result of a run.
func (d *driver) done(ctx context.Context, t *talk, p job.DID, l scheduler.Lease, e market.Done) {
	ticker := time.NewTicker(keepAlive)
	defer ticker.Stop()
	kept := make(chan struct{})
	began := d.Clock()
	var r Result
	var err error
	go func() {
		defer close(kept)
		if r, err = d.Node.Keep(ctx, p, e, t.conv.Blocks(ctx)); err == nil {
			err = d.verify(ctx, t.run.transcript, r)
		}
	}()
	for waiting := true; waiting; {
		select {
		case <-kept:
			waiting = false
		case <-ticker.C: // incoming data counts as a heartbeat
			d.feed(event{Event: scheduler.Heartbeat{Peer: p, Lease: l, Phase: "pack"}})
		}
	}
	var fault *KeepError
	var isFalse *mismatchError
	switch {
	case errors.As(err, &isFalse):
		d.lost(ctx, t, p, l, err)
	case ctx.Err() == nil && errors.As(err, &fault):
		d.feed(event{fault: fault.Err})
	case err != nil:
		if t.run.cuts.Add(1) == maxCuts {
			err = &market.ProtocolError{Err: fmt.Errorf("transfer of its result was cut off %d times: %w", maxCuts, err)}
		}
		d.lost(ctx, t, p, l, err)
	default:
		t.leave(scheduler.CloseOK)
		d.feed(event{Event: scheduler.Done{
			Peer: p, Lease: l, Outcome: r.Outcome, Receipt: r.Receipt, Fuel: r.Value.Fuel, Moved: d.Clock().Sub(began),
			Replayed: e.Receipt.Meta.Replayed,
		}, result: &r})
	}
}

// verify compares the printed output of a run with its Outcome.
func (d *driver) verify(ctx context.Context, printed *transcript, r Result) error {
	all, err := printed.verify(ctx, r, d.Node.Open)
	switch {
	case err != nil && ctx.Err() == nil:
		return &market.ProtocolError{Err: err} // no data is missing: the peer made it so
	case err != nil:
		return err
	case len(all) > 0:
		return &mismatchError{all}
	}
	return nil
}

// mismatchError means that the output which a peer printed differs from its Outcome.
type mismatchError struct{ all []Mismatch }

func (e *mismatchError) Error() string {
	return "its printed " + e.all[0].Name() + " differs from its outcome"
}

// maxCuts is how often the transfer of a result may be cut off. A broken stream alone is not a
// reason to lose a peer, but a peer that cannot read its own blocks would cut it off for ever.
const maxCuts = 3

// keepAlive is how often a result in transfer counts as a heartbeat.
const keepAlive = 2 * time.Second

func (d *driver) lost(ctx context.Context, t *talk, p job.DID, l scheduler.Lease, err error) {
	d.lostAfter(ctx, t, p, l, err, 0)
}

// lostAfter reports that a peer has no result. The peer is gone for good when it says so or its
// output was false. It may be found again when only t broke, the conversation about its run; nil
// means that there was none yet. A peer's claim that no other peer could do better counts only when
// this node can confirm it.
func (d *driver) lostAfter(ctx context.Context, t *talk, p job.DID, l scheduler.Lease, err error, ran time.Duration) {
	var isFalse *mismatchError
	if errors.As(err, &isFalse) && !d.feed(event{Event: scheduler.Tick{}, mismatches: isFalse.all}) { // valid even if the award is lost for another reason
		d.mu.Lock()
		d.late = append(d.late, isFalse.all...)
		d.mu.Unlock()
	}
	if errors.Is(context.Cause(ctx), errClosed) {
		return
	}
	ev := scheduler.Lost{Peer: p, Lease: l, Why: Reason(err)}
	var failed *market.FailedError
	var broke *market.ProtocolError
	broken := false
	switch {
	case isFalse != nil:
		ev.Gone, ev.FalseOutput = true, true
	case errors.As(err, &failed):
		ev.Why, ev.Gone = failed.Why, true
		broken = failed.Code == job.RefuseClosing || failed.Code == CodeUnknown
		if failed.Final {
			ev.Final = d.final(ctx, failed, ran)
		}
	case errors.As(err, &broke):
		ev.Why, ev.Gone = broke.Err.Error(), true
	default:
		broken = true
		if t != nil && ctx.Err() == nil {
			t.drop()
		}
	}
	d.feed(event{Event: ev, broken: broken})
}

// final returns the code of a failure that every other peer would have too, or "".
func (d *driver) final(ctx context.Context, f *market.FailedError, ran time.Duration) string {
	timeout := time.Duration(d.Request.Job.Timeout) * time.Millisecond
	switch api.Code(f.Code) {
	case api.CodeTimeout:
		if timeout > 0 && ran >= timeout-timeout/10 {
			return scheduler.CodeTimeout
		}
	case api.CodeRefused:
		if d.Node.CheckModule(ctx) != nil {
			return f.Code
		}
	}
	return ""
}

// attach opens a new conversation about a run whose stream broke.
func (d *driver) attach(ctx context.Context, a scheduler.Attach) {
	o := d.runs[a.Lease]
	if o == nil {
		d.tasks.Go(func() {
			d.feed(event{Event: scheduler.Lost{Peer: a.Peer, Lease: a.Lease, Why: "its lease has ended", Gone: true}})
		})
		return
	}
	o.cancel(errClosed)
	ctx, o.cancel = context.WithCancelCause(ctx)
	t := &talk{d: d, awarded: true, run: o}
	o.talk = t
	stdout, stderr := o.transcript.sizes()
	again := market.Attach{
		Lease: o.lease.Lease, Stdout: stdout, Stderr: stderr, Task: job.CIDOf(d.Task), Order: job.CIDOf(o.lease.Envelope),
	}
	d.tasks.Go(func() {
		conv, err := d.reattach(ctx, a.Peer, again)
		if err != nil {
			d.lost(ctx, nil, a.Peer, a.Lease, err)
			return
		}
		defer t.leave(scheduler.CloseCancelled)
		if !t.open(conv) {
			return
		}
		if d.feed(event{Event: scheduler.Heartbeat{Peer: a.Peer, Lease: a.Lease}}) {
			d.follow(ctx, t, a.Peer, a.Lease)
		}
	})
}

func (d *driver) reattach(ctx context.Context, p job.DID, a market.Attach) (*market.Conversation, error) {
	id, err := host.IDOf(p)
	if err != nil {
		return nil, err
	}
	conv, err := d.Market.Attach(ctx, id, a, d.Limits)
	if err != nil {
		return nil, fmt.Errorf("attach: %w", err)
	}
	return conv, nil
}
