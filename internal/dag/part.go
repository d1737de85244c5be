package dag

import (
	"context"
	"io"
	"sync"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/abi"
)

// PartReader is what a set of blocks may offer besides: bytes of a block into the caller's memory.
type PartReader interface {
	// ReadPart copies the bytes of block c from off into p and returns how many, with the size of
	// the whole block: fewer than there is room for only at the block's end. A block that
	// is read whole is checked as by Get; the errors are Get's.
	ReadPart(ctx context.Context, c cid.Cid, p []byte, off int64) (n int, size int64, err error)
}

// CopyingPutter is what a set of blocks may be besides: one whose Put keeps no bytes of the
// blocks, so that whoever has put them may use the memory again.
type CopyingPutter interface{ PutCopies() }

// ReadPart is bs's ReadPart where it has one; else it reads the whole block.
func ReadPart(ctx context.Context, bs Blocks, c cid.Cid, p []byte, off int64) (n int, size int64, err error) {
	if parts, ok := bs.(PartReader); ok {
		return parts.ReadPart(ctx, c, p, off)
	}
	b, err := bs.Get(ctx, c)
	if err != nil {
		return 0, 0, err
	}
	return copy(p, b.Data()[min(off, int64(len(b.Data()))):]), int64(len(b.Data())), nil
}

// maxPart is the longest range in bytes that is read without the leaf that it lies in.
const maxPart = 64 << 10

// partBuffers keeps buffers of maxPart bytes.
var partBuffers = sync.Pool{New: func() any { return new([maxPart]byte) }}

// isSmallSeek takes note that the bytes from off to end are being read, and reports whether that
// is a leap to a small part of a leaf. Who goes on where the last read ended will want the
// rest of the leaf, too.
func (f *File) isSmallSeek(off, end int64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	leap := off != f.end
	f.end = end
	return leap && end-off <= maxPart
}

// writeParts writes the bytes from off to end to w as WriteRange does, without the leaves
// around them as far as the set can. It returns how far it came before the first byte that
// has to be read with its leaf.
func (f *File) writeParts(ctx context.Context, w io.Writer, off, end int64) (at int64, err error) {
	buf := partBuffers.Get().(*[maxPart]byte)
	defer partBuffers.Put(buf)
	for at = off; at < end; {
		b, ok, err := f.readPart(ctx, buf[:end-at], uint64(at), nil)
		if err != nil || !ok {
			return at, err
		}
		k, err := w.Write(b)
		at += int64(k)
		if err != nil {
			return at, err
		}
	}
	return at, nil
}

// copiesOnPut reports whether bs is a CopyingPutter.
func copiesOnPut(bs Blocks) bool {
	_, ok := bs.(CopyingPutter)
	return ok
}

// readPart reads into p what the raw leaf at offset off holds from there on, straight from the
// set. ok is false when that cannot be done, and the leaf is to be read as a block. grow,
// which may be nil, is asked for a larger p when the rest of the leaf does not fit: by who
// will read on behind it.
func (f *File) readPart(ctx context.Context, p []byte, off uint64, grow func(n int) []byte) (b []byte, ok bool, err error) {
	parts, can := f.bs.(PartReader)
	if !can || f.root.node == nil {
		return nil, false, nil
	}
	if ctx.Err() != nil {
		return nil, false, context.Cause(ctx)
	}
	at, whole := f.root, off
	for depth := 0; ; depth++ {
		if off < uint64(len(at.data)) || at.node == nil || depth == abi.MaxDepth {
			return nil, false, nil
		}
		i := at.node.child(off)
		if i == len(at.node.cids) {
			return nil, false, nil
		}
		c, start := at.node.cids[i], at.start(i)
		if c.Type() != cid.Raw {
			next, err := f.get(ctx, at, i)
			if err != nil {
				return nil, false, err
			}
			at, off = next, off-start
			continue
		}
		want, rel := at.node.ends[i]-start, off-start
		if IsIdentity(c) || !Served(c) || want > MaxBlock || f.holds(c) {
			return nil, false, nil
		}
		if grow != nil {
			f.prefetchAhead(ctx, whole-rel, whole-rel+want)
		}
		if rest := want - rel; uint64(len(p)) < rest && grow != nil && rest <= MaxBlock {
			p = grow(int(rest))
		}
		p = p[:min(uint64(len(p)), want-rel)]
		n, size, err := parts.ReadPart(ctx, c, p, int64(rel))
		if err == nil && (uint64(size) != want || n != len(p)) {
			err = formatErrorf(at.cid, "it claims %d bytes for its part %s, which has %d", want, c, size)
		}
		if err != nil {
			return nil, false, err
		}
		return p, true, nil
	}
}

// holds reports whether leaf c is in memory, or on its way there.
func (f *File) holds(c cid.Cid) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last.cid == c || f.ahead.fetches[c] != nil
}

// stream writes the bytes from off to end, which lie in several leaves, to w.
func (f *File) stream(ctx context.Context, w io.Writer, off, end int64) (int64, error) {
	return overlap(ctx, w, func(ctx context.Context, emit func(func([]byte) ([]byte, error)) error) error {
		for at := off; at < end; {
			err := emit(func(buf []byte) ([]byte, error) {
				b, err := f.leafAt(ctx, buf[:cap(buf)], uint64(at))
				if err != nil {
					return nil, err
				}
				b = b[:min(int64(len(b)), end-at)]
				at += int64(len(b))
				return b, nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// leafAt returns the bytes from off to the end of the leaf that holds it, in buf or a larger buffer.
func (f *File) leafAt(ctx context.Context, buf []byte, off uint64) ([]byte, error) {
	b, ok, err := f.readPart(ctx, buf, off, func(n int) []byte { return make([]byte, n) })
	if ok || err != nil {
		return b, err
	}
	if b, err = f.bytesAt(ctx, off); err != nil {
		return nil, err
	}
	return append(buf[:0], b...), nil
}
