package exchange

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/ipfs/boxo/bitswap"
	"github.com/ipfs/boxo/bitswap/network/bsnet"
	"github.com/ipfs/boxo/blockstore"
	boxo "github.com/ipfs/boxo/exchange"
	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	format "github.com/ipfs/go-ipld-format"
	p2phost "github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	_ "github.com/multiformats/go-multihash/register/blake2" // bitswap verifies received blocks with the registered hashes
	_ "github.com/multiformats/go-multihash/register/blake3"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
)

// Limits of bitswap.
const (
	bitswapOutstanding = 16 << 20 // bytes in flight to one peer
	bitswapQueue       = 4096     // stored wants of one peer
	bitswapPending     = 64       // wants of this node at one peer
)

// bitswapNode is boxo's bitswap: without provider announcements, without a DHT, and with Access as its request
// filter.
type bitswapNode struct {
	host p2phost.Host
	node *bitswap.Bitswap
}

func startBitswap(ctx context.Context, h p2phost.Host, cfg Config) *bitswapNode {
	net := wantFilter{bsnet.NewFromIpfsHost(h), cfg.Access}
	bs := blockView{cfg.Blocks}
	return &bitswapNode{h, bitswap.New(ctx, net, nil, bs,
		bitswap.MaxOutstandingBytesPerPeer(bitswapOutstanding),
		bitswap.MaxQueuedWantlistEntriesPerPeer(bitswapQueue),
		bitswap.MaxCidSize(160),
		bitswap.WithPeerBlockRequestFilter(func(p peer.ID, c cid.Cid) bool { return cfg.Access.Allowed(ctx, p, c) }),
		bitswap.WithoutDuplicatedBlockStats(),
	)}
}

func (b *bitswapNode) close() error { return b.node.Close() }

// bitswap serves a link over bitswap: its peer is connected and does not support the liftoff protocol. Bitswap sends
// a want to every connected peer that supports it and may be asked.
func (l *link) bitswap() error {
	x := l.s.x
	if x.host.Network().Connectedness(l.src.info.ID) != network.Connected {
		return errors.New("bitswap: peer is not connected")
	}
	session := x.bitswap.node.NewSession(l.ctx)
	var fetching sync.WaitGroup
	defer fetching.Wait()
	room := make(chan struct{}, bitswapPending)
	for {
		l.takeQueued()
		for w := l.takeWaiting(); w != nil; w = l.takeWaiting() {
			select {
			case room <- struct{}{}:
			case <-l.ctx.Done():
				l.drop(w, "block session is closed")
				return context.Cause(l.ctx)
			}
			fetching.Go(func() {
				defer func() { <-room }()
				l.fetch(session, w)
			})
		}
		select {
		case <-l.wake:
		case <-l.ctx.Done():
			return context.Cause(l.ctx)
		}
	}
}

// fetch gets one block over bitswap. Bitswap does not report that no peer has it: fetch ends after Config.Wait.
func (l *link) fetch(session boxo.Fetcher, w *want) {
	ctx, cancel := context.WithTimeout(l.ctx, l.s.x.cfg.Wait)
	defer cancel()
	b, err := session.GetBlock(ctx, w.cid)
	if err != nil {
		l.drop(w, fmt.Sprintf("bitswap: %v", err))
		return
	}
	l.check(w, b.RawData())
}

// blockView adapts a dag.Blocks to bitswap. It is read-only: the session that requested a block puts it.
type blockView struct{ bs dag.Blocks }

var _ blockstore.Blockstore = blockView{}

var errReadOnly = errors.New("blockstore for bitswap is read-only")

func (v blockView) Has(ctx context.Context, c cid.Cid) (bool, error) { return v.bs.Has(ctx, c) }

func (v blockView) Get(ctx context.Context, c cid.Cid) (blocks.Block, error) {
	b, err := v.bs.Get(ctx, c)
	if err != nil {
		return nil, asNotFound(err)
	}
	return blocks.NewBlockWithCid(b.Data(), c)
}

func (v blockView) GetSize(ctx context.Context, c cid.Cid) (int, error) {
	if z, ok := v.bs.(dag.Sizer); ok {
		n, err := z.Size(ctx, c)
		return int(n), asNotFound(err)
	}
	b, err := v.bs.Get(ctx, c)
	return len(b.Data()), asNotFound(err)
}

func asNotFound(err error) error {
	var missing *dag.NotFoundError
	if errors.As(err, &missing) {
		return format.ErrNotFound{Cid: missing.CID}
	}
	return err
}

func (blockView) Put(context.Context, blocks.Block) error             { return errReadOnly }
func (blockView) PutMany(context.Context, []blocks.Block) error       { return errReadOnly }
func (blockView) DeleteBlock(context.Context, cid.Cid) error          { return errReadOnly }
func (blockView) AllKeysChan(context.Context) (<-chan cid.Cid, error) { return nil, errReadOnly }
