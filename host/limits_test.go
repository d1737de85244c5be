package host_test

import (
	"testing"

	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/ipfs-liftoff/liftoff/host"
	"github.com/ipfs-liftoff/liftoff/host/exchange"
	"github.com/ipfs-liftoff/liftoff/host/market"
)

// TestEveryProtocolIsLimited holds the table of limits and the packages that speak the
// protocols together.
func TestEveryProtocolIsLimited(t *testing.T) {
	for _, id := range []protocol.ID{market.Protocol, exchange.Protocol} {
		if !host.Limited(id) {
			t.Errorf("%s has no limits of its own", id)
		}
	}
}
