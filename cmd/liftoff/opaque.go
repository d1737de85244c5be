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

// imported is a CAR whose blocks are here.
type imported struct {
	dag.Imported
	opaque map[cid.Cid][]cid.Cid // by root, the blocks below it whose links cannot be read
}

// found returns what takes note of blocks below root.
func (i imported) found(root cid.Cid) func(cid.Cid) {
	return func(c cid.Cid) { i.opaque[root] = append(i.opaque[root], c) }
}

// opaqueBelow calls found with the blocks below root whose links cannot be read, malformed ones among them.
func opaqueBelow(ctx context.Context, blocks dag.Blocks, root cid.Cid, found func(cid.Cid)) error {
	o := dag.WalkOptions{Missing: true, Opaque: func(c cid.Cid, _ error) ([]cid.Cid, error) {
		found(c)
		return nil, nil
	}}
	return dag.Walk(ctx, blocks, []cid.Cid{root}, o, func(dag.Visited) error { return nil })
}

// putRest puts the list of what the CAR held beside its DAGs, if links in these cannot be read, and returns its root.
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

// complete has a pin of the CAR keep its rest. When the CAR held nothing else, its opaque blocks have nothing else
// below them that could be kept.
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

// inheritRest gives a pin what other pins of one of its roots know to belong to it.
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

// maxNamed is how many blocks a warning names.
const maxNamed = 10

// warnOpaque names the blocks below root whose links cannot be read.
func (p *process) warnOpaque(root cid.Cid, opaque []cid.Cid) {
	for i, c := range opaque {
		if i == maxNamed {
			p.warn("%s: and the links of %d more blocks", root, len(opaque)-maxNamed)
			break
		}
		p.warn("%s: the links of block %s (%s) cannot be read", root, c, codecName(c.Type()))
	}
}

// follower finds what belongs to blocks whose links cannot be read, for an export.
type follower struct {
	p      *process
	s      *node.Session
	roots  []cid.Cid
	blocks dag.Blocks
	accept bool // such blocks may be written alone

	pins  []api.Pin           // nil: not read yet
	owner map[cid.Cid]cid.Cid // the block in whose place a list is followed: the same one each time that the DAGs are walked
}

// links returns what is followed in place of the links of block c.
func (f *follower) links(ctx context.Context, c cid.Cid, why error) (links []cid.Cid, err error) {
	if f.accept {
		f.p.warn("block %s is written without what it links to: %v", c, why)
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
		return nil, hinted(fmt.Errorf("what block %s links to cannot be told, and no pin keeps it: %w", c, why),
			"import the CAR that it came in, or write it alone with --opaque")
	}
	return links, nil
}
