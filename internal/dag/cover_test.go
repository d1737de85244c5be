package dag

import (
	"bytes"
	"context"
	"math"
	"testing"

	"github.com/ipfs/go-cid"
)

func TestCover(t *testing.T) {
	p := UnixFSv1
	p.ChunkSize, p.FileWidth = 100, 10
	bs := new(watchBlocks)
	file, err := AddFile(ctx, bs, bytes.NewReader(noise(10_000)), p)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := Cover(ctx, bs, file.CID)
	if err != nil || whole != (Coverage{Have: file.TSize, Exact: true}) || !whole.Whole() {
		t.Errorf("%+v, %v; want %d bytes", whole, err, file.TSize)
	}
	if len(bs.gets) != 11 {
		t.Errorf("read %d blocks, want the 11 that have links", len(bs.gets))
	}

	var leaves, inner []cid.Cid
	err = Walk(ctx, bs, cids(file.CID), WalkOptions{}, func(v Visited) error {
		if v.CID.Type() == cid.Raw {
			leaves = append(leaves, v.CID)
		} else if v.CID != file.CID {
			inner = append(inner, v.CID)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range leaves[:7] {
		bs.Delete(c)
	}
	got, err := Cover(ctx, bs, file.CID)
	if err != nil || got != (Coverage{Have: whole.Have - 700, Missing: 700, Lacks: 7, Depth: 1, Exact: true}) || got.Whole() {
		t.Errorf("without seven leaves: %+v, %v", got, err)
	}
	bs.Delete(inner[1]) // its ten leaves are present, but unknown
	got, err = Cover(ctx, bs, file.CID)
	if err != nil || got.Missing != 1700 || got.Lacks != 8 || !got.Exact {
		t.Errorf("without an inner node: %+v, %v", got, err)
	}
	bs.Delete(file.CID)
	got, err = Cover(ctx, bs, file.CID)
	if err != nil || got != (Coverage{Lacks: 1, Untold: 1, Depth: 1, Exact: true}) {
		t.Errorf("without the root: %+v, %v", got, err)
	}
}

// TestCoverDirectory: the sizes below a directory are those that its links claim.
func TestCoverDirectory(t *testing.T) {
	bs := new(MemBlocks)
	d := NewDirWriter(bs, UnixFSv1)
	file, err := AddFile(ctx, bs, bytes.NewReader(noise(5000)), UnixFSv1)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Add("x", file); err != nil {
		t.Fatal(err)
	}
	dir, err := d.Finish(ctx)
	if err != nil {
		t.Fatal(err)
	}
	bs.Delete(file.CID)
	got, err := Cover(ctx, bs, dir.CID)
	if err != nil || got.Missing != 5000 || got.Lacks != 1 || got.Whole() {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestCoverCutShort: a canceled walk reports lower bounds.
func TestCoverCutShort(t *testing.T) {
	bs := new(MemBlocks)
	root, _ := diamond(t, bs)
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if got, err := Cover(cancelled, bs, root); err != nil || got.Exact {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestCoverFalseClaims: a DAG may claim any size.
func TestCoverFalseClaims(t *testing.T) {
	bs := new(MemBlocks)
	a, b := NewBlock(cid.Raw, []byte("a")).CID(), NewBlock(cid.Raw, []byte("b")).CID()
	root := putFS(bs, fsFileNode(nil, math.MaxUint64, math.MaxUint64), pbLink{cid: a}, pbLink{cid: b})
	got, err := Cover(ctx, bs, root)
	if err != nil || got.Missing != math.MaxInt64 || got.Lacks != 2 {
		t.Errorf("%+v, %v", got, err)
	}
	sum := got.Add(Coverage{Have: math.MaxUint64, Missing: 5, Depth: 3})
	if sum.Missing != math.MaxInt64 || sum.Have != math.MaxInt64 || sum.Depth != 3 || sum.Exact {
		t.Errorf("%+v", sum)
	}
	// A negative claim about a present leaf is not used.
	put(bs, cid.Raw, []byte("a"))
	if got, err := Cover(ctx, bs, root); err != nil || got.Have > 1<<10 {
		t.Errorf("%+v, %v", got, err)
	}
}
