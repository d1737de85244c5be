package host

import "github.com/libp2p/go-libp2p/core/protocol"

// Limited reports whether a protocol has its own stream limits.
func Limited(id protocol.ID) bool {
	for _, l := range streamLimits {
		if l.id == id {
			return true
		}
	}
	return false
}
