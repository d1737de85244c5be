//go:build !windows

package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/node"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

// imported is a CAR whose blocks are stored.
type imported struct {
	dag.Imported
	opaque map[cid.Cid][]cid.Cid // by root, the blocks below it whose links cannot be read
}

// found returns a function that records a block below root whose links cannot be read.
func (i imported) found(root cid.Cid) func(cid.Cid) {
	return func(c cid.Cid) { i.opaque[root] = append(i.opaque[root], c) }
}

// opaqueBelow calls found for each block below root whose links cannot be read, including malformed blocks.
func opaqueBelow(ctx context.Context, blocks dag.Blocks, root cid.Cid, found func(cid.Cid)) error {
	o := dag.WalkOptions{Missing: true, Opaque: func(c cid.Cid, _ error) ([]cid.Cid, error) {
		found(c)
		return nil, nil
	}}
	return dag.Walk(ctx, blocks, []cid.Cid{root}, o, func(dag.Visited) error { return nil })
}

// putRest stores the list of the CAR's blocks outside its DAGs, if the DAGs have opaque blocks, and returns its root.
func (i imported) putRest(ctx context.Context, blocks dag.Blocks) (cid.Cid, error) {
	if len(i.opaque) == 0 {
		return cid.Undef, nil
	}
	rest, err := i.Rest(ctx, blocks, i.Roots)
	if err != nil || len(rest) == 0 {
		return cid.Undef, err
	}
	list, err := dag.RestList(rest)
	if err != nil {
		return cid.Undef, err
	}
	return list[len(list)-1].CID(), blocks.Put(ctx, list...)
}

// complete adds the rest of the CAR to a pin of its roots. When the CAR has no other blocks, its opaque blocks link to
// nothing that could be kept.
func (i imported) complete(ctx context.Context, s *node.Session, pin *api.Pin, rest cid.Cid) error {
	if !slices.ContainsFunc(pin.Roots, func(r api.Root) bool { return len(i.opaque[r.CID]) > 0 }) {
		return nil
	}
	if err := inheritRest(ctx, s, pin); err != nil {
		return err
	}
	if rest.Defined() && !slices.Contains(pin.Rest, rest) {
		pin.Rest = append(pin.Rest, rest)
	}
	pin.Opaque = len(pin.Rest) == 0
	return nil
}

// inheritRest adds to a pin the rest of other pins that have one of its roots.
func inheritRest(ctx context.Context, s *node.Session, pin *api.Pin) error {
	pins, err := s.Pins.Pins(ctx)
	for _, other := range pins {
		if !slices.ContainsFunc(pin.Roots, func(r api.Root) bool { return hasRoot(other, r.CID) }) {
			continue
		}
		for _, c := range other.Rest {
			if !slices.Contains(pin.Rest, c) {
				pin.Rest = append(pin.Rest, c)
			}
		}
	}
	return err
}

// hasRoot reports whether pin keeps c and all below it.
func hasRoot(pin api.Pin, c cid.Cid) bool {
	return slices.ContainsFunc(pin.Roots, func(r api.Root) bool { return r.CID == c && r.Recursive })
}

// textOf returns CIDs as text.
func textOf(cids []cid.Cid) (all []string) {
	for _, c := range cids {
		all = append(all, c.String())
	}
	return all
}

// maxNamed bounds the blocks that warnings name.
const maxNamed = 10

// warnOpaque warns about the blocks below root whose links cannot be read.
func (p *process) warnOpaque(root cid.Cid, opaque []cid.Cid) {
	for i, c := range opaque {
		if i == maxNamed {
			p.warn("%s: the links of %d more blocks cannot be read", root, len(opaque)-maxNamed)
			break
		}
		p.warn("%s: the links of block %s (%s) cannot be read", root, c, codecName(c.Type()))
	}
}

// follower finds, for an export, the blocks that belong to blocks whose links cannot be read.
type follower struct {
	p      *process
	s      *node.Session
	roots  []cid.Cid
	blocks dag.Blocks
	accept bool // such blocks may be written alone

	pins  []api.Pin           // nil: not read yet
	owner map[cid.Cid]cid.Cid // by list, the block after which it is followed: the same one in every walk of the DAGs
}

// links returns the links that are followed instead of those of block c.
func (f *follower) links(ctx context.Context, c cid.Cid, why error) (links []cid.Cid, err error) {
	if f.accept {
		f.p.warn("block %s is written without the blocks that it links to: %v", c, why)
		return nil, nil
	}
	if f.pins == nil {
		if f.pins, err = f.s.Pins.Pins(ctx); err != nil {
			return nil, err
		}
		f.owner = map[cid.Cid]cid.Cid{}
	}
	known := false
	for _, pin := range f.pins {
		if !hasRoot(pin, c) && !slices.ContainsFunc(f.roots, func(root cid.Cid) bool { return hasRoot(pin, root) }) {
			continue
		}
		known = known || pin.Opaque
		for _, list := range pin.Rest {
			known = true
			if owner, ok := f.owner[list]; ok && owner != c {
				continue
			}
			f.owner[list] = c
			some, err := dag.RestLinks(ctx, f.blocks, list)
			if err != nil {
				return nil, err
			}
			links = append(links, some...)
		}
	}
	if !known {
		return nil, hinted(fmt.Errorf("the links of block %s cannot be read, and no pin keeps the blocks that they lead to: %w", c, why),
			"liftoff car import the CAR that it came in, or use --opaque to write the block alone")
	}
	return links, nil
}
