package node_test

import (
	"strings"
	"testing"

	"github.com/ipfs-liftoff/liftoff/node"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

func BenchmarkJoinClose(b *testing.B) {
	dir := b.TempDir()
	for b.Loop() {
		s, err := node.Join(b.Context(), config(dir))
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAttachDetach(b *testing.B) {
	dir := b.TempDir()
	join(b, dir)
	for b.Loop() {
		s, err := node.Join(b.Context(), config(dir))
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRun(b *testing.B) {
	for _, way := range []string{"owner", "attached"} {
		b.Run(way, func(b *testing.B) {
			dir := b.TempDir()
			s := join(b, dir)
			if way == "attached" {
				s = join(b, dir)
			}
			mod := put(b, s, "module")
			for b.Loop() {
				if _, err := s.Jobs.Run(b.Context(), api.Request{Task: task(mod, "hello")}, api.Watch{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkGet(b *testing.B) {
	for _, way := range []string{"owner", "attached"} {
		b.Run(way, func(b *testing.B) {
			dir := b.TempDir()
			s := join(b, dir)
			if way == "attached" {
				s = join(b, dir)
			}
			c := put(b, s, strings.Repeat("x", 1<<20))
			b.SetBytes(1 << 20)
			for b.Loop() {
				if _, err := s.Blocks.Get(b.Context(), c); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
