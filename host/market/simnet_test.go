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

// These tests run two whole hosts over a network in this process, on a clock of its own:
// what takes seconds there takes milliseconds here, and the same each time.

// rtt is the round trip between the two.
const rtt = 100 * time.Millisecond

// far makes a pair whose nodes are rtt apart, on links of some bits a second, and what
// cuts them off from one another. It is called in a bubble of synctest.
func far(t *testing.T, bits int) (p pair, cut func()) {
	t.Helper()
	var isCut atomic.Bool
	var net simnet.Simnet
	net.LatencyFunc = func(*simnet.Packet) time.Duration {
		if isCut.Load() {
			return 24 * time.Hour // for this network that is never
		}
		return rtt / 2
	}
	net.Start()
	t.Cleanup(net.Close)
	link := simnet.LinkSettings{BitsPerSecond: bits}
	at := func(i int) node {
		return nodeWith(t, simlibp2p.QUICSimnet(&net, simnet.NodeBiDiLinkSettings{Downlink: link, Uplink: link}),
			libp2p.ListenAddrStrings(fmt.Sprintf("/ip4/1.2.3.%d/udp/4017/quic-v1", i)),
			libp2p.DisableIdentifyAddressDiscovery(), // it never rests
			libp2p.ResourceManager(&network.NullResourceManager{}))
	}
	p = connected(t, at(1), at(2), Config{})
	time.Sleep(time.Second) // until they know one another's protocols
	return p, func() { isCut.Store(true) }
}

// TestRoundTrips counts what the distance costs: a bid takes one round trip, be it the
// first, and an award one.
func TestRoundTrips(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := far(t, 100e6)
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
				t.Errorf("bid after %v, accept after %v, want one round trip of %v for each", asked, awarded, rtt)
			}
			c.Close("ok")
		}
	})
}

// TestCut cuts the two off in mid-run, with nothing said: each misses the other when it
// was silent for 7 s, and no sooner than a beat before.
func TestCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, cut := far(t, 100e6)
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
		time.Sleep(time.Minute) // beats keep it alive, though nothing else is said
		select {
		case err := <-ended:
			t.Fatalf("it ended while all was well: %v", err)
		default:
		}
		cut()
		began := time.Now()
		var failed *FailedError
		if err := <-ended; err == nil || errors.As(err, &failed) {
			t.Errorf("it ended with %v", err)
		}
		requester := time.Since(began)
		<-p.seller.away
		provider := time.Since(began)
		for who, after := range map[string]time.Duration{"requester": requester, "provider": provider} {
			if after < 5*time.Second || after > 7*time.Second+rtt {
				t.Errorf("the %s missed the other after %v", who, after)
			}
		}
		t.Logf("missed after %v and %v", requester, provider)
	})
}

// TestResultFillsTheLink sends an output of 4 MiB over 20 Mbit/s: that takes what the link
// needs for it, and some round trips; no block waits for an answer about the one before.
func TestResultFillsTheLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size, bits = 4 << 20, 20e6
		p, _ := far(t, bits)
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
		t.Logf("%d bytes in %v, the link alone needs %v", got, took, least)
		if got < size || done.Outcome.Size != size || took > 2*least {
			t.Errorf("%d bytes in %v, the link alone needs %v", got, took, least)
		}
		c.Close("ok")
	})
}
