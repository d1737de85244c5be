package market

import (
	"crypto/rand"
	"testing"
	"time"
)

// BenchmarkAward measures a job from the Ask to the Accept, on loopback: two round trips on a new stream.
func BenchmarkAward(b *testing.B) {
	p := newPair(b, Config{HeartbeatInterval: time.Hour})
	w := newWork(b, nil)
	go func() {
		for range p.seller.closed {
		}
	}()
	for b.Loop() {
		c, _, err := p.client.Ask(b.Context(), p.provider.ID(), w.ask(b, p.requester))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := c.Award(b.Context(), w.award(b, p.requester, p.provider.did)); err != nil {
			b.Fatal(err)
		}
		c.Close(Cancelled)
	}
	p.server.Close()
	close(p.seller.closed)
}

// BenchmarkResult measures a whole job with a result of 16 MiB, on loopback.
func BenchmarkResult(b *testing.B) {
	const size = 16 << 20
	p := newPair(b, Config{})
	output := make([]byte, size)
	rand.Read(output)
	w := newWork(b, output)
	p.seller.started = func(run *Run, _ Request, a Awarded) { w.finish(run, p.provider.key, a) }
	b.SetBytes(size)
	for b.Loop() {
		c, _, err := p.client.Ask(b.Context(), p.provider.ID(), w.ask(b, p.requester))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := c.Award(b.Context(), w.award(b, p.requester, p.provider.did)); err != nil {
			b.Fatal(err)
		}
		for c.done == nil {
			if _, err := c.Next(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
		for _, err := range c.Blocks(b.Context()) {
			if err != nil {
				b.Fatal(err)
			}
		}
		c.Close(OK)
		<-p.seller.closed
	}
}
