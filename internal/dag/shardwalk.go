package dag

import (
	"context"
	"math"
)

// A cursor of a sharded directory is a place in the space of 64-bit hashes, halved:
// every entry and every shard owns the stretch of hashes that leads to it, and a
// listing goes from the end of one stretch to the next. Whoever knows the cursor finds
// the place again with one walk down the trie.

// shardWalk is a place in a trie: the shards from the root down, each with the next
// link to look at.
type shardWalk struct {
	levels []shardLevel
	cursor uint64 // the cursor that this place answers to
}

type shardLevel struct {
	n    *dirNode
	base uint64 // the hash bits that lead to n, left-aligned
	used int    // how many they are
	next int    // the link to look at next
}

// endCursor stands for 2^64, the place after the last hash.
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
			err := formatErrorf(l.n.cid, "the entry %q stands where its hash does not lead", e.Name)
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
