package store

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/multiformats/go-multihash"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
)

// TestMigrate opens a repo of the first format, works in it, and moves its blocks, in two calls.
func TestMigrate(t *testing.T) {
	var blocks []dag.Block
	for i := range uint64(60) {
		blocks = append(blocks, raw(i, int(i*1000)))
	}
	s := firstStore(t, blocks...)
	if v, err := os.ReadFile(filepath.Join(s.Dir(), versionFile)); err != nil || string(v) != "2\n" {
		t.Errorf("version %q, %v", v, err)
	}
	wantHere(t, s, blocks...)
	must(t, s.Put(t.Context(), blocks[7], raw(100, 10)))
	if n, err := s.combined.large.Size(blocks[7].CID().Hash()); !errors.Is(err, errAbsent) {
		t.Errorf("a block with a file was copied: %d bytes, %v", n, err)
	}
	pin(t, s, "some", false, blocks[0], blocks[9])

	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	s.combined.large = &watched{storage: s.combined.large, put: func(multihash.Multihash) error {
		if n++; n == 20 {
			cancel()
		}
		return nil
	}}
	if _, err := s.Migrate(ctx); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	wantHere(t, s, blocks...)
	must(t, s.Close())
	s = open(t, s.Dir(), Config{})
	wantHere(t, s, blocks...)
	m, err := s.Migrate(t.Context())
	must(t, err)
	if m.Blocks != 60 || m.Damaged != 0 {
		t.Errorf("%+v", m)
	}
	wantHere(t, s, blocks...)
	clean(t, s)
	must(t, s.Close())
	if exists(filepath.Join(s.Dir(), blocksDir)) {
		t.Errorf("left: %q", tree(t, filepath.Join(s.Dir(), blocksDir)))
	}
	s = open(t, s.Dir(), Config{})
	wantHere(t, s, blocks...)
	clean(t, s)
	if done := collect(t, s); done.Kept != 2 {
		t.Errorf("%+v", done)
	}
	if m, err := s.Migrate(t.Context()); err != nil || m != (Migrated{}) {
		t.Errorf("%+v, %v", m, err)
	}
}

func TestMigrateLeavesDamage(t *testing.T) {
	good, bad := raw(1, 100), raw(2, 100)
	s := firstStore(t, good, bad)
	path := s.blocks.Where(bad.CID().Hash())
	flipBit(t, path, 5)
	m, err := s.Migrate(t.Context())
	must(t, err)
	if m.Blocks != 1 || m.Damaged != 1 || !exists(path) {
		t.Errorf("%+v", m)
	}
	wantHere(t, s, good)
	must(t, s.Put(t.Context(), bad))
	wantHere(t, s, good, bad)
}
