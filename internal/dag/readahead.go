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
	// aheadBytes is how far ahead a Prefetcher is told of what a sequential reader will
	// want: enough to keep a link of 1 Gbit/s and 100 ms full.
	aheadBytes = 16 << 20
)

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

	// For a Prefetcher alone.
	begun uint64               // where the sequence began
	prefetched  uint64               // up to where it was told
	inner map[cid.Cid]struct{} // nodes that are being read for their links
}

// take hands out the fetch of c, if there is one.
func (a *readAhead) take(c cid.Cid) *fetch {
	f := a.fetches[c]
	delete(a.fetches, c)
	return f
}

// readAhead is told that child i of p, a leaf that begins at offset start of the file,
// is being read. From the third leaf of a sequence on it fetches the siblings after it,
// in parallel, under the ctx of this read. A Prefetcher fetches from far, at a price: it
// is told of half as much as was read in sequence, so that a reader who stops there has
// made it fetch at most half as much again.
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

// prefetchAhead is readAhead for who reads leaves as parts, the one from start to end now: it
// fetches nothing itself, and lets a Prefetcher know.
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

// notPrefetched returns the leaves between two offsets that a Prefetcher was not told of. f.mu is held.
func (f *File) notPrefetched(ctx context.Context, from, to uint64) (cids []cid.Cid) {
	if from = max(f.ahead.prefetched, from); from < to {
		cids, f.ahead.prefetched = f.upcoming(ctx, nil, f.root, 0, from, to, 0)
	}
	return cids
}

// advance takes note of the leaf that is read and returns how many of the bytes after
// it are worth having; 0: none.
func (a *readAhead) advance(start, end uint64, far bool) uint64 {
	if end == a.next {
		return 0 // the same leaf again
	}
	if start != a.next {
		a.streak, a.fetches = 0, nil // what is under way ends by itself
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

// fetchAhead begins to fetch a leaf. f.mu is held.
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

// upcoming appends the leaves below p, which begins at base, that have bytes in from to
// to, as far as inner nodes are known; one that is not is read, and ends it. It returns
// how far it came. f.mu is held.
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
		if p.node.ends[i]-p.start(i) > MaxBlock { // no leaf is so large
			f.readInner(ctx, c)
			return cids, start
		}
		cids, reached = append(cids, c), base+p.node.ends[i]
	}
	return cids, max(reached, to)
}

// readInner reads an inner node before an offset leads through it. f.mu is held.
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

// Close waits for what is being read ahead. The file must not be used afterwards.
func (f *File) Close() error {
	f.ahead.running.Wait()
	return nil
}
