package dag

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"testing"

	"github.com/ipfs/go-cid"
	"github.com/ipld/go-ipld-prime/datamodel"
	cidlink "github.com/ipld/go-ipld-prime/linking/cid"
	"github.com/ipld/go-ipld-prime/node/basicnode"

	"github.com/ipfs-liftoff/liftoff/abi"
)

// cborLinkBytes is a link as a dag-cbor item.
func cborLinkBytes(c cid.Cid) []byte {
	return append([]byte{0xd8, 42, 0x58, byte(c.ByteLen() + 1), 0}, c.Bytes()...)
}

// fullList is a list that fills a block of maximum size: single bytes, and a link at its end.
func fullList(t testing.TB, last cid.Cid) (b []byte, items int) {
	link := cborLinkBytes(last)
	items = MaxBlock - 5 - len(link) + 1
	b = binary.BigEndian.AppendUint32([]byte{0x9a}, uint32(items))
	b = append(append(b, make([]byte, items-1)...), link...)
	if len(b) != MaxBlock {
		t.Fatalf("%d bytes, want %d", len(b), MaxBlock)
	}
	return b, items
}

// fullMap is a map of one-byte values that fills a block of maximum size.
func fullMap(t testing.TB) (b []byte, last string) {
	const entry = 1 + 8 + 1
	n := (MaxBlock - 5) / entry
	b = binary.BigEndian.AppendUint32([]byte{0xba}, uint32(n))
	for i := range n {
		last = fmt.Sprintf("%08d", i)
		b = append(append(append(b, 0x68), last...), 0xf6)
	}
	return b, last
}

// TestFullBlockResolves: a block of maximum size can be resolved and printed, however many items it has.
func TestFullBlockResolves(t *testing.T) {
	ctx, bs := t.Context(), &MemBlocks{}
	list, items := fullList(t, cidA)
	m, last := fullMap(t)
	for name, c := range map[string]struct {
		data []byte
		path string
		want cid.Cid // undefined: a value
	}{
		"list": {list, strconv.Itoa(items - 1), cidA},
		"item": {list, strconv.Itoa(items - 2), cid.Undef},
		"map":  {m, last, cid.Undef},
	} {
		b := NewBlock(cid.DagCBOR, c.data)
		if err := bs.Put(ctx, b); err != nil {
			t.Fatal(err)
		}
		got, err := Resolve(ctx, bs, Path{b.CID(), []string{c.path}})
		if err != nil || c.want.Defined() && got.CID != c.want || !c.want.Defined() && len(got.Value) != 1 {
			t.Errorf("%s: %v, %v", name, got, err)
		}
		if _, err := Decode(b); err != nil {
			t.Errorf("decode %s: %v", name, err)
		}
	}
}

func TestDepthOfCBOR(t *testing.T) {
	nested := func(levels int) Block {
		return NewBlock(cid.DagCBOR, append(bytes.Repeat([]byte{0x81}, levels), 0x80))
	}
	if _, err := Links(nested(abi.MaxDepth)); err != nil {
		t.Errorf("%d levels: %v", abi.MaxDepth, err)
	}
	if _, err := Decode(nested(abi.MaxDepth)); err != nil {
		t.Errorf("decode %d levels: %v", abi.MaxDepth, err)
	}
	var malformed *FormatError
	if _, err := Links(nested(abi.MaxDepth + 1)); !errors.As(err, &malformed) {
		t.Errorf("%d levels: %v", abi.MaxDepth+1, err)
	}
}

func TestRepeatedKey(t *testing.T) {
	ctx, bs := t.Context(), &MemBlocks{}
	b := NewBlock(cid.DagCBOR, append(append(append([]byte{0xa2, 0x61, 'k'}, cborLinkBytes(cidA)...), 0x61, 'k'), cborLinkBytes(cidB)...))
	if err := bs.Put(ctx, b); err != nil {
		t.Fatal(err)
	}
	if got, err := Resolve(ctx, bs, Path{b.CID(), []string{"k"}}); err != nil || got.CID != cidA {
		t.Errorf("%v, %v, want the first", got, err)
	}
}

// FuzzCBORPath: every entry of every map and list of a value that the reference codec accepts is found at its place.
func FuzzCBORPath(f *testing.F) {
	f.Add(exampleCBOR(f, cidA, cidB))
	f.Add([]byte{0x82, 0x00, 0xa1, 0x60, 0xfb, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := cborLinks(b); err != nil {
			return
		}
		n, err := Decode(NewBlock(cid.DagCBOR, b))
		if err != nil {
			return // repeated keys, integers below 64 bits
		}
		sameChildren(t, b, n)
	})
}

func sameChildren(t *testing.T, item []byte, n datamodel.Node) {
	child := func(segment string, want datamodel.Node) {
		got, ok := cborChild(item, segment)
		if !ok {
			t.Fatalf("%q not found in %x", segment, item)
		}
		if c, ok := cborLink(got); ok {
			if l, err := want.AsLink(); err != nil || l.(cidlink.Link).Cid != c {
				t.Fatalf("link %s, want %v", c, l)
			}
			return
		}
		nb := basicnode.Prototype.Any.NewBuilder()
		if err := decodeCBOR.Decode(nb, bytes.NewReader(got)); err != nil || !datamodel.DeepEqual(nb.Build(), want) {
			t.Fatalf("%q in %x is %x, %v", segment, item, got, err)
		}
		sameChildren(t, got, want)
	}
	switch n.Kind() {
	case datamodel.Kind_Map:
		for it := n.MapIterator(); !it.Done(); {
			k, v, err := it.Next()
			if err != nil {
				t.Fatal(err)
			}
			key, err := k.AsString()
			if err != nil {
				t.Fatal(err)
			}
			child(key, v)
		}
	case datamodel.Kind_List:
		for i := range n.Length() {
			v, err := n.LookupByIndex(i)
			if err != nil {
				t.Fatal(err)
			}
			child(strconv.FormatInt(i, 10), v)
		}
	}
	if _, ok := cborChild(item, "no such entry, 0x"+strconv.Itoa(len(item))); ok && n.Kind() != datamodel.Kind_Map {
		t.Fatalf("found an entry in %x", item)
	}
	if got := cborKind(item); got != n.Kind().String() {
		t.Fatalf("kind %s of %x, want %s", got, item, n.Kind())
	}
}

func BenchmarkResolveCBOR(b *testing.B) {
	list, items := fullList(b, cidA)
	block, bs := NewBlock(cid.DagCBOR, list), &MemBlocks{}
	if err := bs.Put(b.Context(), block); err != nil {
		b.Fatal(err)
	}
	path := Path{block.CID(), []string{strconv.Itoa(items - 1)}}
	b.SetBytes(int64(len(list)))
	for b.Loop() {
		if _, err := Resolve(b.Context(), bs, path); err != nil {
			b.Fatal(err)
		}
	}
}
