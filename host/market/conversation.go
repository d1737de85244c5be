package market

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/network"

	"github.com/ipfs-liftoff/liftoff/job"
)

// Conversation is the requester's side of the protocol about one job with one peer. Award, Next and Blocks must be
// called from one goroutine; Close may be called from any. When the ctx of a call ends, nothing more can be read:
// attach again.
//
// After Award the caller must call Next until Done without delay: if output waits here, heartbeats wait behind it.
type Conversation struct {
	w        *wire
	provider job.DID
	order    job.Order
	task     cid.Cid
	limits   job.Limits
	rtt      time.Duration

	job        cid.Cid // of the awarded order's envelope
	lease      Lease
	running    bool
	began      time.Time // when running became true
	heartbeats int
	received   [2]uint64 // bytes of stdout and stderr so far
	done       *Done

	closing sync.Once
}

// Provider returns the peer at the other end.
func (c *Conversation) Provider() job.DID { return c.provider }

// RTT returns the time from the Ask to the Bid.
func (c *Conversation) RTT() time.Duration { return c.rtt }

// Award gives the job to the peer. The error is a *DeclinedError when the peer made no reservation; after any other
// error it may have made one.
func (c *Conversation) Award(ctx context.Context, a Award) (Accept, error) {
	start, err := c.award(ctx, a)
	if err != nil {
		return Accept{}, fmt.Errorf("award job to peer %s: %w", c.w.peer(), err)
	}
	return Accept{start}, nil
}

func (c *Conversation) award(ctx context.Context, a Award) (time.Duration, error) {
	j, err := job.DecodeOrder(a.Order)
	if err != nil {
		return 0, err
	}
	if j.Task != c.task || j.Audience != c.provider || j.Issuer != c.order.Issuer {
		return 0, errors.New("this node's order to award differs from its order of the ask in provider, issuer or task")
	}
	sources, err := sourceTexts(a.Sources)
	if err != nil {
		return 0, err
	}
	err = c.w.send(&awardFrame{order: a.Order, lease: a.Lease, dur: millis(a.For), queue: millis(a.Queue), sources: sources})
	if err != nil {
		return 0, err
	}
	m, err := c.reply(ctx)
	if err != nil {
		return 0, err
	}
	switch m := m.(type) {
	case *acceptFrame:
		c.job, c.lease, c.running = job.CIDOf(a.Order), a.Lease, true
		c.limits, c.began = j.Limits.OrDefault(), time.Now()
		return duration(m.start), nil
	case *declineFrame:
		return 0, &DeclinedError{m.why, duration(m.queue)}
	case *failedFrame:
		return 0, &FailedError{m.code, m.why, m.final}
	}
	return 0, c.w.unexpected(m, "while waiting for the answer to an award")
}

// More than maxHeartbeats, plus one per minHeartbeatInterval, is a flood.
const (
	maxHeartbeats        = 1000
	minHeartbeatInterval = 10 * time.Millisecond
)

// Next waits for the next event: a Heartbeat, which it answers, so that the provider knows that the requester is
// alive; a Log; or Done, the last. The error is a *FailedError when the run has failed at the provider, a
// *ProtocolError when the peer broke a rule, and a *TimeoutError when nothing arrived for Config.Silence.
func (c *Conversation) Next(ctx context.Context) (Event, error) {
	if !c.running || c.done != nil {
		return nil, errors.New("market client: Next called while no job is running")
	}
	m, err := c.w.readMessage(ctx, c.w.cfg.Silence)
	if errors.Is(err, errNoFrame) {
		return nil, &TimeoutError{c.w.peer(), c.w.cfg.Silence}
	}
	if err != nil {
		return nil, err
	}
	switch m := m.(type) {
	case *heartbeatFrame:
		if c.heartbeats++; c.heartbeats > maxHeartbeats+int(time.Since(c.began)/minHeartbeatInterval) {
			return nil, &ProtocolError{c.w.peer(), errors.New("sent too many heartbeats")}
		}
		if err := c.w.send(&renewFrame{}); err != nil {
			return nil, err
		}
		return Heartbeat{Phase: m.phase, Fuel: m.fuel, Done: m.done, Total: m.total, Fetched: m.fetched}, nil
	case *logFrame:
		return c.log(m)
	case *doneFrame:
		done, err := c.check(m)
		if err != nil {
			return nil, &ProtocolError{c.w.peer(), err}
		}
		c.done = &done
		return done, nil
	case *failedFrame:
		return nil, &FailedError{m.code, m.why, m.final}
	}
	return nil, c.w.unexpected(m, "while a job is running")
}

// log checks that output is in order and within its limit.
func (c *Conversation) log(m *logFrame) (Event, error) {
	at := &c.received[m.stream-1]
	if m.off != *at {
		return nil, &ProtocolError{c.w.peer(), fmt.Errorf("job output: got byte %d of stream %d, want byte %d", m.off, m.stream, *at)}
	}
	*at += uint64(len(m.data))
	if c.received[0]+c.received[1] > c.limits.Log {
		return nil, &ProtocolError{c.w.peer(), fmt.Errorf("job output: more than the order's limit of %d bytes", c.limits.Log)}
	}
	return Log{Stream: byte(m.stream), Offset: m.off, Data: m.data}, nil
}

// check compares the end of a run with the award.
func (c *Conversation) check(m *doneFrame) (Done, error) {
	r, err := job.DecodeReceipt(m.receipt)
	if err != nil {
		return Done{}, err
	}
	o, err := job.DecodeOutcome(m.outcome)
	if err != nil {
		return Done{}, err
	}
	switch {
	case r.Issuer != c.provider:
		return Done{}, fmt.Errorf("receipt: got issuer %s, want the provider %s", r.Issuer, c.provider)
	case r.Task != c.task || o.Task != c.task:
		return Done{}, errors.New("receipt or outcome is for another task")
	case r.Order != c.job || string(r.Lease) != string(c.lease[:]):
		return Done{}, errors.New("receipt is for another award")
	case r.Outcome != job.CIDOf(m.outcome):
		return Done{}, errors.New("receipt is for another outcome")
	}
	if err := within(o, c.limits); err != nil {
		return Done{}, err
	}
	return Done{Receipt: r, ReceiptBytes: m.receipt, Outcome: o, OutcomeBytes: m.outcome}, nil
}

// within returns an error if an Outcome exceeds the limits of its order: an honest run would have ended there.
func within(o job.Outcome, l job.Limits) error {
	for _, f := range []struct {
		what        string
		have, limit uint64
	}{{"fuel", o.Fuel, l.Fuel}, {"pages of memory", o.Pages, l.Pages}, {"bytes of output", o.Size, l.Out}, {"bytes of /tmp", o.Tmp, l.Tmp}, {"bytes of stdout and stderr", o.Log, l.Log}} {
		if f.have > f.limit {
			return fmt.Errorf("outcome: got %d %s, want at most %d", f.have, f.what, f.limit)
		}
	}
	if o.Limits != nil && *o.Limits != l {
		return errors.New("outcome: its limits differ from those of the order")
	}
	return nil
}

// Close ends the conversation and sends the reason to the peer. A second Close does nothing. Close does not wait for
// the peer.
func (c *Conversation) Close(why Why) (err error) {
	c.closing.Do(func() { err = c.close(why) })
	return err
}

func (c *Conversation) close(why Why) error {
	err := c.w.send(&closeFrame{string(why)})
	if errors.Is(err, network.ErrReset) { // the peer has already left
		c.w.s.Reset()
		return nil
	}
	if err != nil {
		c.w.s.Reset()
		return fmt.Errorf("close market stream to peer %s: %w", c.w.peer(), err)
	}
	if c.w.s.Close() != nil { // the other end closed first: it has the message
		c.w.s.Reset()
	}
	return nil
}

// Drop ends the conversation without a message, instead of Close: the run continues and waits for an Attach.
func (c *Conversation) Drop() {
	c.closing.Do(func() { c.w.s.Reset() })
}
