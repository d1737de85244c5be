package host_test

import (
	"testing"

	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/ipfs-liftoff/liftoff/host"
	"github.com/ipfs-liftoff/liftoff/host/exchange"
	"github.com/ipfs-liftoff/liftoff/host/market"
)

// TestEveryProtocolIsLimited compares the table of limits with the packages that define the protocols.
func TestEveryProtocolIsLimited(t *testing.T) {
	for _, id := range []protocol.ID{market.Protocol, exchange.Protocol} {
		if !host.Limited(id) {
			t.Errorf("protocol %s has no stream limits", id)
		}
	}
}
