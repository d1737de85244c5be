package dag

import (
	"context"
	"errors"

	"github.com/ipfs/go-cid"
)

// Sizer is an optional interface of a set of blocks: the size of a block without its bytes. The error is a
// *NotFoundError if the set does not have it.
type Sizer interface {
	Size(ctx context.Context, c cid.Cid) (int64, error)
}

// Extent is the size of a DAG.
type Extent struct {
	Blocks  int64 // distinct blocks, including missing ones
	Bytes   int64 // size of the present blocks; sizes of leaves come from Sizer, otherwise from their parents or, for a root, from its bytes
	Missing int64 // linked blocks that are missing; the blocks below them are not counted
	Opaque  int64 // blocks whose links cannot be read; the blocks below them are not counted
	Exact   bool  // false: the counts are lower bounds, because ctx ended the count or blocks are missing or opaque
}

// Count counts the blocks below root and their bytes. It reads only root and blocks that can have links. If ctx ends first, it
// returns the counts so far, with Exact false and no error.
func Count(ctx context.Context, bs Blocks, root cid.Cid) (Extent, error) {
	e := Extent{Exact: true}
	sizes := leafSizes{bs: bs, root: root}
	opaque := func(cid.Cid, error) ([]cid.Cid, error) {
		e.Opaque++
		e.Exact = false
		return nil, nil
	}
	err := Walk(ctx, bs, []cid.Cid{root}, WalkOptions{Missing: true, Opaque: opaque}, func(v Visited) error {
		e.Blocks++
		if !v.Held {
			e.Missing++
			e.Exact = false
			return nil
		}
		size, ok, err := sizes.of(ctx, v)
		e.Bytes += size
		e.Exact = e.Exact && ok
		return err
	})
	if err != nil && ctx.Err() != nil {
		e.Exact = false
		return e, nil
	}
	return e, err
}

// leafSizes finds the sizes of visited blocks that were not read.
type leafSizes struct {
	bs     Blocks
	root   cid.Cid           // of the DAG
	claims map[cid.Cid]int64 // sizes of raw leaves as claimed by a parent, until they are visited
}

// of returns the size of v; ok is false if it is unknown.
func (l *leafSizes) of(ctx context.Context, v Visited) (size int64, ok bool, err error) {
	if v.Block.CID().Defined() {
		l.note(v.Block)
		return int64(len(v.Block.Data())), true, nil
	}
	if s, can := l.bs.(Sizer); can {
		size, err := s.Size(ctx, v.CID)
		if missing := (*NotFoundError)(nil); errors.As(err, &missing) {
			return 0, false, nil // removed since the lookup
		}
		return size, err == nil, err
	}
	if v.CID == l.root { // no parent claims its size
		b, err := Load(ctx, l.bs, v.CID)
		if missing := (*NotFoundError)(nil); errors.As(err, &missing) {
			return 0, false, nil // removed since the lookup
		}
		return int64(len(b.Data())), err == nil, err
	}
	size, ok = l.claims[v.CID]
	delete(l.claims, v.CID)
	return size, ok, nil
}

// note records the sizes that a dag-pb block claims for its raw links.
func (l *leafSizes) note(b Block) {
	if _, can := l.bs.(Sizer); can || b.cid.Type() != cid.DagProtobuf {
		return
	}
	n, err := parsePB(b.data)
	if err != nil {
		return
	}
	if l.claims == nil {
		l.claims = make(map[cid.Cid]int64)
	}
	for _, link := range n.links {
		if link.cid.Type() == cid.Raw && link.tsize <= MaxBlock {
			l.claims[link.cid] = int64(link.tsize)
		}
	}
}
