// Package exchange moves blocks between peers: it fetches what a job touches and is not
// here, and serves what others may have.
//
// Between two peers of ours it speaks a protocol of its own, in which a peer asks for
// many blocks and gets them back in that order as fast as they are read: nothing is
// announced, nothing can come that was not asked for, and a long link stays full. With
// other IPFS nodes it speaks bitswap, with the peers that the owner has listed.
//
// Three rules. A block is hashed before it is read or kept. A peer gets
// only what [Access] allows: an unknown one gets nothing, not even the word whether a block
// is here. And only a peer that may be asked is: a want tells it a CID.
//
// It announces nothing, looks for providers nowhere, and asks only the sources that it
// was told of. docs/protocol.md has the bytes.
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

// Protocol is the stream protocol's name.
const Protocol protocol.ID = "/liftoff/blocks/1"

// Config says how blocks are exchanged. Its zero fields are the defaults.
type Config struct {
	Blocks  dag.Blocks // what is served
	Access  *Access    // which peer gets what of it, and is asked for the rest; nil: no peer
	Bitswap bool       // serve and fetch over bitswap, too

	Window int64         // bytes asked for in advance of each source: 16 MiB
	Stall  time.Duration // that a source may be silent with blocks asked for: 5 s
	Frame  time.Duration // to send or receive one block: 30 s
	Idle   time.Duration // before an unused stream is closed: 60 s
	Dial   time.Duration // to reach a source: 5 s
	Wait   time.Duration // that one block over bitswap may take: 15 s

	Streams int // that are served at once: 128
	PerPeer int // of them to one peer: 16
	Ahead   int // blocks that are read before they can be sent, a quarter of them for one peer: 64

	Logger *slog.Logger // nil: silent
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

// Exchange is a peer's exchange of blocks. Its methods may be called from several
// goroutines.
type Exchange struct {
	host p2phost.Host
	cfg  Config
	ctx  context.Context // of everything that is served, until Close
	stop context.CancelCauseFunc

	bitswap *bitswapNode // nil: not spoken

	gate  *gate.Gate // the streams that are served
	ahead *gate.Gate // the blocks that are read before they can be sent
	sent  counter
}

// Sent is what was served to other peers over the own protocol.
type Sent struct {
	Blocks, Bytes int64
	Refused       int64 // blocks that were asked for and not allowed
}

var errClosed = errors.New("the exchange is closed")

// New serves blocks on h. The caller closes the Exchange before h.
func New(h p2phost.Host, cfg Config) (*Exchange, error) {
	if cfg.Blocks == nil {
		return nil, errors.New("exchange: no blocks")
	}
	x := &Exchange{host: h, cfg: cfg.orDefault()}
	x.ctx, x.stop = context.WithCancelCause(context.Background())
	guest := func(p peer.ID) bool { return !cfg.Access.allows(p, host.FullLimits) }
	x.gate = gate.New(gate.Config{Total: x.cfg.Streams, PerPeer: x.cfg.PerPeer, Unknown: guest})
	x.ahead = gate.New(gate.Config{Total: x.cfg.Ahead, PerPeer: max(x.cfg.Ahead/4, 1), Unknown: guest})
	if cfg.Bitswap {
		x.bitswap = startBitswap(x.ctx, h, x.cfg)
	}
	h.SetStreamHandler(Protocol, x.serve)
	return x, nil
}

// Close ends what is served and fetched, and waits for it. Sessions are closed before.
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

// Sent returns what was served so far.
func (x *Exchange) Sent() Sent { return x.sent.read() }
