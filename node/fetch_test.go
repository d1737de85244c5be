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

// A process that does not serve fetches a block from any peer of its cluster that has it, without naming that
// peer.
func TestEphemeralPeerFetches(t *testing.T) {
	f := fleet(t, 4, nil)
	want := put(t, f[3].Session, "a block of one peer")
	f[0].leave()
	client := joinOnce(t, f[0].dir)
	if b, err := client.Fetching().Get(t.Context(), want); err != nil || string(b.Data()) != "a block of one peer" {
		t.Error(err)
	}
	nowhere := dag.NewBlock(0x55, []byte("nowhere")).CID()
	began := time.Now()
	var missing *dag.NotFoundError
	if _, err := client.Fetching().Get(t.Context(), nowhere); !errors.As(err, &missing) || missing.CID != nowhere {
		t.Error(err)
	}
	if d := time.Since(began); d > node.ConnectTime {
		t.Errorf("searched for an absent block for %v", d)
	}
	alone := joinOnce(t, t.TempDir())
	if _, err := alone.Fetching().Get(t.Context(), nowhere); !errors.As(err, &missing) {
		t.Error(err)
	}
}

// A peer that runs a job also asks its own connected peers for missing blocks: the requester may not be
// connected to any peer that has them.
func TestProviderAsksItsPeers(t *testing.T) {
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
