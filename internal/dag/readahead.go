package dag

import (
	"context"
	"sync"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/abi"
)

const (
	// aheadLeaves is how many leaves are fetched ahead of a sequential reader.
	aheadLeaves = 4
	// aheadBytes limits how far ahead of a sequential reader a Prefetcher is called: enough to fill a link of 1
	// Gbit/s and 100 ms.
	aheadBytes = 16 << 20
)

// fetch is a piece that is being fetched.
type fetch struct {
	done  chan struct{} // closed when piece or err is set
	piece piece
	err   error
}

// readAhead detects sequential reading and holds the resulting fetches. The File's mutex guards it.
type readAhead struct {
	next    uint64 // end of the last leaf that was read
	streak  int    // consecutive leaves read in sequence
	fetches map[cid.Cid]*fetch
	running sync.WaitGroup

	// For a Prefetcher only.
	begun      uint64               // begin of the sequence
	prefetched uint64               // end of the range that was announced
	inner      map[cid.Cid]struct{} // inner nodes that are being read for their links
}

// take returns and removes the fetch of c, or nil.
func (a *readAhead) take(c cid.Cid) *fetch {
	f := a.fetches[c]
	delete(a.fetches, c)
	return f
}

// readAhead is called when child i of p, a leaf at offset start of the file, is read. From the third leaf of a
// sequence on it fetches the following siblings in parallel, with the ctx of this read. A Prefetcher fetches from
// remote peers, at a cost: it is called for half of the bytes read in sequence so far, so that a reader that stops
// wastes at most half as much again.
func (f *File) readAhead(ctx context.Context, p piece, i int, start uint64) {
	far, _ := f.bs.(Prefetcher)
	f.mu.Lock()
	soon := f.ahead.advance(start, start+p.node.ends[i]-p.start(i), far != nil)
	if soon == 0 {
		f.mu.Unlock()
		return
	}
	end := f.ahead.next
	for k := i + 1; k < min(i+1+aheadLeaves, len(p.node.cids)); k++ {
		if far != nil && p.node.ends[k]-p.node.ends[i] > soon {
			break
		}
		f.fetchAhead(ctx, p.node.cids[k])
	}
	var cids []cid.Cid
	if far != nil {
		cids = f.notPrefetched(ctx, end, end+soon)
	}
	f.mu.Unlock()
	if len(cids) > 0 {
		far.Prefetch(ctx, cids)
	}
}

// prefetchAhead is readAhead for reads of leaves as parts; the current leaf is from start to end. It does not fetch
// itself, and only calls a Prefetcher.
func (f *File) prefetchAhead(ctx context.Context, start, end uint64) {
	far, ok := f.bs.(Prefetcher)
	if !ok {
		return
	}
	var cids []cid.Cid
	f.mu.Lock()
	if soon := f.ahead.advance(start, end, true); soon > 0 {
		cids = f.notPrefetched(ctx, end, end+soon)
	}
	f.mu.Unlock()
	if len(cids) > 0 {
		far.Prefetch(ctx, cids)
	}
}

// notPrefetched returns the leaves between two offsets that were not announced to a Prefetcher yet. f.mu is held.
func (f *File) notPrefetched(ctx context.Context, from, to uint64) (cids []cid.Cid) {
	if from = max(f.ahead.prefetched, from); from < to {
		cids, f.ahead.prefetched = f.upcoming(ctx, nil, f.root, 0, from, to, 0)
	}
	return cids
}

// advance records the leaf that is read and returns how many of the bytes after it are worth fetching, or 0.
func (a *readAhead) advance(start, end uint64, far bool) uint64 {
	if end == a.next {
		return 0 // the same leaf again
	}
	if start != a.next {
		a.streak, a.fetches = 0, nil // fetches in progress end by themselves
		a.begun, a.prefetched = start, 0
	}
	a.next, a.streak = end, a.streak+1
	switch {
	case a.streak < 3:
		return 0
	case far:
		return min(aheadBytes, (end-a.begun)/2)
	}
	return aheadBytes
}

// fetchAhead starts to fetch a leaf. f.mu is held.
func (f *File) fetchAhead(ctx context.Context, c cid.Cid) {
	a := &f.ahead
	if a.fetches == nil {
		a.fetches = make(map[cid.Cid]*fetch, aheadLeaves)
	}
	if a.fetches[c] != nil || len(a.fetches) >= aheadLeaves {
		return
	}
	ft := &fetch{done: make(chan struct{})}
	a.fetches[c] = ft
	a.running.Go(func() {
		ft.piece, ft.err = loadPiece(ctx, f.bs, c)
		close(ft.done)
	})
}

// upcoming appends the leaves below p, which begins at base, that overlap from to to. It stops at the first unknown
// inner node, starts to read it, and returns the offset it reached. f.mu is held.
func (f *File) upcoming(ctx context.Context, cids []cid.Cid, p piece, base, from, to uint64, depth int) (_ []cid.Cid, reached uint64) {
	if p.node == nil || depth > abi.MaxDepth || from < base {
		return cids, to
	}
	for i := p.node.child(from - base); i < len(p.node.cids) && base+p.start(i) < to; i++ {
		c, start := p.node.cids[i], base+p.start(i)
		if next, known := f.nodes.get(c); known {
			if cids, reached = f.upcoming(ctx, cids, next, start, max(from, start), to, depth+1); reached < to {
				return cids, reached
			}
			continue
		}
		if p.node.ends[i]-p.start(i) > MaxBlock { // too large for a leaf
			f.readInner(ctx, c)
			return cids, start
		}
		cids, reached = append(cids, c), base+p.node.ends[i]
	}
	return cids, max(reached, to)
}

// readInner reads an inner node before it is needed. f.mu is held.
func (f *File) readInner(ctx context.Context, c cid.Cid) {
	a := &f.ahead
	if _, reading := a.inner[c]; reading || len(a.inner) >= aheadLeaves {
		return
	}
	if a.inner == nil {
		a.inner = make(map[cid.Cid]struct{})
	}
	a.inner[c] = struct{}{}
	a.running.Go(func() {
		p, err := loadPiece(ctx, f.bs, c)
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(a.inner, c)
		if err == nil && p.node != nil {
			f.nodes.add(p)
		}
	})
}

// Close waits for reads in progress. The file must not be used afterwards.
func (f *File) Close() error {
	f.ahead.running.Wait()
	return nil
}
