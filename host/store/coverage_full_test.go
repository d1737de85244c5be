package store

import (
	"path/filepath"
	"testing"

	"github.com/ipfs-liftoff/liftoff/host/store/ledger"
	"github.com/ipfs-liftoff/liftoff/internal/diskfs"
	"github.com/ipfs-liftoff/liftoff/internal/diskfs/simdisk"
)

// TestCoverageOnAFullDisk: coverage can be computed even if there is no space to record it.
func TestCoverageOnAFullDisk(t *testing.T) {
	s := newStore(t)
	b := raw(1, 1000)
	must(t, s.Put(t.Context(), b))
	d := simdisk.New(1)
	full, err := ledger.Open("d", ledger.Config{FS: d, Reserve: diskfs.Reserve{Path: filepath.Join("d", "reserve"), Size: 16 << 10}})
	must(t, err)
	defer full.Close()
	d.SetRoom(0)
	if err := full.Write(ledger.Entry{Key: "k", Value: make([]byte, 64<<10)}); !diskfs.Full(err) {
		t.Fatalf("a write to a full disk: %v", err)
	}
	for n := 0; full.Write(ledger.Entry{Key: "k", Value: []byte("v")}) == nil; n++ {
		if n > 64<<10 {
			t.Fatal("the disk did not become full")
		}
	}
	s.ledger = full
	c, err := s.Coverage(t.Context(), b.CID())
	if err != nil || !c.Exact || c.Have != 1000 || c.Total != 1000 {
		t.Errorf("%+v, %v", c, err)
	}
	if !s.IsFull() {
		t.Error("the full disk was not recorded")
	}
}
