package dag

import (
	"context"
	"math"

	"github.com/ipfs/go-cid"
)

// Coverage is how much of some DAGs a set of blocks holds.
type Coverage struct {
	Have    uint64 // bytes of the blocks that are held
	Missing uint64 // bytes that are not, as the blocks that link to them claim
	Lacks   int    // blocks that are linked to and not held; what is below them is not counted
	Untold  int    // of these, the ones of whose size nothing is known: the root is, when it is lacking
	Depth   int    // levels of what is missing, a guess from its bytes: each is a round trip to fetch; 0: nothing is
	Exact   bool   // false: ctx ended the walk, and Have and Missing are lower bounds
}

// Whole reports whether nothing is missing.
func (c Coverage) Whole() bool { return c.Exact && c.Lacks == 0 }

// Add adds what is known of another DAG.
func (c Coverage) Add(o Coverage) Coverage {
	return Coverage{
		Have: addSat(c.Have, o.Have), Missing: addSat(c.Missing, o.Missing),
		Lacks: c.Lacks + o.Lacks, Untold: c.Untold + o.Untold, Depth: max(c.Depth, o.Depth), Exact: c.Exact && o.Exact,
	}
}

// Cover measures what bs holds below root: it reads the blocks that can have links and
// only looks for the others. The bytes of what is not held are those that its parent
// says, a UnixFS file's block sizes or a link's claim, and so no more than a hint. A block
// that is malformed has nothing below it. When
// ctx is done before the end, Cover returns what it has, with Exact false and no error.
func Cover(ctx context.Context, bs Blocks, root cid.Cid) (Coverage, error) {
	w := cover{sizes: leafSizes{bs: bs}, claims: map[cid.Cid]uint64{}}
	w.sum.Exact = true
	err := Walk(ctx, bs, []cid.Cid{root}, WalkOptions{Missing: true, Opaque: IgnoreOpaque}, func(v Visited) error { return w.visit(ctx, v) })
	if err != nil && ctx.Err() != nil {
		w.sum.Exact, err = false, nil
	}
	return w.sum, err
}

// cover is a walk of Cover.
type cover struct {
	sum    Coverage
	sizes  leafSizes
	claims map[cid.Cid]uint64 // bytes at and below blocks that are linked to and not visited yet, as their parents say
}

func (w *cover) visit(ctx context.Context, v Visited) error {
	said, told := w.claims[v.CID]
	delete(w.claims, v.CID)
	switch {
	case !v.Held:
		w.sum.Lacks++
		if said == 0 {
			w.sum.Untold++
		}
		w.sum.Missing = addSat(w.sum.Missing, said)
		w.sum.Depth = max(w.sum.Depth, depthOf(v.CID, said))
	case v.Block.CID().Defined():
		w.sum.Have = addSat(w.sum.Have, uint64(len(v.Block.Data())))
		w.note(v.Block)
	case told && said <= MaxBlock:
		w.sum.Have += said
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

// note keeps what b claims of the blocks that it links to.
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
		said := l.tsize
		if sizes != nil {
			said = sizes[i]
		}
		w.claims[l.cid] = said
	}
}

// depthOf guesses how many levels a missing DAG of so many bytes has.
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
