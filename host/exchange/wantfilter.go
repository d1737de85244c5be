package exchange

import (
	"context"

	"github.com/ipfs/boxo/bitswap/message"
	bitswapnet "github.com/ipfs/boxo/bitswap/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/ipfs-liftoff/liftoff/host"
)

// wantFilter is a bitswap network that removes the wants from messages to a peer that may not be asked. Bitswap itself
// sends its wants to every connected peer that supports it, also to those that may only fetch.
type wantFilter struct {
	bitswapnet.BitSwapNetwork
	access *Access
}

func (n wantFilter) SendMessage(ctx context.Context, p peer.ID, m message.BitSwapMessage) error {
	if m = n.filter(p, m); m.Empty() {
		return nil
	}
	return n.BitSwapNetwork.SendMessage(ctx, p, m)
}

func (n wantFilter) NewMessageSender(ctx context.Context, p peer.ID, opts *bitswapnet.MessageSenderOpts) (bitswapnet.MessageSender, error) {
	s, err := n.BitSwapNetwork.NewMessageSender(ctx, p, opts)
	if err != nil {
		return nil, err
	}
	return wantFilterSender{s, n, p}, nil
}

// filter returns the part of m that p may see. It does not change m, which the caller still uses.
func (n wantFilter) filter(p peer.ID, m message.BitSwapMessage) message.BitSwapMessage {
	if n.access.allows(p, host.BeAsked) {
		return m
	}
	c := message.New(false)
	for _, b := range m.Blocks() {
		c.AddBlock(b)
	}
	for _, h := range m.BlockPresences() {
		c.AddBlockPresence(h.Cid, h.Type)
	}
	c.SetPendingBytes(m.PendingBytes())
	return c
}

// wantFilterSender does the same for a series of messages to one peer.
type wantFilterSender struct {
	bitswapnet.MessageSender
	net wantFilter
	to  peer.ID
}

func (s wantFilterSender) SendMsg(ctx context.Context, m message.BitSwapMessage) error {
	if m = s.net.filter(s.to, m); m.Empty() {
		return nil
	}
	return s.MessageSender.SendMsg(ctx, m)
}
