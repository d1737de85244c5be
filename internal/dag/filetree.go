package dag

import (
	"context"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/abi"
)

// child is a leaf or an inner node of a file, as seen by its parent.
type child struct {
	link pbLink
	size uint64 // bytes of the file below it
	kind int
}

// leaf makes the block of one chunk of a file. It may be called concurrently.
func (p Profile) leaf(chunk []byte) (Block, child, error) {
	if p.RawLeaves {
		b := NewBlock(cid.Raw, chunk)
		return b, newChild(b, uint64(len(chunk)), abi.KindRaw), nil
	}
	n := fsNode{typ: fsFile, fileSize: uint64(len(chunk)), hasSize: true}
	if len(chunk) > 0 {
		n.data = chunk
	}
	b, err := p.node(n.encodeAlone())
	return b, newChild(b, uint64(len(chunk)), abi.KindFile), err
}

func newChild(b Block, size uint64, kind int) child {
	return child{pbLink{cid: b.cid, tsize: uint64(len(b.data))}, size, kind}
}

// fileTree builds the balanced tree of a file from its leaves, bottom up: each level holds the children of one
// incomplete node, so memory is depth x width.
type fileTree struct {
	p      Profile
	levels [][]child
}

// add appends a leaf and puts each inner node that is complete.
func (t *fileTree) add(ctx context.Context, bs Blocks, c child) error { return t.addAt(ctx, bs, 0, c) }

func (t *fileTree) addAt(ctx context.Context, bs Blocks, level int, c child) error {
	if level == len(t.levels) {
		t.levels = append(t.levels, nil)
	}
	if len(t.levels[level]) == t.p.FileWidth { // closed only now: the last node of a level may be the root
		if err := t.close(ctx, bs, level); err != nil {
			return err
		}
	}
	t.levels[level] = append(t.levels[level], c)
	return nil
}

// close makes a node of the children in level and adds it to the level above.
func (t *fileTree) close(ctx context.Context, bs Blocks, level int) error {
	c, err := t.node(ctx, bs, t.levels[level])
	if err != nil {
		return err
	}
	t.levels[level] = t.levels[level][:0]
	return t.addAt(ctx, bs, level+1, c)
}

func (t *fileTree) node(ctx context.Context, bs Blocks, children []child) (child, error) {
	fs := fsNode{typ: fsFile, hasSize: true, blockSizes: make([]uint64, len(children))}
	n := pbNode{links: make([]pbLink, len(children))}
	below := uint64(0)
	for i, c := range children {
		n.links[i] = c.link
		fs.blockSizes[i] = c.size
		fs.fileSize += c.size
		below += c.link.tsize
	}
	n.data = fs.encode()
	b, err := t.p.node(n.encode())
	if err != nil {
		return child{}, err
	}
	if err := bs.Put(ctx, b); err != nil {
		return child{}, err
	}
	c := newChild(b, fs.fileSize, abi.KindFile)
	c.link.tsize += below
	return c, nil
}

// finish closes every level and returns the root. It needs at least one leaf.
func (t *fileTree) finish(ctx context.Context, bs Blocks) (Entry, error) {
	for level := 0; ; level++ {
		top := level == len(t.levels)-1
		if top && len(t.levels[level]) == 1 {
			root := t.levels[level][0]
			return Entry{CID: root.link.cid, Size: root.size, TSize: root.link.tsize, Kind: root.kind}, nil
		}
		if err := t.close(ctx, bs, level); err != nil {
			return Entry{}, err
		}
	}
}
