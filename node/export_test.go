package node

import (
	"context"

	"github.com/libp2p/go-libp2p/core/peer"
)

// VisitTime is how long a visit waits for peers that may still come.
const ConnectTime = connectTime

// Cut closes every connection of the node that a session owns, as a broken network does.
func Cut(s *Session) {
	for _, c := range s.node.net.Load().peer.Libp2p().Network().Conns() {
		c.Close()
	}
}

// Conns returns how many connections the node that a session owns has.
func Conns(s *Session) int {
	return len(s.node.net.Load().peer.Libp2p().Network().Conns())
}

// Dial dials a peer from the node that a session owns, as what came from the network would
// have it do.
func Dial(ctx context.Context, s *Session, p peer.AddrInfo) error {
	return s.node.net.Load().peer.Libp2p().Connect(ctx, p)
}
