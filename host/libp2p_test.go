package host

import (
	"errors"
	"syscall"
	"testing"

	"github.com/libp2p/go-libp2p"
	ma "github.com/multiformats/go-multiaddr"
)

// TestVacant checks that a port on which a libp2p host listens is not vacant, although libp2p would share it.
func TestVacant(t *testing.T) {
	h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"), libp2p.DisableRelay())
	if err != nil {
		t.Fatal(err)
	}
	addr := h.Network().ListenAddresses()[0]
	if err := checkPortFree(addr); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("while another listens: %v", err)
	}
	h.Close()
	for _, a := range []ma.Multiaddr{addr, ma.StringCast("/ip4/127.0.0.1/tcp/0"), ma.StringCast("/ip4/127.0.0.1/udp/1/quic-v1")} {
		if err := checkPortFree(a); err != nil {
			t.Errorf("%s: %v", a, err)
		}
	}
}
