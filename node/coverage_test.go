package node

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/host/store"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/scheduler"
)

func openStore(t *testing.T) *store.Store {
	t.Helper()
	s, err := store.Open(t.TempDir(), store.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// What is known of a root stands until blocks come or go.
func TestCoverage(t *testing.T) {
	s := openStore(t)
	now := time.Unix(1000, 0) // stands still: no answer stands by its age
	c := newCoverage(s, func() time.Time { return now })
	all := new(dag.MemBlocks)
	p := dag.UnixFSv1
	p.ChunkSize = 1000
	file, err := dag.AddFile(t.Context(), all, bytes.NewReader(bytes.Repeat([]byte("0123456789"), 3000)), p)
	if err != nil {
		t.Fatal(err)
	}
	ask := func() dag.Coverage {
		t.Helper()
		got, err := c.of(t.Context(), file.CID, file.CID)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := ask(); got != (dag.Coverage{Lacks: 1, Untold: 1, Depth: 1, Exact: true}) {
		t.Errorf("nothing is here: %+v", got)
	}
	var links []cid.Cid
	root, err := all.Get(t.Context(), file.CID)
	if err == nil {
		links, err = dag.Links(root)
	}
	if err == nil {
		err = s.Put(t.Context(), root)
	}
	if err != nil {
		t.Fatal(err)
	}
	if got := ask(); got.Whole() || got.Missing == 0 || got.Have != uint64(len(root.Data())) {
		t.Errorf("the root is here: %+v", got)
	}
	for _, l := range links {
		b, err := all.Get(t.Context(), l)
		if err == nil {
			err = s.Put(t.Context(), b)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if got := ask(); !got.Whole() || got.Missing != 0 {
		t.Errorf("all is here: %+v", got)
	}
	if _, err := s.Collect(t.Context(), now); err != nil { // takes all: nothing is pinned
		t.Fatal(err)
	}
	if got := ask(); got.Have != 0 || got.Whole() {
		t.Errorf("all is gone: %+v", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.of(ctx, file.CID); err == nil {
		t.Error("a cancelled question is answered")
	}
}

// Leases that nobody renews end, and whoever waits gets the slot.
func TestBook(t *testing.T) {
	now := time.Unix(1000, 0)
	b := newAdmissionQueue(scheduler.AdmissionConfig{Slots: 1}, func() time.Time { return now }, nil)
	ended := false
	reserve := func(n byte) (<-chan struct{}, error) {
		j := job.Order{Issuer: "did:key:a", Expires: now.Add(time.Hour).UnixMilli(), Nonce: [16]byte{n}}
		started, _, err := b.reserve(scheduler.Reservation{Lease: scheduler.Lease{n}, Job: j, For: 10 * time.Second, Queue: time.Hour}, func() { ended = n == 1 })
		return started, err
	}
	first, err := reserve(1)
	if err != nil {
		t.Fatal(err)
	}
	second, err := reserve(2)
	if err != nil {
		t.Fatal(err)
	}
	<-first
	select {
	case <-second:
		t.Fatal("two jobs in one slot")
	default:
	}
	if _, err := reserve(1); err == nil {
		t.Error("one lease twice")
	}
	now = now.Add(5 * time.Second)
	b.renew(scheduler.Lease{2})
	now = now.Add(6 * time.Second)
	if at, ok := b.expire(); !ok || !ended || !at.After(now) {
		t.Errorf("the first has not ended: %v, %v", at, ok)
	}
	<-second
	b.release(scheduler.Lease{2})
	if l := b.load(0); l.Free != 1 {
		t.Errorf("%+v", l)
	}
	own := &ownSlot{queue: b}
	if err := own.Acquire(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := (&ownSlot{queue: b}).Acquire(ctx, 1); err == nil {
		t.Error("a slot for who has gone")
	}
	own.Release(1)
	if l := b.load(0); l.Free != 1 {
		t.Errorf("%+v", l)
	}
}
