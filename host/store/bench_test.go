package store

import (
	"fmt"
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/host/store/segment"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
)

// benchSizes are the sizes of a Task or Outcome and of the two profiles' leaves.
var benchSizes = []int{300, 256 << 10, 1 << 20}

// benchBlocks makes blocks of n bytes, as many as fit into 256 MiB.
func benchBlocks(n int) []dag.Block {
	blocks := make([]dag.Block, min(10_000, (256<<20)/n))
	for i := range blocks {
		blocks[i] = raw(uint64(i), n)
	}
	return blocks
}

func bySize(b *testing.B, bench func(b *testing.B, s *Store, blocks []dag.Block)) {
	for _, n := range benchSizes {
		b.Run(fmt.Sprintf("size=%d", n), func(b *testing.B) {
			b.SetBytes(int64(n))
			bench(b, newStore(b), benchBlocks(n))
		})
	}
}

// BenchmarkPut puts new blocks in a session, without syncing them.
func BenchmarkPut(b *testing.B) {
	bySize(b, func(b *testing.B, s *Store, blocks []dag.Block) {
		n := s.Begin()
		defer n.End()
		for i := 0; b.Loop(); i++ {
			if i > 0 && i%len(blocks) == 0 {
				b.StopTimer()
				for _, block := range blocks {
					must(b, s.blocks.Delete(block.CID().Hash()))
				}
				must(b, s.Sync(b.Context()))
				_, err := s.combined.large.(segmentStorage).s.Compact(b.Context(), segment.Half)
				must(b, err)
				b.StartTimer()
			}
			must(b, n.Put(b.Context(), blocks[i%len(blocks)]))
		}
	})
}

// BenchmarkPutAgain puts blocks that are present: each is compared with the stored one.
func BenchmarkPutAgain(b *testing.B) {
	bySize(b, func(b *testing.B, s *Store, blocks []dag.Block) {
		must(b, s.Put(b.Context(), blocks...))
		for i := 0; b.Loop(); i++ {
			must(b, s.Put(b.Context(), blocks[i%len(blocks)]))
		}
	})
}

func BenchmarkGet(b *testing.B) {
	bySize(b, func(b *testing.B, s *Store, blocks []dag.Block) {
		must(b, s.Put(b.Context(), blocks...))
		for i := 0; b.Loop(); i++ {
			_, err := s.Get(b.Context(), blocks[i%len(blocks)].CID())
			must(b, err)
		}
	})
}

func BenchmarkHas(b *testing.B) {
	s := newStore(b)
	blocks := benchBlocks(300)
	must(b, s.Put(b.Context(), blocks[:len(blocks)/2]...)) // the others are absent
	for i := 0; b.Loop(); i++ {
		_, err := s.Has(b.Context(), blocks[i%len(blocks)].CID())
		must(b, err)
	}
}

// BenchmarkOpen opens and closes a repo of 10,000 blocks.
func BenchmarkOpen(b *testing.B) {
	s := newStore(b)
	must(b, s.Put(b.Context(), benchBlocks(300)...))
	must(b, s.Close())
	for b.Loop() {
		s, err := Open(s.Dir(), Config{})
		must(b, err)
		must(b, s.Close())
	}
}

// BenchmarkCollect marks and sweeps 10,000 blocks, all of them retained.
func BenchmarkCollect(b *testing.B) {
	s := newStore(b)
	blocks := benchBlocks(300)
	must(b, s.Put(b.Context(), blocks...))
	var roots []Root
	for part := blocks; len(part) > 0; part = part[min(200, len(part)):] {
		var links []cid.Cid
		for _, l := range part[:min(200, len(part))] {
			links = append(links, l.CID())
		}
		inner := node(links...)
		must(b, s.Put(b.Context(), inner))
		roots = append(roots, Root{inner.CID(), true})
	}
	must(b, s.AddPin(b.Context(), Pin{Name: "all", Roots: roots}))
	for b.Loop() {
		if done := collect(b, s); done.Removed > 0 {
			b.Fatalf("%+v", done)
		}
	}
}
