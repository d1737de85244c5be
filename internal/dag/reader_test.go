package dag

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/ipfs/go-cid"
)

var ctx = context.Background()

// fsFileNode is the UnixFS message of an inner node with data of its own.
func fsFileNode(data []byte, sizes ...uint64) fsNode {
	n := fsNode{typ: fsFile, data: data, fileSize: uint64(len(data)), hasSize: true, blockSizes: sizes}
	for _, s := range sizes {
		n.fileSize += s
	}
	return n
}

func linksTo(cs ...cid.Cid) []pbLink {
	var ls []pbLink
	for _, c := range cs {
		ls = append(ls, pbLink{cid: c})
	}
	return ls
}

// trickle makes a file of data whose inner nodes also contain bytes, with leaves of all three kinds and empty parts
// in between.
func trickle(bs Blocks, data []byte, depth int) (cid.Cid, uint64) {
	if depth == 0 || len(data) < 8 {
		switch len(data) % 3 {
		case 0:
			return put(bs, cid.Raw, data), uint64(len(data))
		case 1:
			return putFS(bs, fsFileNode(data)), uint64(len(data))
		}
		return putFS(bs, fsNode{typ: fsRaw, data: data}), uint64(len(data))
	}
	own := data[:len(data)/5]
	rest := data[len(own):]
	var links []cid.Cid
	var sizes []uint64
	for i := 3; i >= 1; i-- {
		part := rest[:len(rest)/i]
		rest = rest[len(part):]
		c, size := trickle(bs, part, depth-1)
		links, sizes = append(links, put(bs, cid.Raw, nil), c), append(sizes, 0, size)
	}
	n := fsFileNode(own, sizes...)
	return putFS(bs, n, linksTo(links...)...), n.fileSize
}

func testFiles(t *testing.T) map[string]struct {
	bs   *MemBlocks
	c    cid.Cid
	data []byte
} {
	type file = struct {
		bs   *MemBlocks
		c    cid.Cid
		data []byte
	}
	files := map[string]file{}
	for _, size := range []int{0, 1, 99, 100, 101, 1000, 12345} {
		for _, raw := range []bool{true, false} {
			p := UnixFSv1
			p.ChunkSize, p.FileWidth, p.RawLeaves = 100, 3, raw
			bs, data := new(MemBlocks), noise(size)
			e, err := AddFile(ctx, bs, bytes.NewReader(data), p)
			if err != nil {
				t.Fatal(err)
			}
			files[fmt.Sprintf("balanced-%d-raw=%t", size, raw)] = file{bs, e.CID, data}
		}
	}
	bs, data := new(MemBlocks), noise(20000)
	c, _ := trickle(bs, data, 5)
	files["trickle"] = file{bs, c, data}
	same := bytes.Repeat([]byte("0123456789"), 1000)
	p := UnixFSv1
	p.ChunkSize, p.FileWidth = 10, 4
	e, err := AddFile(ctx, bs, bytes.NewReader(same), p)
	if err != nil {
		t.Fatal(err)
	}
	files["repeats"] = file{bs, e.CID, same}
	inline, _ := cid.V1Builder{Codec: cid.Raw, MhType: hashIdentity}.Sum([]byte("inline"))
	files["identity"] = file{bs, inline, []byte("inline")}
	return files
}

func TestReadAt(t *testing.T) {
	for name, tc := range testFiles(t) {
		t.Run(name, func(t *testing.T) {
			f, err := OpenFile(ctx, tc.bs, tc.c)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if f.Size() != int64(len(tc.data)) || f.CID() != tc.c {
				t.Fatalf("size %d, want %d", f.Size(), len(tc.data))
			}
			want := bytes.NewReader(tc.data)
			r := rand.New(rand.NewPCG(1, 2))
			for range 300 {
				off, n := r.Int64N(int64(len(tc.data))+3), r.IntN(len(tc.data)+20)
				got, exp := make([]byte, n), make([]byte, n)
				gn, gerr := f.ReadAt(ctx, got, off)
				en, eerr := want.ReadAt(exp, off)
				if n == 0 {
					eerr = nil
				}
				if gn != en || gerr != eerr || !bytes.Equal(got[:gn], exp[:en]) {
					t.Fatalf("ReadAt(%d, %d) = %d, %v; want %d, %v", off, n, gn, gerr, en, eerr)
				}
			}
			if err := iotest.TestReader(f.Reader(ctx), tc.data); err != nil {
				t.Error(err)
			}
			var out bytes.Buffer
			if n, err := f.WriteTo(ctx, &out); err != nil || n != int64(len(tc.data)) || !bytes.Equal(out.Bytes(), tc.data) {
				t.Errorf("WriteTo wrote %d bytes, %v", n, err)
			}
			out.Reset()
			if n, err := f.WriteRange(ctx, &out, 5, math.MaxInt64); err != nil || !bytes.Equal(out.Bytes(), tc.data[min(5, len(tc.data)):]) {
				t.Errorf("WriteRange wrote %d bytes, %v", n, err)
			}
		})
	}
}

// TestReadInOrder: sequential reads use the read-ahead, also from many goroutines.
func TestReadInOrder(t *testing.T) {
	bs, data := new(MemBlocks), noise(300000)
	p := UnixFSv1
	p.ChunkSize, p.FileWidth = 1000, 10
	e, err := AddFile(ctx, bs, bytes.NewReader(data), p)
	if err != nil {
		t.Fatal(err)
	}
	f, err := OpenFile(ctx, bs, e.CID)
	if err != nil {
		t.Fatal(err)
	}
	errs := make(chan error)
	for i := range 4 {
		go func() {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel() // while its fetches may still run
			got, err := io.ReadAll(iotest.OneByteReader(io.LimitReader(f.Reader(ctx), int64(40000*(i+1)))))
			if err == nil && !bytes.Equal(got, data[:40000*(i+1)]) {
				err = errors.New("wrong bytes")
			}
			errs <- err
		}()
	}
	for range 4 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

func TestReadTouchesFewBlocks(t *testing.T) {
	bs := new(watchBlocks)
	p := UnixFSv1
	p.ChunkSize, p.FileWidth = 64, 4
	data := noise(64 * 1024) // 1,024 leaves, 5 levels above them
	e, err := AddFile(ctx, bs, bytes.NewReader(data), p)
	if err != nil {
		t.Fatal(err)
	}
	f, err := OpenFile(ctx, bs, e.CID)
	if err != nil {
		t.Fatal(err)
	}
	tail := make([]byte, 64)
	if _, err := f.ReadAt(ctx, tail, int64(len(data)-64)); err != nil || !bytes.Equal(tail, data[len(data)-64:]) {
		t.Fatal(err)
	}
	if len(bs.gets) != 6 {
		t.Errorf("the last leaf took %d blocks, want 5 inner nodes and 1 leaf", len(bs.gets))
	}
	bs.gets = nil
	for range 10 {
		if _, err := f.ReadAt(ctx, tail[:7], int64(len(data)-60)); err != nil {
			t.Fatal(err)
		}
	}
	if len(bs.gets) != 0 {
		t.Errorf("reading the same leaf again took %d blocks", len(bs.gets))
	}
}

func TestLeaves(t *testing.T) {
	bs := new(watchBlocks)
	p := UnixFSv1
	p.ChunkSize, p.FileWidth = 100, 3
	e, err := AddFile(ctx, bs, bytes.NewReader(noise(2050)), p)
	if err != nil {
		t.Fatal(err)
	}
	f, err := OpenFile(ctx, bs, e.CID)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ off, n, want int64 }{
		{0, 1, 1},
		{0, 100, 1},
		{0, 101, 2},
		{99, 2, 2},
		{0, 2050, 21},
		{0, math.MaxInt64, 21},
		{2000, 50, 1},
		{1999, 2, 2},
		{2049, 100, 1},
		{2050, 1, 0},
		{0, 0, 0},
		{-1, 5, 0},
		{5, -1, 0},
		{math.MaxInt64, math.MaxInt64, 0},
		{450, 600, 7},
	} {
		if got, err := f.Leaves(ctx, tc.off, tc.n); err != nil || got != tc.want {
			t.Errorf("Leaves(%d, %d) = %d, %v; want %d", tc.off, tc.n, got, err, tc.want)
		}
	}
	for _, c := range bs.gets {
		if c.Type() == cid.Raw {
			t.Fatalf("counting read the leaf %s", c)
		}
	}
	c, size := trickle(bs, noise(200), 1)
	if f, err = OpenFile(ctx, bs, c); err != nil {
		t.Fatal(err)
	}
	if got, err := f.Leaves(ctx, 0, int64(size)); err != nil || got != 4 {
		t.Errorf("a node with bytes of its own and three leaves: %d, %v", got, err)
	}
}

// doubling makes a file of levels nodes, each with two links to the one below.
func doubling(bs Blocks, levels int) cid.Cid {
	c, size := put(bs, cid.Raw, []byte("xy")), uint64(2)
	for range levels {
		c = putFS(bs, fsFileNode(nil, size, size), linksTo(c, c)...)
		size *= 2
	}
	return c
}

func TestHugeFileOfFewBlocks(t *testing.T) {
	bs := new(MemBlocks)
	f, err := OpenFile(ctx, bs, doubling(bs, 60))
	if err != nil {
		t.Fatal(err)
	}
	if n, err := f.Leaves(ctx, 0, f.Size()); err != nil || n != 1<<60 {
		t.Errorf("Leaves = %d, %v", n, err)
	}
	b := make([]byte, 5)
	if _, err := f.ReadAt(ctx, b, 1<<60+1); err != nil || string(b) != "yxyxy" {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := OpenFile(ctx, bs, doubling(bs, 63)); err == nil || !strings.Contains(err.Error(), "file is larger than") {
		t.Errorf("a file of 2^64 bytes: %v", err)
	}
}

// TestHostileFiles: each hostile file is refused at its first wrong size, and yields no wrong byte before.
func TestHostileFiles(t *testing.T) {
	bs := new(MemBlocks)
	leaf := put(bs, cid.Raw, []byte("0123456789"))
	dir := putFS(bs, fsNode{typ: fsDirectory})
	chain := leaf
	for range 200 {
		chain = putFS(bs, fsFileNode(nil, 10), linksTo(chain)...)
	}
	lying := fsFileNode(nil, 10)
	lying.fileSize = 9
	overflow := fsNode{typ: fsFile, blockSizes: []uint64{math.MaxUint64, 11}}
	for name, c := range map[string]cid.Cid{
		"block size too large":      putFS(bs, fsFileNode(nil, 11), linksTo(leaf)...),
		"block size too small":      putFS(bs, fsFileNode(nil, 9), linksTo(leaf)...),
		"wrong file size":           putFS(bs, lying, linksTo(leaf)...),
		"leaf with wrong file size": putFS(bs, fsNode{typ: fsFile, data: []byte("ab"), fileSize: 3, hasSize: true}),
		"more links than sizes":     putFS(bs, fsFileNode(nil, 10), linksTo(leaf, leaf)...),
		"more sizes than links":     putFS(bs, fsFileNode(nil, 10, 10), linksTo(leaf)...),
		"sizes and no links":        putFS(bs, fsFileNode(nil, 10)),
		"links and no sizes":        putFS(bs, fsFileNode([]byte("ab")), linksTo(leaf)...),
		"sizes overflow":            putFS(bs, overflow, linksTo(leaf, leaf)...),
		"a directory as a part":     putFS(bs, fsFileNode(nil, 10), linksTo(dir)...),
		"dag-cbor as a part":        putFS(bs, fsFileNode(nil, 10), linksTo(put(bs, cid.DagCBOR, []byte{0xa0}))...),
		"not UnixFS as a part":      putFS(bs, fsFileNode(nil, 10), linksTo(put(bs, cid.DagProtobuf, nil))...),
		"garbage as a part":         putFS(bs, fsFileNode(nil, 10), linksTo(put(bs, cid.DagProtobuf, []byte{0xff, 1}))...),
		"deeper than 128":           chain,
		"part of another size":      putFS(bs, fsFileNode(nil, 20), linksTo(putFS(bs, fsFileNode(nil, 10), linksTo(leaf)...))...),
		"a part's size overflows":   putFS(bs, fsFileNode(nil, 10), linksTo(putFS(bs, overflow, linksTo(leaf, leaf)...))...),
		"an exotic identity part":   putFS(bs, fsFileNode(nil, 200), linksTo(identityCID(200))...),
		"a block that is too big":   putFS(bs, fsFileNode(nil, MaxBlock+1), linksTo(put(bs, cid.Raw, make([]byte, MaxBlock+1)))...),
		"garbage":                   put(bs, cid.DagProtobuf, []byte{1, 2, 3}),
		"fields of the wrong type":  put(bs, cid.DagProtobuf, pbNode{data: []byte{0x0a, 1, 2}}.encode()),
	} {
		f, err := OpenFile(ctx, bs, c)
		if err == nil {
			var out bytes.Buffer
			_, err = f.WriteTo(ctx, &out)
			if got := out.String(); !strings.HasPrefix("0123456789", got) && !strings.HasPrefix(got, "0123456789") {
				t.Errorf("%s: read %q", name, got)
			}
		}
		if err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}

func identityCID(n int) cid.Cid {
	mh := append([]byte{0, byte(n)}, make([]byte, n)...)
	if n >= 128 {
		mh = append([]byte{0, byte(n) | 0x80, byte(n >> 7)}, make([]byte, n)...)
	}
	return cid.NewCidV1(cid.Raw, mh)
}

func TestOpenFileRefuses(t *testing.T) {
	bs := new(MemBlocks)
	for name, c := range map[string]cid.Cid{
		"directory": putFS(bs, fsNode{typ: fsDirectory}),
		"symlink":   putFS(bs, fsNode{typ: fsSymlink, data: []byte("x")}),
		"dag-cbor":  put(bs, cid.DagCBOR, []byte{0xa0}),
		"dag-pb":    put(bs, cid.DagProtobuf, nil),
	} {
		var notFile *NotFileError
		if _, err := OpenFile(ctx, bs, c); !errors.As(err, &notFile) {
			t.Errorf("%s: %v", name, err)
		}
	}
	var missing *NotFoundError
	if _, err := OpenFile(ctx, bs, NewBlock(cid.Raw, []byte("gone")).CID()); !errors.As(err, &missing) {
		t.Errorf("missing: %v", err)
	}
	e, err := AddFile(ctx, bs, bytes.NewReader(noise(5000)), Profile{Name: "t", CIDVersion: 1, ChunkSize: 1000, RawLeaves: true, FileWidth: 4})
	if err != nil {
		t.Fatal(err)
	}
	f, err := OpenFile(ctx, bs, e.CID)
	if err != nil {
		t.Fatal(err)
	}
	cancelled, cancel := context.WithCancelCause(ctx)
	cause := errors.New("enough")
	cancel(cause)
	if _, err := f.ReadAt(cancelled, make([]byte, 10), 0); !errors.Is(err, cause) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := f.ReadAt(ctx, make([]byte, 10), -1); err == nil {
		t.Error("a negative offset was accepted")
	}
}

// TestNodeCacheIsBounded: a file of very many inner nodes is not cached completely, whether they have many links or
// much data of their own.
func TestNodeCacheIsBounded(t *testing.T) {
	bs := new(MemBlocks)
	leaf := put(bs, cid.Raw, []byte("x"))
	var n nodeCache
	for i := range 100 {
		c := putFS(bs, fsFileNode(append(make([]byte, 1<<20), byte(i)), 1), linksTo(leaf)...)
		p, err := loadPiece(ctx, bs, c)
		if err != nil {
			t.Fatal(err)
		}
		n.add(p)
		held := 0
		for _, p := range n.nodes {
			held += len(p.data) + 64*len(p.node.cids)
		}
		if held > maxCachedNodes || len(n.nodes) == 0 {
			t.Fatalf("%d nodes of %d bytes", len(n.nodes), held)
		}
		if got, ok := n.get(c); !ok || got.cid != c {
			t.Fatal("the last node is not cached")
		}
	}
}
