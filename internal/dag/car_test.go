package dag

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/ipfs/go-cid"
	car "github.com/ipld/go-car/v2"
)

func writeCAR(t testing.TB, bs Blocks, o CAROptions, roots ...cid.Cid) []byte {
	t.Helper()
	var buf bytes.Buffer
	if err := WriteCAR(ctx, &buf, bs, roots, o); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// TestCARRoundTrip: go-car and ReadCAR can read the output of WriteCAR, even byte by byte.
func TestCARRoundTrip(t *testing.T) {
	bs := new(MemBlocks)
	root, order := diamond(t, bs)
	for _, version := range []int{1, 2} {
		for _, set := range []Blocks{bs, noSizes{bs}} {
			b := writeCAR(t, set, CAROptions{Version: version}, root, order[1])
			r, err := car.NewBlockReader(bytes.NewReader(b))
			if err != nil || r.Version != uint64(version) || !slices.Equal(r.Roots, cids(root, order[1])) {
				t.Fatalf("go-car: version %d, roots %v, %v", r.Version, r.Roots, err)
			}
			for _, want := range order {
				if got, err := r.Next(); err != nil || got.Cid() != want {
					t.Fatalf("go-car: %v, %v; want %s", got, err, want)
				}
			}
			if _, err := r.Next(); err != io.EOF {
				t.Errorf("go-car: %v at the end", err)
			}
		}
		b := writeCAR(t, bs, CAROptions{Version: version}, root)
		var got []cid.Cid
		roots, err := ReadCAR(ctx, iotest.OneByteReader(bytes.NewReader(b)), func(b Block) error {
			got = append(got, b.CID())
			return nil
		})
		if err != nil || !slices.Equal(roots, cids(root)) || !slices.Equal(got, order) {
			t.Errorf("version %d: roots %v, blocks %v, %v", version, roots, got, err)
		}
		if again := writeCAR(t, bs, CAROptions{Version: version}, root); !bytes.Equal(b, again) {
			t.Error("the same DAG yields different CARs")
		}
	}
}

// TestIndexCAR: each block is found at its offset, with sections for several batches; and an error in one of them is
// reported.
func TestIndexCAR(t *testing.T) {
	bs := new(MemBlocks)
	data := make([]byte, 7<<20)
	for i := range data {
		data[i] = byte(i * i >> 7)
	}
	p := UnixFSv1
	p.ChunkSize = 4567
	e, err := AddFile(ctx, bs, bytes.NewReader(data), p)
	if err != nil {
		t.Fatal(err)
	}
	want, _ := bs.Len()
	for _, version := range []int{1, 2} {
		file := writeCAR(t, bs, CAROptions{Version: version}, e.CID)
		var mu sync.Mutex
		at := map[cid.Cid]int64{}
		roots, err := IndexCAR(ctx, bytes.NewReader(file), func(b Block, from int64) error {
			if n := int64(len(b.Data())); from < 0 || from+n > int64(len(file)) || !bytes.Equal(file[from:from+n], b.Data()) {
				return fmt.Errorf("%s is not at byte %d", b.CID(), from)
			}
			mu.Lock()
			defer mu.Unlock()
			at[b.CID()] = from
			return nil
		})
		if err != nil || !slices.Equal(roots, cids(e.CID)) || len(at) != want {
			t.Fatalf("version %d: roots %v, %d blocks, want %d: %v", version, roots, len(at), want, err)
		}
		early, late := len(file)/3, 2*len(file)/3
		file[early] ^= 1
		file[late] ^= 1
		var bad *CARError
		_, err = IndexCAR(ctx, bytes.NewReader(file), func(Block, int64) error { return nil })
		if !errors.As(err, &bad) || bad.Offset > int64(early) || bad.Offset < int64(early-p.ChunkSize-100) {
			t.Errorf("version %d: %v, want a block before byte %d", version, err, early)
		}
		full := errors.New("full")
		if _, err := IndexCAR(ctx, bytes.NewReader(file), func(Block, int64) error { return full }); err != full {
			t.Errorf("version %d: %v, want what found said", version, err)
		}
	}
}

func TestCAROptions(t *testing.T) {
	bs := new(MemBlocks)
	root, order := diamond(t, bs)
	b := writeCAR(t, bs, CAROptions{Version: 2, Skip: order[3].Equals}, root)
	n := 0
	if _, err := ReadCAR(ctx, bytes.NewReader(b), func(b Block) error {
		if b.CID() == order[3] {
			t.Error("a skipped block was written")
		}
		n++
		return nil
	}); err != nil || n != 4 {
		t.Errorf("%d blocks, %v", n, err)
	}
	if err := WriteCAR(ctx, io.Discard, bs, cids(root), CAROptions{Version: 3}); err == nil {
		t.Error("a CAR of version 3 was written")
	}
	full := errors.New("disk full")
	if err := WriteCAR(ctx, failingWriter{full}, bs, cids(root), CAROptions{}); !errors.Is(err, full) {
		t.Errorf("failing writer: %v", err)
	}
	bs.Delete(order[2])
	var missing *NotFoundError
	for _, version := range []int{1, 2} {
		if err := WriteCAR(ctx, io.Discard, bs, cids(root), CAROptions{Version: version}); !errors.As(err, &missing) {
			t.Errorf("missing block: %v", err)
		}
	}
	many := slices.Repeat(cids(root), 300) // a header with long lengths
	if roots, err := ReadCAR(ctx, bytes.NewReader(writeCAR(t, bs, CAROptions{Skip: func(cid.Cid) bool { return true }}, many...)), nil); err != nil || !slices.Equal(roots, many) {
		t.Errorf("%d roots, %v", len(roots), err)
	}
}

type failingWriter struct{ err error }

func (f failingWriter) Write([]byte) (int, error) { return 0, f.err }

// TestCARTruncatedAndFlipped: a truncated CAR is refused, except between two sections of version 1; one with a
// flipped bit is refused or yields only correct blocks.
func TestCARTruncatedAndFlipped(t *testing.T) {
	bs := new(MemBlocks)
	root, _ := diamond(t, bs)
	for _, version := range []int{1, 2} {
		whole := writeCAR(t, bs, CAROptions{Version: version}, root)
		taken := 0
		for cut := range whole {
			_, err := ReadCAR(ctx, bytes.NewReader(whole[:cut]), func(Block) error { return nil })
			var bad *CARError
			if err == nil {
				taken++
			} else if !errors.As(err, &bad) || bad.Offset > int64(cut) {
				t.Fatalf("cut at %d: %v", cut, err)
			}
		}
		if want := map[int]int{1: 5, 2: 0}[version]; taken != want {
			t.Errorf("version %d: %d cuts were accepted, want %d", version, taken, want)
		}
		for i := range whole {
			flipped := bytes.Clone(whole)
			flipped[i] ^= 1
			_, _ = ReadCAR(ctx, bytes.NewReader(flipped), func(b Block) error {
				if _, err := CheckBlock(b.CID(), b.Data()); err != nil {
					t.Fatalf("bit flipped in byte %d: %v", i, err)
				}
				return nil
			})
		}
	}
}

func TestHostileCARs(t *testing.T) {
	header := carHeader(cids(cidA))
	section := func(b ...byte) []byte { return slices.Concat(header, b) }
	v2 := func(offset, size byte, payload []byte) []byte {
		h := make([]byte, 40)
		h[16], h[24] = offset, size
		return slices.Concat(car.Pragma, h, payload)
	}
	wrong := slices.Concat([]byte{37}, cidA.Bytes(), []byte("b"))
	for name, tc := range map[string]struct {
		b      []byte
		says   string
		offset int64
	}{
		"empty":                    {nil, "header", 0},
		"text":                     {[]byte("hello world, this is not a CAR"), "header", 0},
		"a header of 2^62 bytes":   {[]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x3f}, "over the limit", 0},
		"endless length":           {bytes.Repeat([]byte{0xff}, 20), "larger than uint63", 0},
		"nested header":            {append([]byte{0x80, 0x80, 4}, bytes.Repeat([]byte{0x81}, 1<<16)...), "nested deeper", 0},
		"no version":               {[]byte{1, 0xa0}, "no version", 0},
		"version 7":                {[]byte{10, 0xa1, 0x67, 'v', 'e', 'r', 's', 'i', 'o', 'n', 7}, "version 7", 0},
		"no roots":                 {[]byte{10, 0xa1, 0x67, 'v', 'e', 'r', 's', 'i', 'o', 'n', 1}, "no list of roots", 0},
		"an empty section":         {section(0), "empty CAR header or section", int64(len(header))},
		"a section of 2^62 bytes":  {section(0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x3f), "over the limit", int64(len(header))},
		"truncated section":        {section(50), "ends 0 bytes into a section of 50", int64(len(header))},
		"no CID":                   {section(2, 9, 9), "bad CID", int64(len(header))},
		"wrong bytes":              {section(wrong...), "damaged", int64(len(header))},
		"a long length":            {section(0x80, 0), "not minimally encoded", int64(len(header))},
		"payload before header":    {v2(3, 99, header), "offset", 11},
		"no payload":               {v2(51, 0, header), "size", 11},
		"payload far away":         {v2(200, 99, header), "padding", 11},
		"payload longer than file": {v2(51, byte(len(header)+9), header), "ends 9 bytes before", 51 + int64(len(header))},
		"section across the end":   {v2(51, byte(len(header)+9), section(wrong...)), "has 8 left", 51 + int64(len(header))},
		"version 2 inside 2":       {v2(51, 11, car.Pragma), "version 2 inside", 51},
	} {
		_, err := ReadCAR(ctx, bytes.NewReader(tc.b), func(Block) error { return nil })
		var bad *CARError
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), tc.says) || bad.Offset != tc.offset {
			t.Errorf("%s: %v; want %q at byte %d", name, err, tc.says, tc.offset)
		}
	}
	full := errors.New("disk full")
	good := slices.Concat(header, []byte{37}, cidA.Bytes(), []byte("a"))
	if _, err := ReadCAR(ctx, bytes.NewReader(good), func(Block) error { return full }); err != full {
		t.Errorf("error of put: %v", err)
	}
}

// TestImportCAR: several goroutines that put from reused memory yield the same blocks as ReadCAR.
func TestImportCAR(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	from := new(MemBlocks)
	var roots []cid.Cid
	for _, size := range []int{0, 1, 300, 70_000, 1 << 20, 1 << 20, 1 << 20, MaxBlock, 5, MaxBlock - 1, 1 << 20} {
		for range 5 {
			data := make([]byte, size)
			for i := range data {
				data[i] = byte(r.Uint32())
			}
			b := NewBlock(cid.Raw, data)
			from.Put(ctx, b)
			roots = append(roots, b.cid)
		}
	}
	for i := range 3000 {
		b := NewBlock(cid.Raw, fmt.Append(nil, "small ", i))
		from.Put(ctx, b)
		roots = append(roots, b.cid)
	}
	whole := writeCAR(t, from, CAROptions{}, roots...)
	for name, set := range map[string]interface {
		Blocks
		Len() (int, int64)
	}{"keeps": new(MemBlocks), "copies": new(partBlocks)} {
		got, err := ImportCAR(ctx, iotest.HalfReader(bytes.NewReader(whole)), set)
		if err != nil || !slices.Equal(got, roots) {
			t.Fatalf("%s: %d roots, %v", name, len(got), err)
		}
		n, size := from.Len()
		if m, have := set.Len(); m != n || have != size {
			t.Errorf("%s: %d blocks of %d bytes, want %d of %d", name, m, have, n, size)
		}
		for _, c := range roots {
			b, err := set.Get(ctx, c)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := CheckBlock(c, b.data); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
	}
	// The first of two damaged blocks is reported, regardless of the goroutines' progress.
	for range 20 {
		bad := bytes.Clone(whole)
		bad[len(bad)/4] ^= 1
		bad[len(bad)/2] ^= 1
		_, want := ReadCAR(ctx, bytes.NewReader(bad), func(Block) error { return nil })
		if _, err := ImportCAR(ctx, bytes.NewReader(bad), new(partBlocks)); want == nil || err == nil || err.Error() != want.Error() {
			t.Fatalf("%v, want %v", err, want)
		}
	}
	full := errors.New("disk full")
	if _, err := ImportCAR(ctx, bytes.NewReader(whole), refusing{new(MemBlocks), full}); err != full {
		t.Errorf("error of Put: %v", err)
	}
	stopped, stop := context.WithCancelCause(ctx)
	stop(full)
	if _, err := ImportCAR(stopped, bytes.NewReader(whole), new(partBlocks)); err != full {
		t.Errorf("canceled context: %v", err)
	}
}

// refusing is a set whose Put fails.
type refusing struct {
	*MemBlocks
	err error
}

func (r refusing) Put(context.Context, ...Block) error { return r.err }

func FuzzReadCAR(f *testing.F) {
	bs := new(MemBlocks)
	root, _ := diamond(f, bs)
	f.Add(writeCAR(f, bs, CAROptions{Version: 1}, root))
	f.Add(writeCAR(f, bs, CAROptions{Version: 2}, root))
	f.Fuzz(func(t *testing.T, b []byte) {
		read := new(MemBlocks)
		roots, err := ReadCAR(ctx, bytes.NewReader(b), func(b Block) error {
			if _, err := CheckBlock(b.CID(), b.Data()); err != nil {
				t.Fatal(err)
			}
			return read.Put(ctx, b)
		})
		imported := new(partBlocks)
		same, err2 := ImportCAR(ctx, bytes.NewReader(b), imported)
		if fmt.Sprint(err) != fmt.Sprint(err2) || !slices.Equal(roots, same) {
			t.Fatalf("read: %v, %v; imported: %v, %v", roots, err, same, err2)
		}
		for c, b := range read.m {
			if i := imported.m[c]; !bytes.Equal(i.data, b.data) {
				t.Fatalf("block %s was imported as %x", c, i.data)
			}
		}
	})
}
