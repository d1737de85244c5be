package dag

import (
	"context"
	"math"
)

// A cursor of a sharded directory is a position in the space of 64-bit hashes, halved: every entry and every shard
// covers the range of hashes that leads to it, and a listing continues at the end of the last range. Any reader can
// find the position of a cursor again with one walk down the trie.

// shardWalk is a position in a trie: the shards from the root down, each with the index of the next link.
type shardWalk struct {
	levels []shardLevel
	cursor uint64 // cursor of this position
}

type shardLevel struct {
	n    *dirNode
	base uint64 // hash bits that lead to n, left-aligned
	used int    // number of these bits
	next int    // index of the next link
}

// endCursor represents 2^64, the position after the last hash.
const endCursor = math.MaxInt64

func (d *Dir) nextSharded(ctx context.Context, cursor uint64) (DirEntry, int64, error) {
	if cursor == endCursor {
		return DirEntry{}, 0, nil
	}
	w := &d.walk
	if len(w.levels) == 0 || w.cursor != cursor {
		w.levels = append(w.levels[:0], shardLevel{n: d.root})
	}
	for len(w.levels) > 0 {
		l := &w.levels[len(w.levels)-1]
		if l.next == len(l.n.links) {
			w.levels = w.levels[:len(w.levels)-1]
			continue
		}
		i := l.next
		l.next++
		used := l.used + l.n.width()
		first := l.base | uint64(l.n.slots[i])<<(64-used)
		end := first + 1<<(64-used) // 0 means 2^64
		if end != 0 && end <= cursor<<1 {
			continue // before the cursor
		}
		e, isEntry := l.n.entry(i)
		if !isEntry {
			sub, err := d.below(ctx, l.n, i, used)
			if err != nil {
				w.levels = w.levels[:0]
				return DirEntry{}, 0, err
			}
			w.levels = append(w.levels, shardLevel{n: sub, base: first, used: used})
			continue
		}
		if nameHash(e.Name)>>(64-used) != first>>(64-used) {
			err := formatErrorf(l.n.cid, "entry %q is not in the slot of its hash", e.Name)
			w.levels = w.levels[:0]
			return DirEntry{}, 0, err
		}
		w.cursor = end >> 1
		if end == 0 {
			w.cursor = endCursor
		}
		return e, int64(w.cursor), nil
	}
	return DirEntry{}, 0, nil
}
