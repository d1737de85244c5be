// Package market is what two peers say to each other about one job: the requester asks,
// the provider bids, is awarded, accepts, shows signs of life and what the guest prints,
// and ends with a Receipt, an Outcome and the blocks of the result.
//
// All of it goes over one libp2p stream for each peer that is asked, opened by the
// requester, so it works from behind a NAT. A stream that breaks does not end the run:
// who asked may [Client.Attach] again until the lease is over.
//
// One rule: nothing that a peer sends is believed. Every frame has a size limit before
// it is read, a deadline until which it must be whole, and a place in the order; a Job
// must be signed by the peer that brings it, a Receipt by the peer that was asked, and
// every block must hash to its name and belong to the result.
//
// It decides nothing: what to bid and to whom to award is the scheduler's, running is
// the node's. docs/protocol.md has the bytes.
package market

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
)

// Protocol is the stream protocol's name.
const Protocol protocol.ID = "/liftoff/market/1"

// Bounds of what is sent.
const (
	MaxControl = 64 << 10         // bytes of a frame, but for chunks
	MaxChunk   = 4 << 20          // bytes of a chunk: a Task, or a piece of a CAR
	MaxLog     = MaxControl - 128 // bytes that one Log carries
	MaxTask    = dag.MaxBlock     // bytes of a Task: it must fit a block
	MaxSources = 8                // peers named in an Award
	maxAddrs   = 8                // addresses of one of them
	maxText    = 512              // bytes of a sentence for people
	maxWord    = 64               // bytes of a code or the name of a phase
	carChunk   = 256 << 10        // bytes of a chunk of a CAR that we send
)

// Config has the times of the protocol; zero fields are the defaults. Tests shorten
// them; two peers need not agree.
type Config struct {
	HeartbeatInterval time.Duration // between two signs of life: 2 s
	Silence           time.Duration // without any frame, before the other end counts as gone: 7 s
	Frame             time.Duration // to send or receive one frame: 10 s
	Reply             time.Duration // for a Bid, for an answer to an Award or an Attach: 5 s
	Hold              time.Duration // that a provider waits for an Award after its Bid: 60 s
	Log               time.Duration // that output is collected before it is sent: 50 ms

	Conversations int // that a provider has at once: 1,024
	PerPeer       int // of them with one peer: 128
	// Guest says who leaves a quarter of the conversations to others. nil: nobody.
	Unknown func(peer.ID) bool

	Logger *slog.Logger // nil: silent
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

// Lease names one award. Job and Lease together are what a requester attaches by.
type Lease [16]byte

// Why says how a conversation ended.
type Why string

// How a conversation ends. The first three are what a requester says; Gone is what a
// provider finds out: the stream broke, or nothing was heard on it.
const (
	OK        Why = "ok"        // the result is there
	Lost      Why = "lost"      // another peer got the job
	Cancelled Why = "cancelled" // nobody wants it any more
	Gone      Why = "gone"
)

// FailedError is a provider's word that there is no Outcome: it refuses, does not know
// the lease, or its machine failed. It is no fault of the protocol.
type FailedError struct {
	Code  string // a job.Refuse constant, or the scheduler's word for the failure
	Why   string // a sentence for people
	Final bool   // no other peer would do better
}

func (e *FailedError) Error() string { return fmt.Sprintf("%s (%s)", e.Why, e.Code) }

// DeclinedError is the answer to an Award that makes no reservation.
type DeclinedError struct {
	Why   string
	Queue time.Duration // it only got busier: its new queue; 0: it does not want the job
}

func (e *DeclinedError) Error() string { return "declined: " + e.Why }

// ProtocolError says that a peer broke the rules of the protocol.
type ProtocolError struct {
	Peer peer.ID
	Err  error
}

func (e *ProtocolError) Error() string { return fmt.Sprintf("peer %s: %v", e.Peer, e.Err) }
func (e *ProtocolError) Unwrap() error { return e.Err }

// SilentError says that nothing was heard from a peer for longer than it may be silent.
type TimeoutError struct {
	Peer peer.ID
	For  time.Duration
}

func (e *TimeoutError) Error() string { return fmt.Sprintf("peer %s: silent for %s", e.Peer, e.For) }
