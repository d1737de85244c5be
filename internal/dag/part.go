package dag

import (
	"context"
	"io"
	"sync"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/abi"
)

// PartReader is an optional interface of a set of blocks: reading a part of a block into the caller's memory.
type PartReader interface {
	// ReadPart copies the bytes of block c from off into p. It returns how many it copied, which is less than len(p)
	// only at the block's end, and the size of the block. A read of the whole block is checked like Get; the errors
	// are those of Get.
	ReadPart(ctx context.Context, c cid.Cid, p []byte, off int64) (n int, size int64, err error)
}

// CopyingPutter is an optional interface of a set of blocks whose Put does not retain the blocks' bytes, so that the
// caller may reuse the memory.
type CopyingPutter interface{ PutCopies() }

// ReadPart calls bs's ReadPart if it has one; otherwise it reads the whole block.
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

// maxPart is the maximum length in bytes of a range that is read without its leaf.
const maxPart = 64 << 10

// partBuffers holds buffers of maxPart bytes.
var partBuffers = sync.Pool{New: func() any { return new([maxPart]byte) }}

// isSmallSeek records that the bytes from off to end are being read, and reports whether that is a seek to a small
// part of a leaf. A reader that continues where the last read ended will need the rest of the leaf too.
func (f *File) isSmallSeek(off, end int64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	leap := off != f.end
	f.end = end
	return leap && end-off <= maxPart
}

// writeParts writes the bytes from off to end to w like WriteRange, but without reading whole leaves if the set can
// read parts. It returns the offset of the first byte that must be read with its leaf.
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

// readPart reads the bytes of the raw leaf at offset off, from off on, directly from the set into p. ok is false if
// that is not possible and the leaf must be read as a block. grow, which may be nil, returns a larger p if the rest
// of the leaf does not fit; it is set by callers that read on after it.
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
			err = formatErrorf(at.cid, "claims %d bytes for part %s, which has %d", want, c, size)
		}
		if err != nil {
			return nil, false, err
		}
		return p, true, nil
	}
}

// holds reports whether leaf c is in memory or being fetched.
func (f *File) holds(c cid.Cid) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last.cid == c || f.ahead.fetches[c] != nil
}

// stream writes the bytes from off to end, which span several leaves, to w.
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

// leafAt returns the bytes from off to the end of its leaf, in buf or a larger buffer.
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
