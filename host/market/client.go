package market

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ipfs/go-cid"
	p2phost "github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/ipfs-liftoff/liftoff/host"
	"github.com/ipfs-liftoff/liftoff/job"
)

// Client opens conversations. Its methods may be called concurrently.
type Client struct {
	host p2phost.Host
	cfg  Config
}

// NewClient returns the requester's side of the market on h.
func NewClient(h p2phost.Host, cfg Config) *Client { return &Client{h, cfg.orDefault()} }

// Ask opens a conversation with p and returns its Bid. The Bid may be a refusal: then the Conversation is nil, as it
// is with an error. Otherwise the caller closes the Conversation. The error is a *ProtocolError, a *TimeoutError, or
// the reason why p is unreachable; ctx should end with the window for bids.
func (c *Client) Ask(ctx context.Context, p peer.ID, a Ask) (*Conversation, job.Bid, error) {
	conv, err := c.open(ctx, p, a.Order, a.Task)
	if err != nil {
		return nil, job.Bid{}, fmt.Errorf("ask peer %s for a bid: %w", p, err)
	}
	bid, err := conv.ask(ctx, a)
	if err != nil {
		conv.w.s.Reset()
		return nil, job.Bid{}, fmt.Errorf("ask peer %s for a bid: %w", p, err)
	}
	if bid.Refuses() {
		conv.w.s.Close()
		return nil, bid, nil
	}
	return conv, bid, nil
}

// open checks the order and the task, and opens a stream.
func (c *Client) open(ctx context.Context, p peer.ID, envelope, task []byte) (*Conversation, error) {
	j, err := job.DecodeOrder(envelope)
	if err != nil {
		return nil, err
	}
	if len(task) > MaxTask || job.CIDOf(task) != j.Task {
		return nil, errors.New("task does not match the order")
	}
	conv, err := c.dial(ctx, p)
	if err != nil {
		return nil, err
	}
	conv.order, conv.limits = j, j.Limits.OrDefault()
	conv.task = j.Task
	return conv, nil
}

func (c *Client) dial(ctx context.Context, p peer.ID) (*Conversation, error) {
	did, err := host.DIDOf(p)
	if err != nil {
		return nil, err
	}
	s, err := c.host.NewStream(network.WithAllowLimitedConn(ctx, "market"), p, Protocol)
	if err != nil {
		return nil, err
	}
	return &Conversation{w: newWire(s, c.cfg), provider: did}, nil
}

func (c *Conversation) ask(ctx context.Context, a Ask) (job.Bid, error) {
	sent := time.Now()
	err := c.w.send(&askFrame{
		order: a.Order, engine: a.Engine, bytes: a.Bytes, module: a.Module, fuel: a.Fuel, output: a.Output, window: millis(a.Window),
	})
	if err == nil {
		err = c.w.sendChunk(a.Task)
	}
	if err != nil {
		return job.Bid{}, err
	}
	m, err := c.reply(ctx)
	if err != nil {
		return job.Bid{}, err
	}
	c.rtt = time.Since(sent)
	name := job.CIDOf(a.Order)
	switch m := m.(type) {
	case *bidFrame:
		bid, err := job.DecodeBid(m.bid)
		if err != nil {
			return job.Bid{}, &ProtocolError{c.w.peer(), err}
		}
		if bid.Order != name {
			return job.Bid{}, &ProtocolError{c.w.peer(), errors.New("bid is for another order")}
		}
		return bid, nil
	case *failedFrame:
		return refusal(name, m), nil
	}
	return job.Bid{}, c.w.unexpected(m, "while waiting for a bid")
}

// refusal converts a failed message at the start to a Bid.
func refusal(j cid.Cid, m *failedFrame) job.Bid {
	b := job.Bid{Order: j, Refusal: m.why, Code: m.code}
	if b.Refusal == "" || b.Validate() != nil {
		b.Refusal, b.Code = "peer refused without a valid reason", job.RefuseFault
	}
	return b
}

// reply reads the answer to the message that was sent.
func (c *Conversation) reply(ctx context.Context) (message, error) {
	m, err := c.w.readMessage(ctx, c.w.cfg.Reply)
	if errors.Is(err, errNoFrame) {
		err = &TimeoutError{c.w.peer(), c.w.cfg.Reply}
	}
	return m, err
}

// Attach resumes the conversation about an award with p. The error is a *FailedError when p does not know the award
// any more. The caller closes the Conversation.
func (c *Client) Attach(ctx context.Context, p peer.ID, a Attach, limits job.Limits) (*Conversation, error) {
	conv, err := c.attach(ctx, p, a)
	if err != nil {
		return nil, fmt.Errorf("attach to job at peer %s: %w", p, err)
	}
	conv.limits = limits.OrDefault()
	return conv, nil
}

func (c *Client) attach(ctx context.Context, p peer.ID, a Attach) (*Conversation, error) {
	conv, err := c.dial(ctx, p)
	if err != nil {
		return nil, err
	}
	conv.task, conv.job, conv.lease = a.Task, a.Order, a.Lease
	conv.received = [2]uint64{a.Stdout, a.Stderr}
	err = conv.w.send(&attachFrame{order: a.Order.Bytes(), lease: a.Lease, stdout: a.Stdout, stderr: a.Stderr})
	var m message
	if err == nil {
		m, err = conv.reply(ctx)
	}
	switch m := m.(type) {
	case nil:
	case *acceptFrame:
		conv.running, conv.began = true, time.Now()
		return conv, nil
	case *failedFrame:
		err = &FailedError{m.code, m.why, m.final}
	default:
		err = conv.w.unexpected(m, "while waiting for the answer to an attach")
	}
	conv.w.s.Reset()
	return nil, err
}
