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

// Conversation is a requester's side of what is said about one job with one peer. Award,
// Next and Blocks belong to one goroutine; Close may be called from any. When the ctx of
// a call ends, nothing more can be read: attach anew.
//
// Who awards reads on with Next until Done, fast: what is printed must not wait here, or
// signs of life wait behind it.
type Conversation struct {
	w        *wire
	provider job.DID
	asked    job.Order
	task     cid.Cid
	limits   job.Limits
	rtt      time.Duration

	job        cid.Cid // of the awarded envelope
	lease      Lease
	running    bool
	began      time.Time // when running became true
	heartbeats int
	printed    [2]uint64 // bytes of stdout and stderr so far
	done       *Done

	closing sync.Once
}

// Provider returns who is at the other end.
func (c *Conversation) Provider() job.DID { return c.provider }

// RTT returns the time from the Ask to the Bid.
func (c *Conversation) RTT() time.Duration { return c.rtt }

// Award gives the job to the peer. The error is a *DeclinedError when it makes no
// reservation; every other error leaves open whether it did.
func (c *Conversation) Award(ctx context.Context, a Award) (Accept, error) {
	start, err := c.award(ctx, a)
	if err != nil {
		return Accept{}, fmt.Errorf("award to peer %s: %w", c.w.peer(), err)
	}
	return Accept{start}, nil
}

func (c *Conversation) award(ctx context.Context, a Award) (time.Duration, error) {
	j, err := job.DecodeOrder(a.Order)
	if err != nil {
		return 0, err
	}
	if j.Task != c.task || j.Audience != c.provider || j.Issuer != c.asked.Issuer {
		return 0, errors.New("the Job is not for this peer, or not the one that it bid for")
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
	return 0, c.w.unexpected(m, "where the answer to an award should be")
}

// More signs of life than maxBeats and one each minBeat are a flood.
const (
	maxHeartbeats        = 1000
	minHeartbeatInterval = 10 * time.Millisecond
)

// Next waits for what comes next: a Beat, which it answers, so that the provider knows
// that somebody is there; a Log; or Done, the last. The error is a *FailedError when the
// run has failed there, a *ProtocolError when the peer lies or breaks the rules, a
// *SilentError when nothing was heard for Config.Silence.
func (c *Conversation) Next(ctx context.Context) (Event, error) {
	if !c.running || c.done != nil {
		return nil, errors.New("nothing runs in this conversation")
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
			return nil, &ProtocolError{c.w.peer(), errors.New("too many beats")}
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
	return nil, c.w.unexpected(m, "during a run")
}

// log holds output to its order and its limit.
func (c *Conversation) log(m *logFrame) (Event, error) {
	at := &c.printed[m.stream-1]
	if m.off != *at {
		return nil, &ProtocolError{c.w.peer(), fmt.Errorf("output at byte %d of stream %d, want byte %d", m.off, m.stream, *at)}
	}
	*at += uint64(len(m.data))
	if c.printed[0]+c.printed[1] > c.limits.Log {
		return nil, &ProtocolError{c.w.peer(), fmt.Errorf("more output than the %d bytes that the Job allows", c.limits.Log)}
	}
	return Log{Stream: byte(m.stream), Offset: m.off, Data: m.data}, nil
}

// check holds the end of a run to what was awarded.
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
		return Done{}, fmt.Errorf("a receipt of %s, who was not asked", r.Issuer)
	case r.Task != c.task || o.Task != c.task:
		return Done{}, errors.New("a receipt or an outcome of another task")
	case r.Order != c.job || string(r.Lease) != string(c.lease[:]):
		return Done{}, errors.New("a receipt for another award")
	case r.Outcome != job.CIDOf(m.outcome):
		return Done{}, errors.New("a receipt for another outcome")
	}
	if err := within(o, c.limits); err != nil {
		return Done{}, err
	}
	return Done{Receipt: r, ReceiptBytes: m.receipt, Outcome: o, OutcomeBytes: m.outcome}, nil
}

// within reports what an Outcome has beyond the limits of its Job: an honest run would
// have ended there.
func within(o job.Outcome, l job.Limits) error {
	for _, f := range []struct {
		what        string
		have, limit uint64
	}{{"fuel", o.Fuel, l.Fuel}, {"pages", o.Pages, l.Pages}, {"bytes of output", o.Size, l.Out}, {"bytes of /tmp", o.Tmp, l.Tmp}, {"bytes of log", o.Log, l.Log}} {
		if f.have > f.limit {
			return fmt.Errorf("an outcome of %d %s where the Job allows %d", f.have, f.what, f.limit)
		}
	}
	if o.Limits != nil && *o.Limits != l {
		return errors.New("an outcome that ended at limits which are not the Job's")
	}
	return nil
}

// Close ends the conversation and tells the peer why. The second Close does nothing. It
// does not wait for the peer.
func (c *Conversation) Close(why Why) (err error) {
	c.closing.Do(func() { err = c.close(why) })
	return err
}

func (c *Conversation) close(why Why) error {
	err := c.w.send(&closeFrame{string(why)})
	if errors.Is(err, network.ErrReset) { // the peer has left: there is nobody to tell
		c.w.s.Reset()
		return nil
	}
	if err != nil {
		c.w.s.Reset()
		return fmt.Errorf("close conversation with peer %s: %w", c.w.peer(), err)
	}
	if c.w.s.Close() != nil { // the other end was quicker: it has been told
		c.w.s.Reset()
	}
	return nil
}

// Drop ends the conversation without a word, in place of Close: the run goes on, and waits
// for an Attach.
func (c *Conversation) Drop() {
	c.closing.Do(func() { c.w.s.Reset() })
}
