package dag

import (
	"context"
	"fmt"
	"io"
	"sort"
	"sync"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/abi"
)

// maxFileSize limits the claimed size of a file, so that offsets fit into int64.
const maxFileSize = 1 << 62

// File reads a UnixFS file, or a raw block, by offset. Inner nodes are read when an offset first leads through them,
// and cached as tables of offsets; leaves are read from the set of blocks. Methods may be called concurrently.
//
// The sizes that nodes claim are checked against each other and against the blocks: an inconsistent file is a
// *FormatError at the first wrong size, and never yields wrong bytes.
type File struct {
	bs   Blocks
	root piece

	mu    sync.Mutex
	nodes nodeCache
	last  piece // the leaf that was read last
	end   int64 // end of the last WriteRange
	ahead readAhead
}

// piece is a part of a file: a leaf, or an inner node with its table and the bytes inside it.
type piece struct {
	cid  cid.Cid
	data []byte    // a leaf's bytes, or the bytes of an inner node before its children
	node *fileNode // nil for a leaf
	// memory is the approximate cost of caching it, in bytes: the block, which contains data and whose CIDs are
	// copied, and the table.
	memory int
}

// fileNode is the table of an inner node.
type fileNode struct {
	cids []cid.Cid
	ends []uint64 // ends[i] is the end of child i, from the start of the node's bytes
}

func (p piece) size() uint64 {
	if p.node == nil || len(p.node.ends) == 0 {
		return uint64(len(p.data))
	}
	return p.node.ends[len(p.node.ends)-1]
}

// OpenFile reads the root of a file. The error is a *NotFileError if c is not a file.
func OpenFile(ctx context.Context, bs Blocks, c cid.Cid) (*File, error) {
	f := &File{bs: bs}
	root, err := loadPiece(ctx, bs, c)
	if err != nil {
		return nil, err
	}
	f.root = root
	if root.node == nil {
		f.last = root
	}
	return f, nil
}

// CID returns the file's CID.
func (f *File) CID() cid.Cid { return f.root.cid }

// Size returns the file's length in bytes.
func (f *File) Size() int64 { return int64(f.root.size()) }

// loadPiece reads a block of a file.
func loadPiece(ctx context.Context, bs Blocks, c cid.Cid) (piece, error) {
	if codec := c.Type(); codec != cid.Raw && codec != cid.DagProtobuf {
		return piece{}, &NotFileError{c, "a " + codecName(codec) + " block"}
	}
	b, err := Load(ctx, bs, c)
	if err != nil {
		return piece{}, err
	}
	return parsePiece(b)
}

func parsePiece(b Block) (piece, error) {
	if b.cid.Type() == cid.Raw {
		return piece{cid: b.cid, data: b.data}, nil
	}
	n, err := parsePB(b.data)
	if err != nil {
		return piece{}, formatErrorf(b.cid, "dag-pb: %v", err)
	}
	fs, err := parseFS(n.data)
	if err != nil {
		return piece{}, &NotFileError{b.cid, "a dag-pb block"}
	}
	if fs.typ != fsFile && fs.typ != fsRaw {
		return piece{}, &NotFileError{b.cid, fs.typ.String()}
	}
	p := piece{cid: b.cid, data: fs.data, memory: 2*len(b.data) + 64*len(n.links)}
	if len(n.links) > 0 || len(fs.blockSizes) > 0 {
		if p.node, err = fileTable(n, fs); err != nil {
			return piece{}, formatErrorf(b.cid, "%v", err)
		}
	}
	if fs.hasSize && fs.fileSize != p.size() {
		return piece{}, formatErrorf(b.cid, "claims a file of %d bytes, but its parts have %d", fs.fileSize, p.size())
	}
	return p, nil
}

func fileTable(n pbNode, fs fsNode) (*fileNode, error) {
	if len(n.links) != len(fs.blockSizes) {
		return nil, fmt.Errorf("file node has %d links, but %d block sizes", len(n.links), len(fs.blockSizes))
	}
	t := &fileNode{cids: make([]cid.Cid, len(n.links)), ends: make([]uint64, len(n.links))}
	end := uint64(len(fs.data))
	for i, l := range n.links {
		if fs.blockSizes[i] > maxFileSize-end {
			return nil, fmt.Errorf("file is larger than %d bytes", uint64(maxFileSize))
		}
		end += fs.blockSizes[i]
		t.cids[i], t.ends[i] = l.cid, end
	}
	return t, nil
}

// child returns the index of the child that contains offset off of the node.
func (t *fileNode) child(off uint64) int {
	return sort.Search(len(t.ends), func(i int) bool { return t.ends[i] > off })
}

// start returns the offset of child i.
func (p piece) start(i int) uint64 {
	if i == 0 {
		return uint64(len(p.data))
	}
	return p.node.ends[i-1]
}

// get reads child i of p, which must have the size that p claims for it.
func (f *File) get(ctx context.Context, p piece, i int) (piece, error) {
	c, want := p.node.cids[i], p.node.ends[i]-p.start(i)
	ch, err := f.load(ctx, c)
	if err != nil {
		return piece{}, childError(c, p.cid, err)
	}
	if ch.size() != want {
		return piece{}, formatErrorf(p.cid, "claims %d bytes for part %s, which has %d", want, c, ch.size())
	}
	return ch, nil
}

// childError converts a *NotFileError of a child to a *FormatError of its parent.
func childError(c, parent cid.Cid, err error) error {
	if e, ok := err.(*NotFileError); ok {
		return formatErrorf(parent, "file part %s is %s", c, e.Is)
	}
	return err
}

// load returns a piece from the caches or from the blocks.
func (f *File) load(ctx context.Context, c cid.Cid) (piece, error) {
	f.mu.Lock()
	if f.last.cid == c {
		defer f.mu.Unlock()
		return f.last, nil
	}
	if p, ok := f.nodes.get(c); ok {
		f.mu.Unlock()
		return p, nil
	}
	ready := f.ahead.take(c)
	f.mu.Unlock()

	p, err := f.wait(ctx, c, ready)
	if err != nil {
		return piece{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if p.node == nil {
		f.last = p
	} else {
		f.nodes.add(p)
	}
	return p, nil
}

// wait returns a piece that is being fetched ahead, or reads it now.
func (f *File) wait(ctx context.Context, c cid.Cid, ready *fetch) (piece, error) {
	if ready == nil {
		return loadPiece(ctx, f.bs, c)
	}
	select {
	case <-ready.done:
	case <-ctx.Done():
		return piece{}, context.Cause(ctx)
	}
	if ready.err != nil { // its own call may have been cancelled: read again
		return loadPiece(ctx, f.bs, c)
	}
	return ready.piece, nil
}

// ReadAt copies the bytes from off into p and returns how many it copied: fewer than len(p) only at the end of the
// file, with io.EOF, or with another error.
func (f *File) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("read file %s: negative offset %d", f.root.cid, off)
	}
	total := 0
	for total < len(p) {
		at := uint64(off) + uint64(total)
		if at >= f.root.size() {
			return total, io.EOF
		}
		if b, ok, err := f.readPart(ctx, p[total:], at, nil); err != nil {
			return total, err
		} else if ok {
			total += len(b)
			continue
		}
		bytes, err := f.bytesAt(ctx, at)
		if err != nil {
			return total, err
		}
		total += copy(p[total:], bytes)
	}
	return total, nil
}

// bytesAt returns the bytes from off to the end of the piece that contains it.
func (f *File) bytesAt(ctx context.Context, off uint64) ([]byte, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	p, base := f.root, off // off is relative to p, base is relative to the file
	for depth := 0; ; depth++ {
		if off < uint64(len(p.data)) {
			return p.data[off:], nil
		}
		if p.node == nil {
			return nil, formatErrorf(p.cid, "file offset %d is past the end", off)
		}
		if depth == abi.MaxDepth {
			return nil, formatErrorf(f.root.cid, "file is deeper than %d levels", abi.MaxDepth)
		}
		i := p.node.child(off)
		next, err := f.get(ctx, p, i)
		if err != nil {
			return nil, err
		}
		start := p.start(i)
		if next.node == nil {
			f.readAhead(ctx, p, i, base-off+start)
		}
		p, off = next, off-start
	}
}

// WriteTo writes the whole file to w.
func (f *File) WriteTo(ctx context.Context, w io.Writer) (int64, error) {
	return f.WriteRange(ctx, w, 0, f.Size())
}

// minStream is the length in bytes above which reading leaves concurrently with writing pays off.
const minStream = 1 << 20

// WriteRange writes the n bytes from off, or as many as there are, to w, leaf by leaf. After a seek to a small part
// of a leaf that is not in memory it reads only that part, if the set supports it: see [PartReader].
func (f *File) WriteRange(ctx context.Context, w io.Writer, off, n int64) (int64, error) {
	if off < 0 || n < 0 {
		return 0, fmt.Errorf("read file %s: negative offset %d or length %d", f.root.cid, off, n)
	}
	size := f.Size()
	off = min(off, size)
	end := off + min(n, size-off)
	if _, ok := f.bs.(PartReader); ok && f.root.node != nil && end-off > minStream {
		return f.stream(ctx, w, off, end)
	}
	at := off
	if f.isSmallSeek(off, end) {
		var err error
		if at, err = f.writeParts(ctx, w, off, end); err != nil {
			return at - off, err
		}
	}
	for at < end {
		bytes, err := f.bytesAt(ctx, uint64(at))
		if err != nil {
			return at - off, err
		}
		k, err := w.Write(bytes[:min(int64(len(bytes)), end-at)])
		at += int64(k)
		if err != nil {
			return at - off, err
		}
	}
	return end - off, nil
}
