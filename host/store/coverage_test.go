package store

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
)

// wantCover compares Coverage with a plain count of the present blocks.
func wantCover(t *testing.T, s *Store, all *dag.MemBlocks, root cid.Cid, exact bool) {
	t.Helper()
	var have, total uint64
	err := dag.Walk(t.Context(), all, []cid.Cid{root}, dag.WalkOptions{Data: true}, func(v dag.Visited) error {
		total += uint64(len(v.Block.Data()))
		if ok, err := s.Has(t.Context(), v.CID); err != nil {
			return err
		} else if ok {
			have += uint64(len(v.Block.Data()))
		}
		return nil
	})
	must(t, err)
	c, err := s.Coverage(t.Context(), root)
	must(t, err)
	h, n, e := c.Have, c.Total, c.Exact
	if e != exact || h != have && exact || n != total && exact || h > have || n > total {
		t.Errorf("coverage: got %d of %d, exact %v; want %d of %d", h, n, e, have, total)
	}
}

// TestCoverage puts a file's blocks one by one in random order, in two processes, and collects: at each step the
// result equals that of a walk.
func TestCoverage(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	profile := dag.UnixFSv1
	profile.ChunkSize, profile.FileWidth = 1000, 8
	all := &dag.MemBlocks{}
	e, err := dag.AddFile(t.Context(), all, bytesReader(noise(9, 60_500)), profile)
	must(t, err)
	var list []dag.Block
	must(t, dag.Walk(t.Context(), all, []cid.Cid{e.CID}, dag.WalkOptions{Data: true}, func(v dag.Visited) error {
		list = append(list, v.Block)
		return nil
	}))
	s := newStore(t)
	isNode := func(b dag.Block) bool { return b.CID().Type() != cid.Raw }
	r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	nodes := 0
	for _, b := range list {
		if isNode(b) {
			nodes++
		}
	}
	for i, b := range list {
		must(t, s.Put(t.Context(), b))
		if isNode(b) {
			nodes--
		}
		wantCover(t, s, all, e.CID, nodes == 0)
		if i == len(list)/2 {
			must(t, s.Close())
			s = open(t, s.Dir(), Config{})
			wantCover(t, s, all, e.CID, nodes == 0)
		}
	}
	other := raw(77, 500)
	must(t, s.Put(t.Context(), other))
	pin(t, s, "it", true, list[0])
	must(t, s.AddPin(t.Context(), Pin{Name: "all", Roots: []Root{{CID: e.CID, Recursive: true}}}))
	collect(t, s) // removes other: the coverage of root is carried over
	gen, err := s.Generation()
	must(t, err)
	if n, ok := s.wholeBefore(e.CID, gen); !ok || n == 0 {
		t.Errorf("a complete pinned root is no longer recorded as complete")
	}
	wantCover(t, s, all, e.CID, true)
	must(t, s.RemovePin("all"))
	collect(t, s)
	if got, err := s.Coverage(t.Context(), e.CID); err != nil || got.Have > 1500 {
		t.Errorf("%d bytes are reported present after a collection, %v", got.Have, err)
	}
}

func TestCoverageOfAHalf(t *testing.T) {
	profile := dag.UnixFSv1
	profile.ChunkSize = 100
	all := &dag.MemBlocks{}
	e, err := dag.AddFile(t.Context(), all, bytesReader(noise(5, 30_000)), profile)
	must(t, err)
	s := newStore(t)
	i := 0
	var missing []dag.Block
	must(t, dag.Walk(t.Context(), all, []cid.Cid{e.CID}, dag.WalkOptions{Data: true}, func(v dag.Visited) error {
		if i++; v.CID.Type() == cid.Raw && i%2 == 0 {
			missing = append(missing, v.Block)
			return nil
		}
		return s.Put(t.Context(), v.Block)
	}))
	wantCover(t, s, all, e.CID, true)
	for _, b := range missing { // from memory, without a walk
		must(t, s.Put(t.Context(), b))
		wantCover(t, s, all, e.CID, true)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got, err := s.Coverage(ctx, e.CID); got.Exact || err == nil {
		t.Errorf("canceled by the caller: %+v, %v", got, err)
	}
	_, err = s.Collect(t.Context(), time.Now())
	must(t, err)
	if got, err := s.Coverage(t.Context(), e.CID); got.Have != 0 || got.Total != 0 || got.Exact || err != nil {
		t.Errorf("absent root: %+v, %v", got, err)
	}
}
