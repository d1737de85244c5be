package dag

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/ipfs/go-cid"
)

// diamond is a DAG in which every block is reachable in two ways: dag-cbor over dag-pb over raw.
func diamond(t testing.TB, bs Blocks) (root cid.Cid, order []cid.Cid) {
	x, y := put(bs, cid.Raw, []byte("x")), put(bs, cid.Raw, []byte("yy"))
	left := putFS(bs, fsFileNode(nil, 1, 2), pbLink{cid: x, tsize: 1}, pbLink{cid: y, tsize: 2})
	right := putFS(bs, fsFileNode(nil, 2, 1), pbLink{cid: y, tsize: 2}, pbLink{cid: x, tsize: 1})
	root = put(bs, cid.DagCBOR, exampleCBOR(t, left, right))
	return root, []cid.Cid{root, left, x, y, right}
}

func TestWalkOrder(t *testing.T) {
	bs := new(watchBlocks)
	root, want := diamond(t, bs)
	for _, data := range []bool{false, true} {
		var got []cid.Cid
		bs.gets = nil
		err := Walk(ctx, bs, cids(root, root), WalkOptions{Data: data}, func(v Visited) error {
			got = append(got, v.CID)
			if !v.Held || v.Block.CID().Defined() != (data || v.CID.Type() != cid.Raw) {
				t.Errorf("%s: held %t, read %t", v.CID, v.Held, v.Block.CID().Defined())
			}
			return nil
		})
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%v, %v; want %v", got, err, want)
		}
		if reads := len(bs.gets); reads != map[bool]int{false: 3, true: 5}[data] {
			t.Errorf("with data %t %d blocks were read", data, reads)
		}
	}
}

func TestWalkOptions(t *testing.T) {
	bs := new(MemBlocks)
	root, order := diamond(t, bs)
	collect := func(o WalkOptions, stop cid.Cid, with error) (got []cid.Cid, missing int, err error) {
		err = Walk(ctx, bs, cids(root), o, func(v Visited) error {
			got = append(got, v.CID)
			if !v.Held {
				missing++
			}
			if v.CID == stop {
				return with
			}
			return nil
		})
		return got, missing, err
	}
	left, x, y, right := order[1], order[2], order[3], order[4]
	if got, _, err := collect(WalkOptions{}, left, SkipLinks); err != nil || !slices.Equal(got, cids(root, left, right, y, x)) {
		t.Errorf("SkipLinks: %v, %v", got, err)
	}
	if got, _, err := collect(WalkOptions{Skip: left.Equals}, cid.Undef, nil); err != nil || !slices.Equal(got, cids(root, right, y, x)) {
		t.Errorf("Skip: %v, %v", got, err)
	}
	stop := errors.New("stop")
	if got, _, err := collect(WalkOptions{}, x, stop); err != stop || len(got) != 3 {
		t.Errorf("error of the visitor: %v, %v", got, err)
	}
	if _, _, err := collect(WalkOptions{MaxBlocks: 4}, cid.Undef, nil); err == nil {
		t.Error("visited five blocks, but MaxBlocks is four")
	}
	bs.Delete(y)
	bs.Delete(right)
	var notFound *NotFoundError
	if _, _, err := collect(WalkOptions{}, cid.Undef, nil); !errors.As(err, &notFound) || notFound.CID != y {
		t.Errorf("a missing block: %v", err)
	}
	if got, missing, err := collect(WalkOptions{Missing: true}, cid.Undef, nil); err != nil || missing != 2 || len(got) != 5 {
		t.Errorf("Missing: %v, %d, %v", got, missing, err)
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if err := Walk(cancelled, bs, cids(root), WalkOptions{}, func(Visited) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	bad := put(bs, cid.DagCBOR, []byte{0xff})
	var malformed *FormatError
	if err := Walk(ctx, bs, cids(bad), WalkOptions{}, func(Visited) error { return nil }); !errors.As(err, &malformed) {
		t.Errorf("malformed: %v", err)
	}
	if err := Walk(ctx, bs, cids(bad), WalkOptions{Opaque: IgnoreOpaque}, func(Visited) error { return nil }); err != nil {
		t.Errorf("malformed, with Opaque: %v", err)
	}
	exotic := put(bs, cid.GitRaw, []byte("blob"))
	if err := Walk(ctx, bs, cids(exotic, identityCID(5)), WalkOptions{}, func(Visited) error { return nil }); err != nil {
		t.Errorf("an unknown codec and an identity: %v", err)
	}
}

// noSizes hides MemBlocks.Size.
type noSizes struct{ Blocks }

func TestCount(t *testing.T) {
	bs := new(MemBlocks)
	root, order := diamond(t, bs)
	n, bytes := bs.Len()
	for _, set := range []Blocks{bs, noSizes{bs}} {
		if e, err := Count(ctx, set, root); err != nil || e != (Extent{Blocks: int64(n), Bytes: bytes, Exact: true}) {
			t.Errorf("%+v, %v; want %d blocks of %d bytes", e, err, n, bytes)
		}
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if e, err := Count(cancelled, bs, root); err != nil || e.Exact {
		t.Errorf("cancelled: %+v, %v", e, err)
	}
	bs.Delete(order[3])
	if e, err := Count(ctx, bs, root); err != nil || e != (Extent{Blocks: int64(n), Bytes: bytes - 2, Missing: 1}) {
		t.Errorf("with one block missing: %+v, %v", e, err)
	}
	leaf := NewBlock(cid.Raw, []byte("hello\n"))
	if err := bs.Put(ctx, leaf); err != nil {
		t.Fatal(err)
	}
	if e, err := Count(ctx, noSizes{bs}, leaf.CID()); err != nil || e != (Extent{Blocks: 1, Bytes: 6, Exact: true}) {
		t.Errorf("root that is a leaf: %+v, %v; want 1 block of 6 bytes", e, err)
	}
	if e, err := Count(ctx, noSizes{bs}, put(bs, cid.DagCBOR, cborBlock(t, must(Decode(NewBlock(cid.DagCBOR, exampleCBOR(t, order[2], order[2])))), nil))); err != nil || e.Exact {
		t.Errorf("leaf of unknown size: %+v, %v", e, err)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestCountReadsNoLeaves: a walk over a file reads only its inner nodes.
func TestCountReadsNoLeaves(t *testing.T) {
	bs := new(watchBlocks)
	p := UnixFSv1
	p.ChunkSize, p.FileWidth = 100, 10
	e, err := AddFile(ctx, bs, bytes.NewReader(noise(10000)), p)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Count(ctx, noSizes{bs}, e.CID)
	if err != nil || !got.Exact || uint64(got.Bytes) != e.TSize || got.Blocks != 111 || len(bs.gets) != 11 {
		t.Errorf("%+v (%d reads), %v; want %d bytes", got, len(bs.gets), err, e.TSize)
	}
}

// TestWalkDeep: a walk of a deep DAG does not recurse.
func TestWalkDeep(t *testing.T) {
	bs := new(MemBlocks)
	c := put(bs, cid.Raw, nil)
	for range 100000 {
		link := append([]byte{0xd8, 42, 0x58, 37, 0}, c.Bytes()...)
		c = put(bs, cid.DagCBOR, link)
	}
	e, err := Count(ctx, bs, c)
	if err != nil || e.Blocks != 100001 || !e.Exact {
		t.Errorf("%+v, %v", e, err)
	}
}
