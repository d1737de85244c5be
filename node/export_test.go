package node

// Cut closes every connection of the node that a session owns, as a broken network does.
func Cut(s *Session) {
	for _, c := range s.node.net.Load().peer.Libp2p().Network().Conns() {
		c.Close()
	}
}
