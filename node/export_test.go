package node

import (
	"context"

	"github.com/libp2p/go-libp2p/core/peer"
)

// ConnectTime is how long an ephemeral peer waits until it is connected.
const ConnectTime = connectTime

// Cut closes every connection of the node that a session owns, like a network failure.
func Cut(s *Session) {
	for _, c := range s.node.net.Load().peer.Libp2p().Network().Conns() {
		c.Close()
	}
}

// Conns returns the number of connections of the node that a session owns.
func Conns(s *Session) int {
	return len(s.node.net.Load().peer.Libp2p().Network().Conns())
}

// Dial dials a peer from the node that a session owns, as an address received from the network would.
func Dial(ctx context.Context, s *Session, p peer.AddrInfo) error {
	return s.node.net.Load().peer.Libp2p().Connect(ctx, p)
}
