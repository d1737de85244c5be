package dag

import (
	"context"
	"sync"

	"github.com/ipfs/go-cid"
)

// aheadLeaves is how many leaves are fetched ahead of a sequential reader.
const aheadLeaves = 4

// fetch is a piece on its way.
type fetch struct {
	done  chan struct{} // closed when piece or err is set
	piece piece
	err   error
}

// readAhead notices sequential reading and keeps the fetches that it leads to. The
// File's mutex guards it.
type readAhead struct {
	next    uint64 // where the leaf ends that was read last
	streak  int    // leaves in a row that began where the one before ended
	fetches map[cid.Cid]*fetch
	running sync.WaitGroup
}

// take hands out the fetch of c, if there is one.
func (a *readAhead) take(c cid.Cid) *fetch {
	f := a.fetches[c]
	delete(a.fetches, c)
	return f
}

// readAhead is told that child i of p, a leaf that begins at offset start of the file,
// is being read. From the third leaf of a sequence on it fetches the siblings after it,
// in parallel, under the ctx of this read.
func (f *File) readAhead(ctx context.Context, p piece, i int, start uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	a := &f.ahead
	end := start + p.node.ends[i] - p.start(i)
	if end == a.next {
		return // the same leaf again
	}
	if start != a.next {
		a.streak, a.fetches = 0, nil // what is under way ends by itself
	}
	a.next, a.streak = end, a.streak+1
	if a.streak < 3 {
		return
	}
	if a.fetches == nil {
		a.fetches = make(map[cid.Cid]*fetch, aheadLeaves)
	}
	for _, c := range p.node.cids[i+1 : min(i+1+aheadLeaves, len(p.node.cids))] {
		if a.fetches[c] != nil || len(a.fetches) >= aheadLeaves {
			continue
		}
		ft := &fetch{done: make(chan struct{})}
		a.fetches[c] = ft
		a.running.Go(func() {
			ft.piece, ft.err = loadPiece(ctx, f.bs, c)
			close(ft.done)
		})
	}
}

// Close waits for what is being read ahead. The file must not be used afterwards.
func (f *File) Close() error {
	f.ahead.running.Wait()
	return nil
}
