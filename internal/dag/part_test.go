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

// partBlocks is a set of blocks on a disk, as far as a reader can tell: it reads parts, and what it is
// given it copies.
type partBlocks struct {
	MemBlocks
	parts int // read
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

// TestPartsReadTheSame: a set that reads parts and uses memory again gives the CIDs, the bytes
// and the CARs of one that does not.
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

// TestPartsThatLie: a leaf of another size than its parent claims is the same error, read in parts or
// not.
func TestPartsThatLie(t *testing.T) {
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

// TestStreamEnds: a writer that fails, a reader that leaves and a block that is missing end a stream.
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
