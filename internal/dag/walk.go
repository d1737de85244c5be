package dag

import (
	"context"
	"errors"
	"fmt"

	"github.com/ipfs/go-cid"
)

// DefaultMaxBlocks bounds a walk that does not say how far it may go: what it has seen
// takes some 100 bytes a block.
const DefaultMaxBlocks = 64 << 20

// SkipLinks is what a visitor returns to leave out what its block links to.
//
//lint:ignore ST1012 it is no error, and named like fs.SkipDir
var SkipLinks = errors.New("skip the links of this block")

// WalkOptions says how Walk goes about it.
type WalkOptions struct {
	// Data asks for the bytes of every block. Without it, a block whose codec has no
	// links is looked for and not read.
	Data bool
	// Blind visits a block whose codec has no links without looking for it: Held is true, and nobody
	// knows.
	Blind bool
	// Missing visits blocks that are not held, instead of ending with a *NotFoundError.
	Missing bool
	// Skip leaves out a CID and what only it leads to, before it is looked for.
	Skip func(cid.Cid) bool
	// Opaque is told of each block that is held and whose links cannot be read: of an unknown codec, or with bytes that
	// are not what its codec says. What it returns is followed in place of the links. Without it the former count as
	// blocks without links, and the latter end the walk.
	// IgnoreOpaque is the one for a walk that is about blocks and not about what they link to.
	Opaque func(c cid.Cid, why error) (links []cid.Cid, err error)
	// MaxBlocks is the most blocks that are visited; 0 is DefaultMaxBlocks.
	MaxBlocks int
}

// Visited is a block on a walk.
type Visited struct {
	CID   cid.Cid
	Block Block // zero if it was not read
	Held  bool  // false only with WalkOptions.Missing
}

// Walk visits the blocks of the DAGs below roots, each CID once, a block before those
// it links to and these in the order of its bytes, depth first. Blocks of codecs that
// [Links] does not know count as blocks without links. The error is the visitor's, if
// it is not SkipLinks, or a *NotFoundError, a *FormatError or that of bs.
func Walk(ctx context.Context, bs Blocks, roots []cid.Cid, o WalkOptions, visit func(Visited) error) error {
	if o.MaxBlocks == 0 {
		o.MaxBlocks = DefaultMaxBlocks
	}
	seen := make(map[cid.Cid]struct{})
	stack := appendReversed(nil, roots, seen)
	for len(stack) > 0 {
		c := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if _, again := seen[c]; again || o.Skip != nil && o.Skip(c) {
			continue
		}
		if len(seen) == o.MaxBlocks {
			return fmt.Errorf("walk: more than %d blocks", o.MaxBlocks)
		}
		seen[c] = struct{}{}
		links, err := o.visitOne(ctx, bs, c, visit)
		if err != nil {
			return err
		}
		stack = appendReversed(stack, links, seen)
	}
	return nil
}

// visitOne visits c and returns the links to follow.
func (o WalkOptions) visitOne(ctx context.Context, bs Blocks, c cid.Cid, visit func(Visited) error) ([]cid.Cid, error) {
	v, err := o.lookUp(ctx, bs, c)
	if err != nil {
		return nil, err
	}
	if err := visit(v); err != nil {
		if err == SkipLinks {
			return nil, nil
		}
		return nil, err
	}
	switch {
	case !v.Held || IsLeaf(c.Type()):
		return nil, nil
	case !HasLinks(c.Type()):
		return o.opaque(c, unknownCodec(c))
	}
	links, err := Links(v.Block)
	var malformed *FormatError
	if o.Opaque != nil && errors.As(err, &malformed) {
		return o.Opaque(c, err)
	}
	return links, err
}

// IgnoreOpaque is a WalkOptions.Opaque that takes such a block for one without links.
func IgnoreOpaque(cid.Cid, error) ([]cid.Cid, error) { return nil, nil }

func (o WalkOptions) opaque(c cid.Cid, why error) ([]cid.Cid, error) {
	if o.Opaque == nil {
		return nil, nil
	}
	return o.Opaque(c, why)
}

func (o WalkOptions) lookUp(ctx context.Context, bs Blocks, c cid.Cid) (Visited, error) {
	if !o.Data && !HasLinks(c.Type()) && !IsIdentity(c) {
		if ctx.Err() != nil {
			return Visited{}, context.Cause(ctx)
		}
		if o.Blind {
			return Visited{CID: c, Held: true}, nil
		}
		held, err := bs.Has(ctx, c)
		if err == nil && !held && !o.Missing {
			err = &NotFoundError{c}
		}
		return Visited{CID: c, Held: held}, err
	}
	b, err := Load(ctx, bs, c)
	if err != nil && !Served(c) {
		err = &NotFoundError{c} // nothing holds it
	}
	if missing := (*NotFoundError)(nil); o.Missing && errors.As(err, &missing) {
		return Visited{CID: c}, nil
	}
	return Visited{c, b, err == nil}, err
}

// appendReversed pushes links so that the first is popped first.
func appendReversed(stack, links []cid.Cid, seen map[cid.Cid]struct{}) []cid.Cid {
	for i := len(links) - 1; i >= 0; i-- {
		if _, again := seen[links[i]]; !again {
			stack = append(stack, links[i])
		}
	}
	return stack
}
