package dag

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"runtime"
	"sync"

	"github.com/ipfs/go-cid"
	"golang.org/x/sync/errgroup"

	"github.com/ipfs-liftoff/liftoff/abi"
	"github.com/ipfs-liftoff/liftoff/internal/sha256x2"
)

// AddFile adds all that r gives as one file. Chunks are hashed on all cores and put
// in order; at most a few of them are in memory.
func AddFile(ctx context.Context, bs Blocks, r io.Reader, p Profile) (Entry, error) {
	var alone sync.Mutex
	return addFile(ctx, bs, r, p, &alone)
}

// addFile adds a file; one of more than a chunk is added under large, as it takes all
// cores and a window of chunks by itself.
func addFile(ctx context.Context, bs Blocks, r io.Reader, p Profile, large *sync.Mutex) (Entry, error) {
	first, err := readFirst(r, p.ChunkSize)
	if err != nil {
		return Entry{}, err
	}
	if len(first) < p.ChunkSize {
		return addSmall(ctx, bs, first, p)
	}
	large.Lock()
	defer large.Unlock()
	return addLarge(ctx, bs, first, r, p)
}

// addSmall adds a file of one chunk.
func addSmall(ctx context.Context, bs Blocks, chunk []byte, p Profile) (Entry, error) {
	b, c, err := p.leaf(chunk)
	if err != nil {
		return Entry{}, err
	}
	if err := bs.Put(ctx, b); err != nil {
		return Entry{}, err
	}
	return Entry{CID: b.cid, Size: c.size, TSize: c.link.tsize, Kind: c.kind}, nil
}

// readFirst is readChunk for a file that may be small: it begins with a small buffer
// and leaves none that is much larger than what it holds.
func readFirst(r io.Reader, size int) ([]byte, error) {
	chunk := make([]byte, min(size, 4<<10))
	n := 0
	for {
		k, err := io.ReadFull(r, chunk[n:])
		n += k
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return bytes.Clone(chunk[:n]), nil
		}
		if err != nil || n == size {
			return chunk[:n], err
		}
		chunk = append(make([]byte, 0, min(8*n, size)), chunk...)
		chunk = chunk[:cap(chunk)]
	}
}

// readChunk fills chunk; fewer bytes mean that r has ended.
func readChunk(r io.Reader, chunk []byte) ([]byte, error) {
	n, err := io.ReadFull(r, chunk)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = nil
	}
	return chunk[:n], err
}

// pending is a leaf on its way through the hashing goroutines.
type pending struct {
	chunk []byte
	done  chan struct{} // closed when what follows is set
	block Block
	child child
	err   error
}

// maxHashers bounds the goroutines that hash one file, and with them the chunks in
// memory: four for each. More would outrun any disk.
const maxHashers = 16

func addLarge(ctx context.Context, bs Blocks, first []byte, r io.Reader, p Profile) (Entry, error) {
	workers := min(runtime.GOMAXPROCS(0), maxHashers)
	var spare chan []byte // chunks that are stored and may be used again
	if copies(bs) {
		spare = make(chan []byte, 4*workers+2)
	}
	g, gctx := errgroup.WithContext(ctx)
	work := make(chan [2]*pending)
	order := make(chan *pending, 3*workers) // bounds the chunks in memory
	for range workers {
		g.Go(func() error {
			hashLeaves(p, work)
			return nil
		})
	}
	g.Go(func() error {
		defer close(work)
		defer close(order)
		return feed(gctx, first, r, p, work, order, spare)
	})
	tree := fileTree{p: p}
	g.Go(func() error { return collect(gctx, bs, &tree, order, spare) })
	if err := g.Wait(); err != nil {
		return Entry{}, err
	}
	return tree.finish(ctx, bs)
}

// hashLeaves hashes what comes: leaves, the second of which may be nil.
func hashLeaves(p Profile, work <-chan [2]*pending) {
	for pair := range work {
		l, m := pair[0], pair[1]
		if m == nil {
			l.block, l.child, l.err = p.leaf(l.chunk)
			close(l.done)
			continue
		}
		l.block, m.block = newBlockPair(cid.Raw, l.chunk, m.chunk)
		for _, x := range pair {
			x.child = newChild(x.block, uint64(len(x.chunk)), abi.KindRaw)
			close(x.done)
		}
	}
}

// feed cuts r into chunks and sends each to be collected, in order, and to be hashed: two at once where that
// is faster.
func feed(ctx context.Context, chunk []byte, r io.Reader, p Profile, work chan<- [2]*pending, order chan<- *pending, spare <-chan []byte) error {
	var pair [2]*pending
	for len(chunk) > 0 {
		l := &pending{chunk: chunk, done: make(chan struct{})}
		select {
		case order <- l:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		last := len(chunk) < p.ChunkSize
		if !last {
			var err error
			if chunk, err = readChunk(r, chunkFor(p.ChunkSize, spare)); err != nil {
				return err
			}
			last = len(chunk) == 0
		}
		if pair[0] == nil {
			pair[0] = l
		} else {
			pair[1] = l
		}
		if pair[1] == nil && !last && p.RawLeaves && sha256x2.Fast {
			continue
		}
		select {
		case work <- pair:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		pair = [2]*pending{}
		if last {
			return nil
		}
	}
	return nil
}

// chunkFor returns memory for a chunk.
func chunkFor(size int, spare <-chan []byte) []byte {
	select {
	case chunk := <-spare:
		return chunk
	default:
		return make([]byte, size)
	}
}

// collect puts the leaves in order and builds the tree over them.
func collect(ctx context.Context, bs Blocks, tree *fileTree, order <-chan *pending, spare chan<- []byte) error {
	for {
		select {
		case l, ok := <-order:
			if !ok {
				return nil
			}
			select {
			case <-l.done:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			if l.err != nil {
				return l.err
			}
			if err := bs.Put(ctx, l.block); err != nil {
				return fmt.Errorf("store a leaf: %w", err)
			}
			if cap(l.chunk) == tree.p.ChunkSize {
				select {
				case spare <- l.chunk[:tree.p.ChunkSize]:
				default: // nobody may use it again
				}
			}
			if err := tree.add(ctx, bs, l.child); err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
