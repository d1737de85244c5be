package dag

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	"pgregory.net/rapid"

	"github.com/ipfs-liftoff/liftoff/abi"
)

// sameLinks compares the results of Links and boxo for every block of a set.
func sameLinks(t rapid.TB, bs *MemBlocks) {
	t.Helper()
	for c, b := range bs.m {
		n, err := boxoDAG{bs}.Get(ctx, c)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Links(b)
		if err != nil || !slices.Equal(got, linkCIDs(n.Links())) {
			t.Fatalf("%s: links %v, %v; boxo: %v", c, got, err, linkCIDs(n.Links()))
		}
	}
}

func linkCIDs(links []*ipld.Link) []cid.Cid {
	var cs []cid.Cid
	for _, l := range links {
		cs = append(cs, l.Cid)
	}
	return cs
}

// drawPrefix draws a supported CID prefix.
func drawPrefix(t *rapid.T) cid.Prefix {
	if rapid.IntRange(0, 3).Draw(t, "version") == 0 {
		return merkledag.V0CidPrefix()
	}
	return cid.Prefix{
		Version:  1,
		Codec:    rapid.SampledFrom([]uint64{cid.Raw, cid.DagProtobuf, cid.DagCBOR}).Draw(t, "codec"),
		MhType:   rapid.SampledFrom([]uint64{hashSHA256, hashSHA512, hashBlake2b256, hashBlake3, hashIdentity}).Draw(t, "hash"),
		MhLength: -1,
	}
}

func drawCID(t *rapid.T) cid.Cid {
	c, err := drawPrefix(t).Sum(rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "named"))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestOracleNames: boxo and this package give a block the same CID, and no other bytes match it.
func TestOracleNames(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data := rapid.SliceOfN(rapid.Byte(), 0, abi.MaxIdentity).Draw(t, "data")
		prefix := drawPrefix(t)
		want, err := prefix.Sum(data)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := NewBlockPrefix(prefix, data); err != nil || b.CID() != want {
			t.Fatalf("%s, %v; want %s", b.CID(), err, want)
		}
		if b, err := CheckBlock(want, data); err != nil || b.CID() != want {
			t.Fatalf("%s, %v; want %s", b.CID(), err, want)
		}
		other := mutate(t, data)
		if slices.Equal(other, data) {
			return
		}
		var damaged *DamagedError
		if _, err := CheckBlock(want, other); !errors.As(err, &damaged) {
			t.Fatalf("wrong bytes accepted for %s: %v", want, err)
		}
	})
}

// drawNode draws a dag-pb node with any data and links, encoded by boxo.
func drawNode(t *rapid.T) *merkledag.ProtoNode {
	n := new(merkledag.ProtoNode)
	for range rapid.IntRange(0, 6).Draw(t, "links") {
		l := &ipld.Link{Cid: drawCID(t), Size: rapid.Uint64Max(1<<62).Draw(t, "tsize")}
		if err := n.AddRawLink(drawName(t), l); err != nil {
			t.Fatal(err)
		}
	}
	if rapid.Bool().Draw(t, "has data") {
		n.SetData(rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "data"))
	}
	return n
}

// TestOracleNodes: a node encoded by boxo is decoded the same; one with a byte changed, removed or inserted is
// accepted only if boxo accepts it, with the same result.
func TestOracleNodes(t *testing.T) {
	taken, refused := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		block, err := drawNode(t).EncodeProtobuf(true)
		if err != nil {
			t.Fatal(err)
		}
		if err := sameNode(block); err != nil {
			t.Fatal(err)
		}
		for range 10 {
			err := sameNode(mutate(t, block))
			switch {
			case errors.Is(err, errBothRefuse):
				refused++
			case err != nil:
				t.Fatal(err)
			default:
				taken++
			}
		}
	})
	if taken == 0 || refused == 0 {
		t.Errorf("%d mutants were accepted and %d refused: want both kinds", taken, refused)
	}
}

var errBothRefuse = errors.New("both refuse it")

func sameNode(block []byte) error {
	want, wantErr := merkledag.DecodeProtobuf(block)
	n, err := parsePB(block)
	links, linksErr := Links(NewBlock(cid.DagProtobuf, block))
	if (err == nil) != (linksErr == nil) {
		return fmt.Errorf("parsePB: %v, Links: %v", err, linksErr)
	}
	switch {
	case err == nil && wantErr != nil:
		return fmt.Errorf("%x is accepted, but boxo refuses it: %w", block, wantErr)
	case err != nil && wantErr != nil:
		return errBothRefuse
	case err != nil && strings.Contains(err.Error(), "bytes after the CID of a link"):
		return errBothRefuse // the only known difference: boxo ignores bytes after a CID in a link
	case err != nil:
		return fmt.Errorf("%x is refused, but boxo accepts it: %w", block, err)
	}
	if !slices.Equal(n.data, want.Data()) || !slices.Equal(links, linkCIDs(want.Links())) {
		return fmt.Errorf("%x is decoded as %v, boxo: %v", block, n, want)
	}
	for i, l := range want.Links() {
		if n.links[i] != (pbLink{l.Cid, l.Name, l.Size}) {
			return fmt.Errorf("link %d of %x is decoded as %v, boxo: %v", i, block, n.links[i], l)
		}
	}
	return nil
}

// mutate changes, removes or inserts one byte of b, or truncates b there.
func mutate(t *rapid.T, b []byte) []byte {
	b = slices.Clone(b)
	at := rapid.IntRange(0, len(b)).Draw(t, "at")
	octet := rapid.Byte().Draw(t, "octet")
	how := rapid.SampledFrom([]string{"change", "drop", "insert", "cut"}).Draw(t, "how")
	switch {
	case how == "insert" || at == len(b):
		return slices.Insert(b, at, octet)
	case how == "change":
		b[at] ^= octet
		return b
	case how == "drop":
		return slices.Delete(b, at, at+1)
	}
	return b[:at]
}
