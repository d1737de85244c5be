package market

import (
	"crypto/rand"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/x/simlibp2p"
	"github.com/marcopolo/simnet"
)

// These tests run two libp2p hosts over a simulated network with a simulated clock: seconds there take milliseconds
// of real time, with the same result each time.

// rtt is the round-trip time between the two.
const rtt = 100 * time.Millisecond

// newFarPair returns a pair whose nodes are rtt apart, on links of some bits a second, and a function that cuts the
// link. It must be called in a synctest bubble.
func newFarPair(t *testing.T, bits int) (p pair, cut func()) {
	t.Helper()
	var isCut atomic.Bool
	var net simnet.Simnet
	net.LatencyFunc = func(*simnet.Packet) time.Duration {
		if isCut.Load() {
			return 24 * time.Hour // never, in this network
		}
		return rtt / 2
	}
	net.Start()
	t.Cleanup(net.Close)
	link := simnet.LinkSettings{BitsPerSecond: bits}
	at := func(i int) node {
		return nodeWith(t, simlibp2p.QUICSimnet(&net, simnet.NodeBiDiLinkSettings{Downlink: link, Uplink: link}),
			libp2p.ListenAddrStrings(fmt.Sprintf("/ip4/1.2.3.%d/udp/4017/quic-v1", i)),
			libp2p.DisableIdentifyAddressDiscovery(), // it would keep timers running
			libp2p.ResourceManager(&network.NullResourceManager{}))
	}
	p = connected(t, at(1), at(2), Config{})
	time.Sleep(time.Second) // until each has identified the other
	return p, func() { isCut.Store(true) }
}

// TestRoundTrips counts round trips: a bid takes one, also as the first message, and an award takes one.
func TestRoundTrips(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := newFarPair(t, 100e6)
		w := newWork(t, []byte("output"))
		for range 2 {
			began := time.Now()
			c, _, err := p.client.Ask(t.Context(), p.provider.ID(), w.ask(t, p.requester))
			if err != nil {
				t.Fatal(err)
			}
			asked := time.Since(began)
			began = time.Now()
			if _, err := c.Award(t.Context(), w.award(t, p.requester, p.provider.did)); err != nil {
				t.Fatal(err)
			}
			awarded := time.Since(began)
			t.Logf("bid after %v, accept after %v", asked, awarded)
			if asked < rtt || asked > rtt+rtt/4 || awarded < rtt || awarded > rtt+rtt/4 {
				t.Errorf("bid after %v, accept after %v, want one round trip of %v each", asked, awarded, rtt)
			}
			c.Close("ok")
		}
	})
}

// TestCut cuts the link during a run, without a close: each side ends after 7 s without a message, and at most one
// heartbeat earlier.
func TestCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, cut := newFarPair(t, 100e6)
		w := newWork(t, nil)
		c, _, err := p.client.Ask(t.Context(), p.provider.ID(), w.ask(t, p.requester))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Award(t.Context(), w.award(t, p.requester, p.provider.did)); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() {
			for {
				if _, err := c.Next(t.Context()); err != nil {
					ended <- err
					return
				}
			}
		}()
		time.Sleep(time.Minute) // only heartbeats are sent
		select {
		case err := <-ended:
			t.Fatalf("ended before the cut: %v", err)
		default:
		}
		cut()
		began := time.Now()
		var failed *FailedError
		if err := <-ended; err == nil || errors.As(err, &failed) {
			t.Errorf("ended with %v", err)
		}
		requester := time.Since(began)
		<-p.seller.away
		provider := time.Since(began)
		for side, after := range map[string]time.Duration{"requester": requester, "provider": provider} {
			if after < 5*time.Second || after > 7*time.Second+rtt {
				t.Errorf("%s: detected the cut after %v", side, after)
			}
		}
		t.Logf("detected the cut after %v and %v", requester, provider)
	})
}

// TestResultFillsTheLink sends an output of 4 MiB over 20 Mbit/s: it takes the time of the link plus some round
// trips; no block waits for the acknowledgement of another.
func TestResultFillsTheLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size, bits = 4 << 20, 20e6
		p, _ := newFarPair(t, bits)
		output := make([]byte, size)
		rand.Read(output)
		w := newWork(t, output)
		p.seller.started = func(run *Run, _ Request, a Awarded) { w.finish(run, p.provider.key, a) }
		c, _, err := p.client.Ask(t.Context(), p.provider.ID(), w.ask(t, p.requester))
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if _, err := c.Award(t.Context(), w.award(t, p.requester, p.provider.did)); err != nil {
			t.Fatal(err)
		}
		_, _, _, done := converse(t, c)
		got := 0
		for b, err := range c.Blocks(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			got += len(b.Data())
		}
		took, least := time.Since(began), time.Duration(size*8*int64(time.Second)/bits)
		t.Logf("%d bytes in %v, the link needs %v", got, took, least)
		if got < size || done.Outcome.Size != size || took > 2*least {
			t.Errorf("%d bytes in %v, the link needs %v", got, took, least)
		}
		c.Close("ok")
	})
}
