package dag

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/ipfs/boxo/ipld/merkledag"
	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	"pgregory.net/rapid"
)

// The oracle tests give boxo, the reference implementation of UnixFS in Go, the same input as this package, and
// compare CIDs, blocks, bytes and listings. Settings are passed explicitly: setting boxo's package variables would
// affect other tests.

// boxoDAG adapts a set of blocks to boxo.
type boxoDAG struct{ bs *MemBlocks }

var _ ipld.DAGService = boxoDAG{}

func (d boxoDAG) Get(ctx context.Context, c cid.Cid) (ipld.Node, error) {
	b, err := d.bs.Get(ctx, c)
	if err != nil {
		return nil, ipld.ErrNotFound{Cid: c}
	}
	block, err := blocks.NewBlockWithCid(b.data, c)
	if err != nil {
		return nil, err
	}
	switch c.Type() {
	case cid.Raw:
		return merkledag.DecodeRawBlock(block)
	case cid.DagProtobuf:
		return merkledag.DecodeProtobufBlock(block)
	}
	return nil, fmt.Errorf("codec %s", codecName(c.Type()))
}

func (d boxoDAG) GetMany(ctx context.Context, cs []cid.Cid) <-chan *ipld.NodeOption {
	nodes := make(chan *ipld.NodeOption, len(cs))
	defer close(nodes)
	for _, c := range cs {
		n, err := d.Get(ctx, c)
		nodes <- &ipld.NodeOption{Node: n, Err: err}
	}
	return nodes
}

// Add checks the CID that boxo gave each block with CheckBlock.
func (d boxoDAG) Add(ctx context.Context, n ipld.Node) error {
	b, err := CheckBlock(n.Cid(), bytes.Clone(n.RawData()))
	if err != nil {
		return err
	}
	return d.bs.Put(ctx, b)
}

func (d boxoDAG) AddMany(ctx context.Context, ns []ipld.Node) error {
	for _, n := range ns {
		if err := d.Add(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

func (d boxoDAG) Remove(_ context.Context, c cid.Cid) error {
	d.bs.Delete(c)
	return nil
}

func (d boxoDAG) RemoveMany(ctx context.Context, cs []cid.Cid) error {
	for _, c := range cs {
		d.bs.Delete(c)
	}
	return nil
}

// boxoBuilder makes CIDs like the profile.
func boxoBuilder(t rapid.TB, p Profile) cid.Builder {
	prefix, err := merkledag.PrefixForCidVersion(int(p.CIDVersion))
	if err != nil {
		t.Fatal(err)
	}
	return prefix
}

// sameBlocks compares two sets of blocks, byte by byte.
func sameBlocks(t rapid.TB, label string, got, want *MemBlocks) {
	t.Helper()
	for c, w := range want.m {
		if g, ok := got.m[c]; !ok || !bytes.Equal(g.data, w.data) {
			t.Errorf("%s: boxo makes %s, this package does not", label, c)
		}
	}
	for c := range got.m {
		if _, ok := want.m[c]; !ok {
			t.Errorf("%s: this package makes %s, boxo does not", label, c)
		}
	}
}

// seeded is a source for values that are too large to be drawn one by one.
func seeded(t *rapid.T) *rand.ChaCha8 {
	var seed [32]byte
	copy(seed[:], rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "seed"))
	return rand.NewChaCha8(seed)
}

func drawProfile(t *rapid.T) Profile {
	return rapid.SampledFrom([]Profile{UnixFSv1, UnixFSv0}).Draw(t, "profile")
}

// TestBoxoDAG tests the test adapter: boxo must see the blocks that exist.
func TestBoxoDAG(t *testing.T) {
	d := boxoDAG{new(MemBlocks)}
	n := merkledag.NewRawNode([]byte("x"))
	if _, err := d.Get(ctx, n.Cid()); !ipld.IsNotFound(err) {
		t.Errorf("missing block: %v", err)
	}
	if err := d.AddMany(ctx, []ipld.Node{n, merkledag.NodeWithData([]byte("y"))}); err != nil {
		t.Fatal(err)
	}
	for o := range d.GetMany(ctx, cids(n.Cid())) {
		if o.Err != nil || !bytes.Equal(o.Node.RawData(), n.RawData()) {
			t.Errorf("%v, %v", o.Node, o.Err)
		}
	}
	if err := d.RemoveMany(ctx, cids(n.Cid())); err != nil || len(d.bs.m) != 1 {
		t.Errorf("%d blocks, %v", len(d.bs.m), err)
	}
}
