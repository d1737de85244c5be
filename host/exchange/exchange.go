// Package exchange moves blocks between peers: it fetches the blocks of a job that are not local, and serves blocks
// to peers that may have them.
//
// Between two liftoff nodes it uses its own protocol. A peer requests many blocks and gets them in that order as fast
// as they are read: nothing is announced, unrequested blocks cannot arrive, and a link with high latency stays full.
// With other IPFS nodes that the owner has listed it uses bitswap.
//
// Three rules. A block is hashed before it is read or stored. A peer gets only what [Access] allows: an unknown peer
// gets no block, and does not learn whether a block is here. Only a peer that may be asked is asked: a want reveals a
// CID.
//
// The package announces nothing, searches for no providers, and asks only the sources that it is given.
// docs/protocol.md specifies the bytes.
package exchange

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	p2phost "github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/ipfs-liftoff/liftoff/host"
	"github.com/ipfs-liftoff/liftoff/host/gate"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
)

// Protocol is the name of the stream protocol.
const Protocol protocol.ID = "/liftoff/blocks/1"

// Config configures an Exchange. Its zero fields are the defaults.
type Config struct {
	Blocks  dag.Blocks // the blocks to serve
	Access  *Access    // which peer may have which blocks, and may be asked for blocks; nil: none
	Bitswap bool       // serve and fetch over bitswap, too

	Window int64         // bytes requested in advance from each source: 16 MiB
	Stall  time.Duration // without an answer, while blocks are requested: 5 s
	Frame  time.Duration // to send or receive one block: 30 s
	Idle   time.Duration // before an unused stream is closed: 60 s
	Dial   time.Duration // to connect to a source: 5 s
	Wait   time.Duration // for one block over bitswap: 15 s

	Streams int // served at once: 128
	PerPeer int // served at once to one peer: 16
	Ahead   int // blocks read before they can be sent, at most a quarter of them for one peer: 64

	Logger *slog.Logger // nil: no logs
}

func (c Config) orDefault() Config {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&c.Stall, 5*time.Second)
	set(&c.Frame, 30*time.Second)
	set(&c.Idle, time.Minute)
	set(&c.Dial, 5*time.Second)
	set(&c.Wait, 15*time.Second)
	count := func(n *int, v int) {
		if *n == 0 {
			*n = v
		}
	}
	count(&c.Streams, 128)
	count(&c.PerPeer, 16)
	count(&c.Ahead, 64)
	if c.Window == 0 {
		c.Window = 16 << 20
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Exchange fetches and serves blocks on a host. Its methods may be called concurrently.
type Exchange struct {
	host p2phost.Host
	cfg  Config
	ctx  context.Context // of all served streams, until Close
	stop context.CancelCauseFunc

	bitswap *bitswapNode // nil: bitswap is off

	gate  *gate.Gate // counts the served streams
	ahead *gate.Gate // counts the blocks that are read before they can be sent
	sent  counter
}

// Sent counts what was served to other peers over the liftoff protocol.
type Sent struct {
	Blocks, Bytes int64
	Refused       int64 // requested blocks that were not allowed
}

var errClosed = errors.New("block exchange is closed")

// New serves blocks on h. The caller closes the Exchange before h.
func New(h p2phost.Host, cfg Config) (*Exchange, error) {
	if cfg.Blocks == nil {
		return nil, errors.New("block exchange: no block store in its Config")
	}
	x := &Exchange{host: h, cfg: cfg.orDefault()}
	x.ctx, x.stop = context.WithCancelCause(context.Background())
	nonMember := func(p peer.ID) bool { return !cfg.Access.allows(p, host.FullLimits) }
	x.gate = gate.New(gate.Config{Total: x.cfg.Streams, PerPeer: x.cfg.PerPeer, NonMember: nonMember})
	x.ahead = gate.New(gate.Config{Total: x.cfg.Ahead, PerPeer: max(x.cfg.Ahead/4, 1), NonMember: nonMember})
	if cfg.Bitswap {
		x.bitswap = startBitswap(x.ctx, h, x.cfg)
	}
	h.SetStreamHandler(Protocol, x.serve)
	return x, nil
}

// Close ends all streams and waits for them. Sessions must be closed before.
func (x *Exchange) Close() error {
	x.host.RemoveStreamHandler(Protocol)
	x.gate.Close()
	x.stop(errClosed)
	x.gate.Wait()
	if x.bitswap == nil {
		return nil
	}
	if err := x.bitswap.close(); err != nil {
		return fmt.Errorf("close bitswap: %w", err)
	}
	return nil
}

// Sent returns the counts since New.
func (x *Exchange) Sent() Sent { return x.sent.read() }
