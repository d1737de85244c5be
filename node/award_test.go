package node

import (
	"context"
	"encoding/json"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/ipfs-liftoff/liftoff/host/market"
	"github.com/ipfs-liftoff/liftoff/host/store"
)

// A requester that wants its result kept for no time at all does not take it away from
// under the work that makes it.
func TestRetireWaitsForTheWork(t *testing.T) {
	s := openStore(t)
	synctest.Test(t, func(t *testing.T) {
		p := newProvider(&network{node: &Node{store: s}})
		x := &award{p: p, kept: make(chan struct{})}
		x.ctx, x.cancel = context.WithCancelCause(context.Background())
		p.awards[x.lease] = x
		x.retire(time.Nanosecond)
		time.Sleep(time.Second)
		synctest.Wait()
		if len(p.all()) != 1 || x.ctx.Err() != nil {
			t.Error("it is discarded while it is worked on")
		}
		close(x.kept)
		synctest.Wait()
		if len(p.all()) != 0 || x.ctx.Err() == nil {
			t.Error("it is not discarded")
		}
	})
}

// However many results a requester leaves waiting, a bounded number does; and no shutdown
// ends before what is let go is.
func TestResultsThatWaitAreBounded(t *testing.T) {
	s := openStore(t)
	synctest.Test(t, func(t *testing.T) {
		p := newProvider(&network{node: &Node{store: s, clock: time.Now}})
		add := func(n int, from peer.ID) *award {
			x := &award{p: p, from: from, lease: market.Lease{byte(n), byte(n >> 8), from[1]}, kept: make(chan struct{}), away: make(chan struct{})}
			x.ctx, x.cancel = context.WithCancelCause(context.Background())
			if !p.enter(x) {
				t.Fatalf("award %d is not entered", n)
			}
			time.Sleep(time.Second)
			x.end()
			return x
		}
		other := add(0, "other")
		close(other.kept)
		first := add(0, "one")
		for n := range maxWaiting {
			if n > 0 {
				close(add(n, "one").kept)
			}
		}
		if n := len(p.all()); n != maxWaiting+1 {
			t.Errorf("%d are known", n)
		}
		close(add(maxWaiting, "one").kept)
		closed := false
		go func() {
			p.close()
			closed = true
		}()
		synctest.Wait()
		if closed || first.ctx.Err() != nil {
			t.Error("the first is let go while it is worked on")
		}
		close(first.kept)
		synctest.Wait()
		if !closed || p.awards[first.lease] != nil || len(p.all()) != maxWaiting+1 || p.awards[other.lease] == nil {
			t.Errorf("closed %v, %d are known", closed, len(p.all()))
		}
	})
}

// The record of a result that has no pin any more, since the process was killed between
// the two, goes too.
func TestUnretainWithoutPin(t *testing.T) {
	s := openStore(t)
	n := &Node{store: s, clock: time.Now, log: slog.New(slog.DiscardHandler)}
	name := leaseRecord(market.Lease{1})
	old, err := json.Marshal(retained{Expires: time.Now().Add(-time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(t.Context(), store.Batch{Records: []store.Record{{Name: name, Value: old}}}); err != nil {
		t.Fatal(err)
	}
	if err := newProvider(&network{node: n}).recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, found, err := s.Lookup(name); err != nil || found {
		t.Errorf("found %v, %v", found, err)
	}
}
