package dag

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"sync"

	"github.com/ipfs/go-cid"
	"golang.org/x/sync/errgroup"

	"github.com/ipfs-liftoff/liftoff/abi"
)

// maxHashers limits the goroutines that hash one stream, and with them the memory it uses. More would be faster than
// any disk.
const maxHashers = 16

// assembly is a file that several goroutines add. Each reads a pair of chunks, hashes it and, if the set allows it,
// puts it, while the bytes are in its core's cache. Then the leaves are brought into order.
type assembly struct {
	bs       Blocks
	p        Profile
	anyOrder bool          // leaves are put by the goroutine that hashed them
	reuse    bool          // memory of chunks that were put may be reused
	spare    sync.Pool     // reusable chunks, *[]byte: each core gets its own, still in its cache
	slots    chan struct{} // one is taken for each pair in progress

	reading sync.Mutex // guards the fields up to taken
	first   []byte     // a chunk that was read before
	r       io.Reader
	ended   bool
	taken   int // number of pairs

	joining sync.Mutex // guards the fields below
	tree    fileTree
	ready   map[int][]leaf // pairs that wait for an earlier one
	joined  int            // number of pairs
}

// leaf is a chunk with its block.
type leaf struct {
	chunk []byte // nil: it was put
	block Block
	child child
}

// pair is two consecutive chunks; the second is empty if the file has ended.
type pair struct {
	number int
	chunks [2][]byte
}

func addLarge(ctx context.Context, bs Blocks, first []byte, r io.Reader, p Profile, anyOrder bool) (Entry, error) {
	workers := min(runtime.GOMAXPROCS(0), maxHashers) + 2 // one may be reading, and one writing
	a := &assembly{
		bs: bs, p: p, anyOrder: anyOrder, reuse: copiesOnPut(bs), slots: make(chan struct{}, 2*workers),
		first: first, r: r, tree: fileTree{p: p}, ready: map[int][]leaf{},
	}
	g, gctx := errgroup.WithContext(ctx)
	for range workers {
		g.Go(func() error { return a.work(gctx) })
	}
	if err := g.Wait(); err != nil {
		return Entry{}, err
	}
	return a.tree.finish(ctx, bs)
}

// work adds pairs until the file ends.
func (a *assembly) work(ctx context.Context) error {
	for {
		select {
		case a.slots <- struct{}{}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		p, err := a.take(ctx)
		if err != nil || len(p.chunks[0]) == 0 {
			return err
		}
		leaves, err := a.hash(p)
		if err == nil && a.anyOrder {
			err = a.put(ctx, leaves)
		}
		if err == nil {
			err = a.join(ctx, p.number, leaves)
		}
		if err != nil {
			return err
		}
	}
}

// take reads the next pair, which is empty at the end.
func (a *assembly) take(ctx context.Context) (p pair, err error) {
	a.reading.Lock()
	defer a.reading.Unlock()
	p.number = a.taken
	for i := range p.chunks {
		if a.ended {
			break
		}
		if ctx.Err() != nil {
			return pair{}, context.Cause(ctx)
		}
		if a.first != nil {
			p.chunks[i], a.first = a.first, nil
			continue
		}
		if p.chunks[i], err = readChunk(a.r, a.memory()); err != nil {
			return pair{}, err
		}
		a.ended = len(p.chunks[i]) < a.p.ChunkSize
	}
	a.taken++
	return p, nil
}

// memory returns a buffer for a chunk.
func (a *assembly) memory() []byte {
	if b, ok := a.spare.Get().(*[]byte); ok {
		return *b
	}
	return make([]byte, a.p.ChunkSize)
}

// hash makes the leaves of p.
func (a *assembly) hash(p pair) (leaves []leaf, err error) {
	if x, y := p.chunks[0], p.chunks[1]; a.p.RawLeaves && len(x) == len(y) {
		b, c := newBlockPair(cid.Raw, x, y)
		return []leaf{{x, b, newChild(b, uint64(len(x)), abi.KindRaw)}, {y, c, newChild(c, uint64(len(y)), abi.KindRaw)}}, nil
	}
	for _, chunk := range p.chunks {
		if len(chunk) == 0 {
			break
		}
		l := leaf{chunk: chunk}
		if l.block, l.child, err = a.p.leaf(chunk); err != nil {
			return nil, err
		}
		leaves = append(leaves, l)
	}
	return leaves, nil
}

// put puts leaves, whose bytes are not used afterwards.
func (a *assembly) put(ctx context.Context, leaves []leaf) error {
	for i := range leaves {
		l := &leaves[i]
		if err := a.bs.Put(ctx, l.block); err != nil {
			return fmt.Errorf("store a leaf block of a file: %w", err)
		}
		if a.reuse {
			b := l.chunk[:a.p.ChunkSize]
			a.spare.Put(&b)
		}
		l.chunk, l.block = nil, Block{}
	}
	return nil
}

// join adds the consecutive leaves that are ready to the tree.
func (a *assembly) join(ctx context.Context, number int, leaves []leaf) error {
	a.joining.Lock()
	defer a.joining.Unlock()
	a.ready[number] = leaves
	for {
		next, ok := a.ready[a.joined]
		if !ok {
			return nil
		}
		delete(a.ready, a.joined)
		if !a.anyOrder {
			if err := a.put(ctx, next); err != nil {
				return err
			}
		}
		for _, l := range next {
			if err := a.tree.add(ctx, a.bs, l.child); err != nil {
				return err
			}
		}
		a.joined++
		<-a.slots
	}
}
