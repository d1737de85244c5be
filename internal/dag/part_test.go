package dag

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/ipfs/go-cid"
)

// partBlocks behaves like a set of blocks on disk: it can read parts, and copies what is put.
type partBlocks struct {
	MemBlocks
	parts int // number of parts read
}

func (p *partBlocks) PutCopies() {}

func (p *partBlocks) Put(ctx context.Context, bs ...Block) error {
	for _, b := range bs {
		if err := p.MemBlocks.Put(ctx, Block{b.cid, bytes.Clone(b.data)}); err != nil {
			return err
		}
	}
	return nil
}

func (p *partBlocks) ReadPart(ctx context.Context, c cid.Cid, b []byte, off int64) (int, int64, error) {
	p.parts++
	block, err := p.Get(ctx, c)
	if err != nil {
		return 0, 0, err
	}
	return copy(b, block.data[min(off, int64(len(block.data))):]), int64(len(block.data)), nil
}

// TestPartsReadTheSame: a set that reads parts and reuses memory yields the same CIDs, bytes and CARs as one that
// does not.
func TestPartsReadTheSame(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, p := range []Profile{small(UnixFSv1), small(UnixFSv0)} {
		for _, size := range []int{0, 1, 1000, p.ChunkSize, p.ChunkSize + 1, 40*p.ChunkSize + 17} {
			data := make([]byte, size)
			for i := range data {
				data[i] = byte(r.Uint32())
			}
			var plain MemBlocks
			parts := &partBlocks{}
			want, err := AddFile(t.Context(), &plain, bytes.NewReader(data), p)
			if err != nil {
				t.Fatal(err)
			}
			got, err := AddFile(t.Context(), parts, bytes.NewReader(data), p)
			if err != nil || got.CID != want.CID {
				t.Fatalf("%d bytes: %v, want %v (%v)", size, got.CID, want.CID, err)
			}
			f, err := OpenFile(t.Context(), parts, got.CID)
			if err != nil {
				t.Fatal(err)
			}
			for range 50 {
				off, n := r.IntN(size+3), r.IntN(3*p.ChunkSize)
				b := make([]byte, n)
				k, err := f.ReadAt(t.Context(), b, int64(off))
				left := data[min(off, size):]
				if !bytes.Equal(b[:k], left[:min(n, len(left))]) || k < n != (err == io.EOF) {
					t.Fatalf("%d bytes from %d of %d: %d, %v", n, off, size, k, err)
				}
				var out bytes.Buffer
				if _, err := f.WriteRange(t.Context(), &out, int64(off), int64(n)); err != nil || !bytes.Equal(out.Bytes(), left[:min(n, len(left))]) {
					t.Fatalf("stream of %d bytes from %d of %d: %d, %v", n, off, size, out.Len(), err)
				}
			}
			for _, version := range []int{1, 2} {
				var a, b bytes.Buffer
				o := CAROptions{Version: version}
				if err := WriteCAR(t.Context(), &a, &plain, []cid.Cid{want.CID}, o); err != nil {
					t.Fatal(err)
				}
				if err := WriteCAR(t.Context(), &b, parts, []cid.Cid{want.CID}, o); err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(a.Bytes(), b.Bytes()) {
					t.Errorf("%d bytes: the CARs of version %d differ", size, version)
				}
			}
		}
	}
}

func small(p Profile) Profile {
	p.ChunkSize, p.FileWidth = 64<<10, 5
	return p
}

// TestPartsOfWrongSize: a leaf whose size differs from its parent's claim is the same error, whether read in parts or
// not.
func TestPartsOfWrongSize(t *testing.T) {
	for _, claim := range []uint64{9, 11} {
		leaf := NewBlock(cid.Raw, []byte("ten bytes."))
		fs := fsNode{typ: fsFile, hasSize: true, blockSizes: []uint64{claim}, fileSize: claim}
		root, err := UnixFSv1.node(pbNode{data: fs.encode(), links: []pbLink{{cid: leaf.cid, tsize: 10}}}.encode())
		if err != nil {
			t.Fatal(err)
		}
		var texts []string
		for _, bs := range []Blocks{&MemBlocks{}, &partBlocks{}} {
			if err := bs.Put(t.Context(), leaf, root); err != nil {
				t.Fatal(err)
			}
			f, err := OpenFile(t.Context(), bs, root.cid)
			if err != nil {
				t.Fatal(err)
			}
			_, err = f.ReadAt(t.Context(), make([]byte, 4), 2)
			var bad *FormatError
			if !errors.As(err, &bad) {
				t.Fatalf("claim %d: %v", claim, err)
			}
			texts = append(texts, err.Error())
		}
		if texts[0] != texts[1] {
			t.Errorf("%q", texts)
		}
	}
}

// TestStreamEnds: a failing writer, a canceled reader and a missing block end a stream.
func TestStreamEnds(t *testing.T) {
	bs := &partBlocks{}
	data := make([]byte, 5<<20)
	for i := range data {
		data[i] = byte(i>>13 ^ i>>20*37)
	}
	e, err := AddFile(t.Context(), bs, bytes.NewReader(data), UnixFSv1)
	if err != nil {
		t.Fatal(err)
	}
	f, err := OpenFile(t.Context(), bs, e.CID)
	if err != nil {
		t.Fatal(err)
	}
	full := errors.New("full")
	if _, err := f.WriteTo(t.Context(), failing{full}); err != full {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(full)
	if _, err := f.WriteTo(ctx, io.Discard); err != full {
		t.Errorf("%v", err)
	}
	bs.Delete(f.root.node.cids[3])
	var out bytes.Buffer
	n, err := f.WriteTo(t.Context(), &out)
	var missing *NotFoundError
	if !errors.As(err, &missing) || n != 3<<20 || !bytes.Equal(out.Bytes(), data[:3<<20]) {
		t.Errorf("%d bytes, %v", n, err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

// TestLeapsReadParts: ranges anywhere in a file yield the same bytes whether the set reads parts or not; seeks read
// parts, and sequential reads read each leaf once.
func TestLeapsReadParts(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	p := UnixFSv1
	p.ChunkSize = 256 << 10
	data := make([]byte, 9*p.ChunkSize+17)
	for i := range data {
		data[i] = byte(r.Uint32())
	}
	parts := &partBlocks{}
	e, err := AddFile(t.Context(), parts, bytes.NewReader(data), p)
	if err != nil {
		t.Fatal(err)
	}
	open := func() *File {
		f, err := OpenFile(t.Context(), parts, e.CID)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	read := func(f *File, off, n int) {
		t.Helper()
		var got bytes.Buffer
		k, err := f.WriteRange(t.Context(), &got, int64(off), int64(n))
		off = min(off, len(data))
		if want := data[off:min(len(data), off+n)]; err != nil || int(k) != len(want) || !bytes.Equal(got.Bytes(), want) {
			t.Fatalf("%d bytes from %d: read %d, %v", n, off, k, err)
		}
	}
	f := open()
	for range 500 {
		read(f, r.IntN(len(data)+100), r.IntN(maxPart+100))
	}
	if parts.parts < 300 {
		t.Errorf("read %d parts for 500 seeks", parts.parts)
	}
	parts.parts = 0
	f = open()
	for off := 0; off < len(data); off += 4096 {
		read(f, off, 4096)
	}
	if parts.parts != 0 {
		t.Errorf("read %d parts for a sequential reader", parts.parts)
	}
	// A leaf whose length differs from its node's claim is the same error, and writes nothing.
	leaf := NewBlock(cid.Raw, make([]byte, 10))
	if err := parts.Put(t.Context(), leaf); err != nil {
		t.Fatal(err)
	}
	wrongSize := putFS(parts, fsNode{typ: fsFile, blockSizes: []uint64{10, 20}, fileSize: 30, hasSize: true}, pbLink{cid: leaf.CID()}, pbLink{cid: leaf.CID()})
	if f, err = OpenFile(t.Context(), parts, wrongSize); err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var got bytes.Buffer
	var format *FormatError
	if n, err := f.WriteRange(t.Context(), &got, 12, 3); n != 0 || got.Len() != 0 || !errors.As(err, &format) {
		t.Errorf("wrote %d bytes of a leaf of wrong size, %v", n, err)
	}
}
