package node

// VisitTime is how long a visit waits for peers that may still come.
const VisitTime = visitTime

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
