package node

import (
	"context"
	"encoding/json"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/ipfs-liftoff/liftoff/host/market"
	"github.com/ipfs-liftoff/liftoff/host/store"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

// A requester that sets the shortest retention does not get its job discarded while it still runs.
func TestRetireWaitsForTheRun(t *testing.T) {
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
			t.Error("discarded while the run is not committed")
		}
		close(x.kept)
		synctest.Wait()
		if len(p.all()) != 0 || x.ctx.Err() == nil {
			t.Error("not discarded")
		}
	})
}

// The number of results that wait for one requester is bounded; and shutdown waits until discarded awards are
// gone.
func TestRetainedResultsAreBounded(t *testing.T) {
	s := openStore(t)
	synctest.Test(t, func(t *testing.T) {
		p := newProvider(&network{node: &Node{store: s, clock: time.Now}})
		add := func(n int, from peer.ID) *award {
			x := &award{p: p, from: from, lease: market.Lease{byte(n), byte(n >> 8), from[1]}, kept: make(chan struct{}), away: make(chan struct{})}
			x.ctx, x.cancel = context.WithCancelCause(context.Background())
			if !p.addAward(x) {
				t.Fatalf("award %d is not added", n)
			}
			time.Sleep(time.Second)
			x.end()
			return x
		}
		other := add(0, "other")
		close(other.kept)
		first := add(0, "one")
		for n := range maxAwards {
			if n > 0 {
				close(add(n, "one").kept)
			}
		}
		if n := len(p.all()); n != maxAwards+1 {
			t.Errorf("%d awards are kept", n)
		}
		close(add(maxAwards, "one").kept)
		closed := false
		go func() {
			p.close()
			closed = true
		}()
		synctest.Wait()
		if closed || first.ctx.Err() != nil {
			t.Error("the first award is discarded while its run is not committed")
		}
		close(first.kept)
		synctest.Wait()
		if !closed || p.awards[first.lease] != nil || len(p.all()) != maxAwards+1 || p.awards[other.lease] == nil {
			t.Errorf("closed %v, %d awards are kept", closed, len(p.all()))
		}
	})
}

// A result whose links to blocks of others do not all fit into its record is not recorded: the next process
// would take the other linked blocks for the run's own, and send them.
func TestResultWithTooManyLinks(t *testing.T) {
	s := openStore(t)
	n := &Node{store: s, clock: time.Now}
	for _, links := range []int{maxRefs, maxRefs + 1} {
		refs := make([]cid.Cid, links)
		for i := range refs {
			refs[i] = dag.NewBlock(cid.Raw, []byte("other")).CID()
		}
		root := dag.NewBlock(cid.Raw, []byte("root"))
		x := &award{p: newProvider(&network{node: n}), from: "from", envelope: root.CID(), lease: market.Lease{byte(links)}, session: s.Begin()}
		e := &evaluation{node: n, refs: refs, blocks: []dag.Block{root}, expires: time.Now().Add(time.Hour)}
		j := api.Job{Task: root.CID(), OutcomeCID: root.CID(), Receipt: root.CID(), Refs: refs[:maxRefs], Outcome: &job.Outcome{Root: root.CID()}}
		if err := x.keep(t.Context(), e, j); err != nil {
			t.Fatal(err)
		}
		if _, found, err := s.Lookup(leaseRecord(x.lease)); err != nil || found != (links <= maxRefs) {
			t.Errorf("%d links: recorded %v, %v", links, found, err)
		}
		x.session.End()
	}
}

// A record whose pin is gone, because the process was killed between the two deletes, is deleted, too.
func TestDropRetainedWithoutPin(t *testing.T) {
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
