package dag

import (
	"context"
	"errors"
	"fmt"

	"github.com/ipfs/go-cid"
)

// DefaultMaxBlocks limits a walk without a limit of its own: the set of visited blocks takes about 100 bytes per
// block.
const DefaultMaxBlocks = 64 << 20

// SkipLinks is returned by a visitor to skip the links of its block.
//
//lint:ignore ST1012 not an error, named like fs.SkipDir
var SkipLinks = errors.New("skip the links of this block")

// WalkOptions configures Walk.
type WalkOptions struct {
	// Data requests the bytes of every block. Without it, a block whose codec has no links is looked up, but not
	// read.
	Data bool
	// Blind visits a block whose codec has no links without looking it up: Held is true, but not checked.
	Blind bool
	// Missing visits missing blocks instead of ending with a *NotFoundError.
	Missing bool
	// Skip skips a CID and what is reachable only through it, before it is looked up.
	Skip func(cid.Cid) bool
	// Opaque is called for each present block whose links cannot be read: its codec is unknown, or its bytes are not
	// valid for the codec. The walk follows the returned links instead. Without Opaque, a block of unknown codec
	// counts as one without links, and a malformed one ends the walk. IgnoreOpaque is for walks that need the blocks,
	// but not all links.
	Opaque func(c cid.Cid, why error) (links []cid.Cid, err error)
	// MaxBlocks is the maximum number of visited blocks; 0 means DefaultMaxBlocks.
	MaxBlocks int
}

// Visited is a block on a walk.
type Visited struct {
	CID   cid.Cid
	Block Block // zero if it was not read
	Held  bool  // false only with WalkOptions.Missing
}

// Walk visits the blocks of the DAGs below roots, each CID once, depth first: a block comes before its links, and
// these in byte order. Blocks of codecs that [Links] does not support count as blocks without links. The error is the
// visitor's, unless it is SkipLinks, or a *NotFoundError, a *FormatError or that of bs.
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
			return fmt.Errorf("walk DAG: more than %d blocks", o.MaxBlocks)
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

// IgnoreOpaque is a WalkOptions.Opaque that treats such a block as one without links.
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
		err = &NotFoundError{c} // no set has it
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
