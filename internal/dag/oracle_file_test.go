package dag

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"testing"
	"time"

	"github.com/ipfs/boxo/chunker"
	"github.com/ipfs/boxo/ipld/unixfs/importer/balanced"
	"github.com/ipfs/boxo/ipld/unixfs/importer/helpers"
	boxotrickle "github.com/ipfs/boxo/ipld/unixfs/importer/trickle"
	uio "github.com/ipfs/boxo/ipld/unixfs/io"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	"pgregory.net/rapid"
)

func boxoParams(t rapid.TB, bs *MemBlocks, p Profile) helpers.DagBuilderParams {
	return helpers.DagBuilderParams{Maxlinks: p.FileWidth, RawLeaves: p.RawLeaves, CidBuilder: boxoBuilder(t, p), Dagserv: boxoDAG{bs}}
}

func boxoLayout(t rapid.TB, params helpers.DagBuilderParams, s chunk.Splitter, layout func(*helpers.DagBuilderHelper) (ipld.Node, error)) ipld.Node {
	t.Helper()
	db, err := params.New(s)
	if err != nil {
		t.Fatal(err)
	}
	n, err := layout(db)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// compareFile adds content with boxo, with AddFile and with a FileWriter that gets pieces of at most piece bytes.
func compareFile(t rapid.TB, content []byte, p Profile, piece int) {
	t.Helper()
	var want, added, written MemBlocks
	root := boxoLayout(t, boxoParams(t, &want, p), chunk.NewSizeSplitter(bytes.NewReader(content), int64(p.ChunkSize)), balanced.Layout)
	size, err := root.Size()
	if err != nil {
		t.Fatal(err)
	}
	check := func(label string, e Entry, err error, bs *MemBlocks) {
		t.Helper()
		if err != nil || e.CID != root.Cid() || e.TSize != size || e.Size != uint64(len(content)) {
			t.Errorf("%s: got %+v, %v; boxo: %s with %d bytes below it", label, e, err, root.Cid(), size)
		}
		sameBlocks(t, label, bs, &want)
	}
	e, err := AddFile(ctx, &added, bytes.NewReader(content), p)
	check("AddFile", e, err, &added)

	w := NewFileWriter(ctx, &written, p)
	for rest := content; len(rest) > 0; {
		n := min(piece, len(rest))
		if _, err := w.Write(bytes.Clone(rest[:n])); err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
	}
	e, err = w.Finish()
	check("FileWriter", e, err, &written)
}

// TestOracleFileProfiles: sizes near the limits of chunks and of a full inner node, with both profiles.
func TestOracleFileProfiles(t *testing.T) {
	for _, tc := range []struct {
		p      Profile
		chunks []int
	}{
		{UnixFSv1, []int{0, 1, 2}},
		{UnixFSv0, []int{0, 1, 2, UnixFSv0.FileWidth}},
	} {
		for _, chunks := range tc.chunks {
			for _, extra := range []int{-1, 0, 1} {
				size := chunks*tc.p.ChunkSize + extra
				if size < 0 || chunks > 2 && extra < 0 {
					continue
				}
				t.Run(fmt.Sprintf("%s/%d", tc.p.Name, size), func(t *testing.T) {
					compareFile(t, noise(size), tc.p, tc.p.ChunkSize-7)
				})
			}
		}
	}
}

// drawTiny draws a profile with small chunks and, mostly, narrow nodes, for deep trees with few bytes.
func drawTiny(t *rapid.T) Profile {
	p := drawProfile(t)
	p.ChunkSize = rapid.IntRange(1, 64).Draw(t, "chunk")
	p.FileWidth = rapid.SampledFrom([]int{2, 3, 4, 7, 16, UnixFSv0.FileWidth, UnixFSv1.FileWidth}).Draw(t, "width")
	p.RawLeaves = rapid.Bool().Draw(t, "raw leaves")
	return p
}

// drawContent draws content that ends near the end of a chunk, and often near that of a full subtree. Parts of it
// repeat, so that blocks repeat.
func drawContent(t *rapid.T, p Profile) []byte {
	const maxLeaves = 2500
	full := 1
	for range rapid.IntRange(0, 11).Draw(t, "levels") {
		if full*p.FileWidth > maxLeaves {
			break
		}
		full *= p.FileWidth
	}
	leaves := full * rapid.IntRange(0, min(p.FileWidth, maxLeaves/full)).Draw(t, "subtrees")
	size := max(0, leaves*p.ChunkSize+rapid.IntRange(-p.ChunkSize-1, p.ChunkSize+1).Draw(t, "extra"))
	content := make([]byte, size)
	distinct := rapid.IntRange(0, size).Draw(t, "distinct")
	seeded(t).Read(content[:distinct])
	return content
}

func TestOracleFileTrees(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawTiny(t)
		compareFile(t, drawContent(t, p), p, rapid.IntRange(1, 200).Draw(t, "piece"))
	})
}

// unevenSplitter cuts chunks of many sizes, like content-defined chunkers.
type unevenSplitter struct {
	r     *bytes.Reader
	sizes []int
	next  int
}

func (s *unevenSplitter) Reader() io.Reader { return s.r }

func (s *unevenSplitter) NextBytes() ([]byte, error) {
	if s.r.Len() == 0 {
		return nil, io.EOF
	}
	b := make([]byte, min(s.sizes[s.next%len(s.sizes)], s.r.Len()))
	s.next++
	_, err := io.ReadFull(s.r, b)
	return b, err
}

// TestOracleReadFile: this package reads the same bytes from files written by boxo in any of its layouts.
func TestOracleReadFile(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawTiny(t)
		content := drawContent(t, p)
		bs := new(MemBlocks)
		params := boxoParams(t, bs, p)
		if rapid.Bool().Draw(t, "attributes") {
			params.FileMode, params.FileModTime = os.FileMode(0o640), time.Unix(-5, 7)
		}
		var s chunk.Splitter = chunk.NewSizeSplitter(bytes.NewReader(content), int64(p.ChunkSize))
		if rapid.Bool().Draw(t, "uneven") && len(content) > 0 {
			s = &unevenSplitter{bytes.NewReader(content), rapid.SliceOfN(rapid.IntRange(1, 64), 1, 9).Draw(t, "sizes"), 0}
		}
		layout := balanced.Layout
		if rapid.Bool().Draw(t, "trickle") {
			layout = boxotrickle.Layout
		}
		root := boxoLayout(t, params, s, layout)
		f, err := OpenFile(ctx, bs, root.Cid())
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if f.Size() != int64(len(content)) {
			t.Fatalf("%d bytes, want %d", f.Size(), len(content))
		}
		readSame(t, f.Reader(ctx), content)
		sameLinks(t, bs)
	})
}

// TestOracleBoxoReadsFile: boxo reads the same bytes from files written by this package.
func TestOracleBoxoReadsFile(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawTiny(t)
		content := drawContent(t, p)
		bs := new(MemBlocks)
		e, err := AddFile(ctx, bs, bytes.NewReader(content), p)
		if err != nil {
			t.Fatal(err)
		}
		r := boxoReader(t, bs, e.CID)
		defer r.Close()
		if r.Size() != uint64(len(content)) {
			t.Fatalf("%d bytes, want %d", r.Size(), len(content))
		}
		readSame(t, r, content)
	})
}

func boxoReader(t rapid.TB, bs *MemBlocks, c cid.Cid) uio.DagReader {
	t.Helper()
	n, err := boxoDAG{bs}.Get(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	r, err := uio.NewDagReader(ctx, n, boxoDAG{bs})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// readSame reads all of r and then some ranges of it.
func readSame(t *rapid.T, r io.ReadSeeker, content []byte) {
	t.Helper()
	got, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(got, content) {
		t.Fatalf("read %d bytes, %v; want %d", len(got), err, len(content))
	}
	for range 4 {
		off := rapid.IntRange(0, len(content)).Draw(t, "offset")
		n := rapid.IntRange(0, len(content)-off).Draw(t, "length")
		if at, err := r.Seek(int64(off), io.SeekStart); err != nil || at != int64(off) {
			t.Fatalf("Seek(%d) = %d, %v", off, at, err)
		}
		b := make([]byte, n)
		if _, err := io.ReadFull(r, b); err != nil || !bytes.Equal(b, content[off:off+n]) {
			t.Fatalf("%d bytes at %d of %d differ, %v", n, off, len(content), err)
		}
	}
}
