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

// The coverage of a root is cached until blocks are put or removed.
func TestCoverage(t *testing.T) {
	s := openStore(t)
	now := time.Unix(1000, 0) // fixed: no answer stays valid by age
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
		t.Errorf("empty repo: %+v", got)
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
		t.Errorf("root only: %+v", got)
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
		t.Errorf("all blocks: %+v", got)
	}
	if _, err := s.Collect(t.Context(), now); err != nil { // removes all blocks: nothing is pinned
		t.Fatal(err)
	}
	if got := ask(); got.Have != 0 || got.Whole() {
		t.Errorf("after collection: %+v", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.of(ctx, file.CID); err == nil {
		t.Error("no error for a cancelled context")
	}
}

// Leases that are not renewed expire, and the waiting award gets the slot.
func TestAdmissionQueue(t *testing.T) {
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
		t.Error("a lease is accepted twice")
	}
	now = now.Add(5 * time.Second)
	b.renew(scheduler.Lease{2})
	now = now.Add(6 * time.Second)
	if at, ok := b.expire(); !ok || !ended || !at.After(now) {
		t.Errorf("the first lease has not expired: %v, %v", at, ok)
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
		t.Error("a slot for a cancelled job")
	}
	own.Release(1)
	if l := b.load(0); l.Free != 1 {
		t.Errorf("%+v", l)
	}
}
