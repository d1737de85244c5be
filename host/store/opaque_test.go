package store

import (
	"errors"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
)

// TestCollectOpaque: if links cannot be read, a collection never removes what they may lead to. It removes nothing
// until a pin lists what belongs to the block, or declares that it has no links.
func TestCollectOpaque(t *testing.T) {
	for name, make := range map[string]func(child cid.Cid) dag.Block{
		"an unknown codec": func(c cid.Cid) dag.Block { return dag.NewBlock(cid.GitRaw, c.Bytes()) },
		"malformed bytes":  func(c cid.Cid) dag.Block { return dag.NewBlock(cid.DagCBOR, append([]byte{0xff}, c.Bytes()...)) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			child, trash := raw(1, 100), raw(2, 100)
			opaque := make(child.CID())
			dir := node(opaque.CID())
			list, err := dag.RestList([]cid.Cid{child.CID()})
			must(t, err)
			rest := list[len(list)-1].CID()
			must(t, s.Put(t.Context(), child, trash, opaque, dir))
			must(t, s.Put(t.Context(), list...))
			add := func(name string, isOpaque bool, root cid.Cid, rest ...cid.Cid) {
				must(t, s.AddPin(t.Context(), Pin{Name: name, Roots: []Root{{root, true}}, Rest: rest, Opaque: isOpaque}))
			}
			root := dir.CID()

			add("mine", false, root)
			var why *OpaqueError
			if _, err := s.Collect(t.Context(), time.Now()); !errors.As(err, &why) || why.Pin != "mine" {
				t.Fatalf("error %v, want an OpaqueError of pin mine", err)
			}
			wantHere(t, s, child, trash, opaque, dir)
			c, err := s.Coverage(t.Context(), dir.CID())
			if want := uint64(len(dir.Data()) + len(opaque.Data())); err != nil || c.Exact || c.Have != want || len(c.Opaque) != 1 || c.Opaque[0] != opaque.CID() {
				t.Errorf("%+v, %v; want %d bytes or more, and the block", c, err, want)
			}

			// Another pin lists it: that suffices for all pins, in any order.
			for _, other := range []string{"a", "z"} {
				add(other, false, opaque.CID(), rest)
				collect(t, s)
				wantHere(t, s, child, opaque, dir)
				wantGone(t, s, trash)
				must(t, s.RemovePin(other))
			}
			if _, err := s.Collect(t.Context(), time.Now()); !errors.As(err, &why) {
				t.Fatalf("error %v, want an OpaqueError", err)
			}

			// An Opaque pin of a run does not stop the collection, and does not override a user's pin.
			add("job:1", true, root)
			if _, err := s.Collect(t.Context(), time.Now()); !errors.As(err, &why) || why.Pin != "mine" {
				t.Fatalf("error %v, want an OpaqueError of pin mine", err)
			}
			must(t, s.RemovePin("mine"))
			n := s.Begin()
			must(t, n.Protect(t.Context(), dir.CID()))
			collect(t, s)
			n.End()
			wantHere(t, s, opaque, dir)
			wantGone(t, s, child)
		})
	}
}
