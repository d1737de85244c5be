package dag

import (
	"context"
	"io"

	"github.com/ipfs/go-cid"
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

// copies reports whether bs is a CopyingPutter.
func copies(bs Blocks) bool {
	_, ok := bs.(CopyingPutter)
	return ok
}

// readPart reads into p what the raw leaf at offset off holds from there on, straight from the
// set. ok is false when that cannot be done, and the leaf is to be read as a block. grow,
// which may be nil, is asked for a larger p when the rest of the leaf does not fit.
func (f *File) readPart(ctx context.Context, p []byte, off uint64, grow func(n int) []byte) (b []byte, ok bool, err error) {
	parts, can := f.bs.(PartReader)
	if !can || f.root.node == nil {
		return nil, false, nil
	}
	if ctx.Err() != nil {
		return nil, false, context.Cause(ctx)
	}
	at := f.root
	for {
		if off < uint64(len(at.data)) || at.node == nil {
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
		if IsIdentity(c) {
			return nil, false, nil
		}
		want, rel := at.node.ends[i]-start, off-start
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
