// Package market is the protocol of two peers about one job. The requester asks; the provider bids, is awarded the
// job, accepts, sends heartbeats and the guest's output, and ends with a Receipt, an Outcome and the blocks of the
// result.
//
// All of it uses one libp2p stream per asked peer, opened by the requester, so it works from behind a NAT. A broken
// stream does not end the run: the requester may [Client.Attach] until the lease is over.
//
// One rule: no input from a peer is trusted. Every frame has a size limit before it is read, a deadline for its last
// byte, and a place in the order of messages. An order must be signed by the peer that sends it, a Receipt by the
// peer that was asked, and every block must hash to its CID and belong to the result.
//
// The package makes no decisions: the scheduler decides what to bid and which peer gets the award, and the node runs
// the job. docs/protocol.md specifies the bytes.
package market

import (
	"cmp"
	"fmt"
	"log/slog"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
)

// Protocol is the name of the stream protocol.
const Protocol protocol.ID = "/liftoff/market/1"

// Limits of messages.
const (
	MaxControl = 64 << 10         // bytes of a frame, except chunks
	MaxChunk   = 4 << 20          // bytes of a chunk: a Task, or a piece of a CAR
	MaxLog     = MaxControl - 128 // bytes of one Log
	MaxTask    = dag.MaxBlock     // bytes of a Task: it must fit a block
	MaxSources = 8                // peers named in an Award
	maxAddrs   = 8                // addresses per peer
	maxText    = 512              // bytes of a text for people
	maxWord    = 64               // bytes of a code or the name of a phase
	carChunk   = 256 << 10        // bytes of a CAR chunk that this side sends
)

// Config has the timeouts of the protocol; zero fields are the defaults. Tests shorten them; the two peers may use
// different ones.
type Config struct {
	HeartbeatInterval time.Duration // between two heartbeats: 2 s
	Silence           time.Duration // without any frame, before the other end counts as lost: 7 s
	Frame             time.Duration // to send or receive one frame: 10 s
	Reply             time.Duration // for a Bid, for an answer to an Award or an Attach: 5 s
	Hold              time.Duration // that a provider waits for an Award after its Bid: 60 s
	Log               time.Duration // that output is collected before it is sent: 50 ms

	Conversations int // at a provider, at once: 1,024
	PerPeer       int // with one peer: 128
	// NonMember reports whether a peer may not use the last quarter of the conversations. nil: every peer may.
	NonMember func(peer.ID) bool

	Logger *slog.Logger // nil: no logs
}

func (c Config) orDefault() Config {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&c.HeartbeatInterval, 2*time.Second)
	set(&c.Silence, 7*time.Second)
	set(&c.Frame, 10*time.Second)
	set(&c.Reply, 5*time.Second)
	set(&c.Hold, time.Minute)
	set(&c.Log, 50*time.Millisecond)
	if c.Conversations == 0 {
		c.Conversations = 1024
	}
	if c.PerPeer == 0 {
		c.PerPeer = 128
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Lease names one award. A requester attaches with the order and the lease.
type Lease [16]byte

// Why is the reason for which a conversation ended.
type Why string

// The reasons. A requester sends the first three. Gone is the provider's own: the stream broke, or nothing arrived on
// it.
const (
	OK        Why = "ok"        // the requester has the result
	Lost      Why = "lost"      // another peer got the job
	Cancelled Why = "cancelled" // the job is not wanted any more
	Gone      Why = "gone"
)

// FailedError is a provider's message that it has no Outcome: it refuses, does not know the lease, or its machine
// failed. It is not a protocol error.
type FailedError struct {
	Code  string // a job.Refuse constant, or the scheduler's code for the failure
	Why   string // a text for people
	Final bool   // the job would fail at any other peer, too
}

func (e *FailedError) Error() string {
	return fmt.Sprintf("%s (%s)", cmp.Or(e.Why, "failed without a reason"), e.Code)
}

// DeclinedError is a provider's answer to an Award for which it makes no reservation.
type DeclinedError struct {
	Why   string
	Queue time.Duration // its new queue, if it only became busier; 0: it does not want the job
}

func (e *DeclinedError) Error() string { return "award declined: " + cmp.Or(e.Why, "no reason given") }

// ProtocolError reports that a peer broke a rule of the protocol.
type ProtocolError struct {
	Peer peer.ID
	Err  error
}

func (e *ProtocolError) Error() string { return fmt.Sprintf("peer %s: %v", e.Peer, e.Err) }
func (e *ProtocolError) Unwrap() error { return e.Err }

// TimeoutError reports that nothing arrived from a peer within its timeout.
type TimeoutError struct {
	Peer peer.ID
	For  time.Duration
}

func (e *TimeoutError) Error() string {
	return fmt.Sprintf("peer %s: sent no message for %s", e.Peer, e.For)
}
