package dag

import (
	"bytes"
	"slices"
	"testing"

	"github.com/ipfs/go-cid"
)

// TestRestList: a list of any length is read back as it was written, and a walk finds all of its links.
func TestRestList(t *testing.T) {
	for _, n := range []int{1, restList, restList + 1, 2*restList + 5} {
		links := make([]cid.Cid, n)
		for i := range links {
			links[i] = NewBlock(cid.Raw, []byte{byte(i), byte(i >> 8)}).CID()
		}
		list, err := RestList(links)
		if err != nil {
			t.Fatal(err)
		}
		bs := new(MemBlocks)
		if err := bs.Put(ctx, list...); err != nil {
			t.Fatal(err)
		}
		root := list[len(list)-1].CID()
		if got, err := RestLinks(ctx, bs, root); err != nil || !slices.Equal(got, links) {
			t.Errorf("%d links: %d, %v", n, len(got), err)
		}
		found := 0
		err = Walk(ctx, bs, []cid.Cid{root}, WalkOptions{Missing: true}, func(v Visited) error {
			if v.CID.Type() == cid.Raw {
				found++
			}
			return nil
		})
		if err != nil || found != n {
			t.Errorf("%d links: a walk found %d, %v", n, found, err)
		}
	}
	if _, err := RestList(make([]cid.Cid, restList*restList+1)); err == nil {
		t.Error("a list that is too long was accepted")
	}
}

// TestImportedRest: the rest of a CAR contains the root of each DAG that the CAR's roots do not lead to.
func TestImportedRest(t *testing.T) {
	from := new(MemBlocks)
	below, beside, leaf := put(from, cid.Raw, []byte("below")), put(from, cid.Raw, []byte("beside")), put(from, cid.Raw, []byte("leaf"))
	inner := put(from, cid.DagProtobuf, pbNode{links: linksTo(leaf)}.encode())
	top := put(from, cid.DagProtobuf, pbNode{links: linksTo(inner, below)}.encode())
	opaque := put(from, cid.GitRaw, []byte("tree"))
	root := put(from, cid.DagProtobuf, pbNode{links: linksTo(opaque, below)}.encode())
	var car bytes.Buffer
	car.Write(carHeader([]cid.Cid{root}))
	for _, c := range []cid.Cid{leaf, root, inner, opaque, beside, below, top} {
		b, err := from.Get(ctx, c)
		if err != nil {
			t.Fatal(err)
		}
		car.Write(appendSection(nil, b))
	}
	to := new(MemBlocks)
	got, err := ImportAll(ctx, &car, to)
	if err != nil || !slices.Equal(got.Roots, []cid.Cid{root}) {
		t.Fatalf("%v, %v", got.Roots, err)
	}
	if rest, err := got.Rest(ctx, to, got.Roots); err != nil || !slices.Equal(rest, []cid.Cid{beside, top}) {
		t.Errorf("%v, %v; want %v", rest, err, []cid.Cid{beside, top})
	}
}
