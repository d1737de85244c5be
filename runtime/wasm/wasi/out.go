package wasi

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
)

// FinishOut stores /out as a UnixFS directory and returns its root. Files that the guest left
// open are stored with their current content.
func (s *System) FinishOut(ctx context.Context, blocks dag.Blocks) (e dag.Entry, err error) {
	if s.out == nil {
		return dag.NewDirWriter(blocks, s.cfg.Profile).Finish(ctx)
	}
	defer func() { // contents panic on faults of the scratch folder
		if r := recover(); r != nil {
			fault, ok := r.(error)
			if !ok {
				panic(r)
			}
			e, err = dag.Entry{}, fmt.Errorf("store the guest's /out: %w", fault)
		}
	}()
	return addDir(ctx, blocks, s.cfg.Profile, s.out)
}

// addDir stores d and what is below it, files first in the order of their names.
func addDir(ctx context.Context, bs dag.Blocks, p dag.Profile, d *memDir) (dag.Entry, error) {
	children := slices.SortedFunc(maps.Values(d.names), func(a, b *child) int { return strings.Compare(a.name, b.name) })
	w := dag.NewDirWriter(bs, p)
	for _, c := range children {
		e, err := addNode(ctx, bs, p, c.node)
		if err == nil {
			err = w.Add(c.name, e)
		}
		if err != nil {
			return dag.Entry{}, fmt.Errorf("store %s of the guest's /out: %w", c.name, err)
		}
	}
	return w.Finish(ctx)
}

func addNode(ctx context.Context, bs dag.Blocks, p dag.Profile, n memNode) (dag.Entry, error) {
	switch n := n.(type) {
	case *memDir:
		return addDir(ctx, bs, p, n)
	case *memLink:
		return dag.AddSymlink(ctx, bs, n.to, p)
	case *memFile:
		return dag.AddFile(ctx, bs, n.bytes.reader(), p)
	}
	panic(fmt.Sprintf("bug: unexpected %T in /out", n))
}
