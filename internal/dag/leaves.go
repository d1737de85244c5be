package dag

import (
	"context"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/abi"
)

// Leaves returns how many leaves overlap the n bytes from off: blocks with bytes of the file, including inner nodes
// with bytes of their own. It reads the inner nodes of the range and no leaf of codec raw, and the result depends
// only on the DAG.
func (f *File) Leaves(ctx context.Context, off, n int64) (int64, error) {
	size := f.Size()
	if off < 0 || n <= 0 || off >= size {
		return 0, nil
	}
	c := leafCount{f, make(map[cid.Cid]int64)}
	return c.count(ctx, f.root, uint64(off), uint64(off+min(n, size-off)), 0)
}

// leafCount caches the counts of whole nodes: a small DAG that links to its own parts repeatedly can claim more
// leaves than could be counted one by one.
type leafCount struct {
	f     *File
	whole map[cid.Cid]int64
}

// count counts the leaves of p that overlap [from, to), which is not empty and inside p.
func (c leafCount) count(ctx context.Context, p piece, from, to uint64, depth int) (int64, error) {
	if depth > abi.MaxDepth {
		return 0, formatErrorf(c.f.root.cid, "file is deeper than %d levels", abi.MaxDepth)
	}
	whole := from == 0 && to == p.size()
	if n, ok := c.whole[p.cid]; ok && whole {
		return n, nil
	}
	count := int64(0)
	if from < uint64(len(p.data)) {
		count, from = 1, uint64(len(p.data))
	}
	if p.node != nil && from < to {
		n, err := c.children(ctx, p, from, to, depth)
		if err != nil {
			return 0, err
		}
		count += n
	}
	if whole {
		c.whole[p.cid] = count
	}
	return count, nil
}

func (c leafCount) children(ctx context.Context, p piece, from, to uint64, depth int) (int64, error) {
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	count := int64(0)
	for i := p.node.child(from); from < to; i++ {
		start, end := p.start(i), p.node.ends[i]
		if end == start {
			continue
		}
		n := int64(1)
		if p.node.cids[i].Type() != cid.Raw {
			ch, err := c.f.get(ctx, p, i)
			if err != nil {
				return 0, err
			}
			if n, err = c.count(ctx, ch, from-start, min(to, end)-start, depth+1); err != nil {
				return 0, err
			}
		}
		count, from = count+n, end
	}
	return count, nil
}
