package dag

import (
	"context"
	"math"

	"github.com/ipfs/go-cid"
)

// Coverage is how much of some DAGs a set of blocks has.
type Coverage struct {
	Have    uint64 // size of the present blocks
	Missing uint64 // size of the missing blocks, as claimed by their parents
	Lacks   int    // linked blocks that are missing; the blocks below them are not counted
	Untold  int    // missing blocks of unknown size; a missing root is one
	Depth   int    // estimated levels of the missing blocks, from their bytes: each is a round trip to fetch; 0: none missing
	Exact   bool   // false: ctx ended the walk, and Have and Missing are lower bounds
}

// Whole reports whether nothing is missing.
func (c Coverage) Whole() bool { return c.Exact && c.Lacks == 0 }

// Add adds the coverage of another DAG.
func (c Coverage) Add(o Coverage) Coverage {
	return Coverage{
		Have: addSat(c.Have, o.Have), Missing: addSat(c.Missing, o.Missing),
		Lacks: c.Lacks + o.Lacks, Untold: c.Untold + o.Untold, Depth: max(c.Depth, o.Depth), Exact: c.Exact && o.Exact,
	}
}

// Cover measures how much of the DAG below root bs has. It reads the blocks that can have links and only looks up the
// others. The sizes of missing blocks are those that their parents claim, a UnixFS file's block sizes or a link's
// size, and therefore only estimates. A malformed block counts as one without links. If ctx ends first, Cover returns
// the result so far, with Exact false and no error.
func Cover(ctx context.Context, bs Blocks, root cid.Cid) (Coverage, error) {
	w := cover{sizes: leafSizes{bs: bs}, claims: map[cid.Cid]uint64{}}
	w.sum.Exact = true
	err := Walk(ctx, bs, []cid.Cid{root}, WalkOptions{Missing: true, Opaque: IgnoreOpaque}, func(v Visited) error { return w.visit(ctx, v) })
	if err != nil && ctx.Err() != nil {
		w.sum.Exact, err = false, nil
	}
	return w.sum, err
}

// cover is the state of Cover.
type cover struct {
	sum    Coverage
	sizes  leafSizes
	claims map[cid.Cid]uint64 // bytes of linked blocks with everything below them, as claimed by their parents, until they are visited
}

func (w *cover) visit(ctx context.Context, v Visited) error {
	claimed, known := w.claims[v.CID]
	delete(w.claims, v.CID)
	switch {
	case !v.Held:
		w.sum.Lacks++
		if claimed == 0 {
			w.sum.Untold++
		}
		w.sum.Missing = addSat(w.sum.Missing, claimed)
		w.sum.Depth = max(w.sum.Depth, depthOf(v.CID, claimed))
	case v.Block.CID().Defined():
		w.sum.Have = addSat(w.sum.Have, uint64(len(v.Block.Data())))
		w.note(v.Block)
	case known && claimed <= MaxBlock:
		w.sum.Have += claimed
	default:
		size, ok, err := w.sizes.of(ctx, v)
		if err != nil {
			return err
		}
		w.sum.Have = addSat(w.sum.Have, uint64(size))
		w.sum.Exact = w.sum.Exact && ok
	}
	return nil
}

// note records what b claims about its links.
func (w *cover) note(b Block) {
	if b.cid.Type() != cid.DagProtobuf {
		return
	}
	n, err := parsePB(b.data)
	if err != nil {
		return
	}
	var sizes []uint64
	if fs, err := parseFS(n.data); err == nil && fs.typ == fsFile && len(fs.blockSizes) == len(n.links) {
		sizes = fs.blockSizes
	}
	for i, l := range n.links {
		claimed := l.tsize
		if sizes != nil {
			claimed = sizes[i]
		}
		w.claims[l.cid] = claimed
	}
}

// depthOf estimates how many levels a missing DAG of the given size has.
func depthOf(c cid.Cid, bytes uint64) int {
	depth := 1
	if c.Type() == cid.Raw {
		return depth
	}
	for leaf := uint64(UnixFSv1.ChunkSize); leaf < bytes && depth < maxDepthGuess; leaf *= uint64(UnixFSv0.FileWidth) {
		depth++
	}
	return depth
}

const maxDepthGuess = 6

func addSat(a, b uint64) uint64 {
	if a > math.MaxInt64-min(b, math.MaxInt64) {
		return math.MaxInt64
	}
	return a + b
}
