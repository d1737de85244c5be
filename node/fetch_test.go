package node_test

import (
	"errors"
	"testing"
	"time"

	"github.com/ipfs-liftoff/liftoff/host/market"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node"
)

// A process that does not stay fetches a block from whoever of its cluster has it, though
// its user did not name him.
func TestVisitFetches(t *testing.T) {
	f := fleet(t, 4, nil)
	want := put(t, f[3].Session, "what only one has")
	f[0].leave()
	visitor := visit(t, f[0].dir)
	if b, err := visitor.Fetching().Get(t.Context(), want); err != nil || string(b.Data()) != "what only one has" {
		t.Error(err)
	}
	nowhere := dag.NewBlock(0x55, []byte("nowhere")).CID()
	began := time.Now()
	var missing *dag.NotFoundError
	if _, err := visitor.Fetching().Get(t.Context(), nowhere); !errors.As(err, &missing) || missing.CID != nowhere {
		t.Error(err)
	}
	if d := time.Since(began); d > node.ConnectTime {
		t.Errorf("it looked for what nobody has for %v", d)
	}
	alone := visit(t, t.TempDir())
	if _, err := alone.Fetching().Get(t.Context(), nowhere); !errors.As(err, &missing) {
		t.Error(err)
	}
}

// A peer that runs a job also asks its own neighbors for what it lacks: the requester may
// know none who has it.
func TestRunnerAsksItsNeighbors(t *testing.T) {
	f := fleet(t, 2, nil)
	r := newRogue(t, f, job.Bid{Code: job.RefuseBusy, Refusal: "it only asks"}, nil)
	target, err := f[0].Peers.Self(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	in := addFile(t, f[1], 1<<20)
	conv, j, bid, err := r.asks(t.Context(), target.PeerID, task(put(t, f[1].Session, "module"), "read", in))
	if err != nil || conv == nil {
		t.Fatalf("%+v, %v", bid, err)
	}
	j.Audience = job.DID(f[0].did)
	envelope, err := j.Sign(r.key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conv.Award(t.Context(), market.Award{Order: envelope, Lease: market.Lease{1}, For: time.Minute}); err != nil {
		t.Fatal(err)
	}
	for {
		e, err := conv.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := e.(market.Done); ok {
			break
		}
	}
	conv.Close(market.OK)
}
