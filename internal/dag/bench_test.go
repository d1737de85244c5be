package dag

import (
	"bytes"
	"io"
	"testing"

	"github.com/ipfs/go-cid"
)

func benchFile(b *testing.B, size int, p Profile) *File {
	bs := new(MemBlocks)
	e, err := AddFile(ctx, bs, bytes.NewReader(noise(size)), p)
	if err != nil {
		b.Fatal(err)
	}
	f, err := OpenFile(ctx, bs, e.CID)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { f.Close() })
	return f
}

// BenchmarkReadBlock reads a block of 256 KiB in memory into a buffer; compare with BenchmarkMemmove.
func BenchmarkReadBlock(b *testing.B) {
	f := benchFile(b, 256<<10, UnixFSv1)
	buf := make([]byte, 256<<10)
	b.SetBytes(int64(len(buf)))
	for b.Loop() {
		if _, err := f.ReadAt(ctx, buf, 0); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMemmove(b *testing.B) {
	src, dst := make([]byte, 256<<10), make([]byte, 256<<10)
	b.SetBytes(int64(len(dst)))
	for b.Loop() {
		copy(dst, src)
	}
}

func benchSequential(b *testing.B, p Profile) {
	f := benchFile(b, 128<<20, p)
	buf := make([]byte, 64<<10)
	b.SetBytes(f.Size())
	for b.Loop() {
		if _, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{f.Reader(ctx)}, buf); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReadSequential(b *testing.B)   { benchSequential(b, UnixFSv1) }
func BenchmarkReadSequentialV0(b *testing.B) { benchSequential(b, UnixFSv0) }

func BenchmarkReadRandom4KiB(b *testing.B) {
	f := benchFile(b, 128<<20, UnixFSv1)
	buf := make([]byte, 4<<10)
	b.SetBytes(int64(len(buf)))
	off := int64(0)
	for b.Loop() {
		off = (off*6364136223846793005 + 1442695040888963407) & (1<<62 - 1)
		if _, err := f.ReadAt(ctx, buf, off%(f.Size()-4096)); err != nil {
			b.Fatal(err)
		}
	}
}

func benchAdd(b *testing.B, p Profile) {
	data := noise(128 << 20)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := AddFile(ctx, dropBlocks{}, bytes.NewReader(data), p); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAddFile(b *testing.B)   { benchAdd(b, UnixFSv1) }
func BenchmarkAddFileV0(b *testing.B) { benchAdd(b, UnixFSv0) }

// BenchmarkHash1MiB measures the cost of hashing alone in one goroutine.
func BenchmarkHash1MiB(b *testing.B) {
	data := noise(1 << 20)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		NewBlock(cid.Raw, data)
	}
}

func BenchmarkDirWriter20000(b *testing.B) {
	for b.Loop() {
		bigDir(b, new(MemBlocks), 20000)
	}
}

func BenchmarkDirLookup20000(b *testing.B) {
	d, names := bigDir(b, new(MemBlocks), 20000)
	i := 0
	for b.Loop() {
		if _, _, err := d.Lookup(ctx, names[i%len(names)]); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

func BenchmarkDirList20000(b *testing.B) {
	d, _ := bigDir(b, new(MemBlocks), 20000)
	for b.Loop() {
		if err := d.Each(ctx, func(DirEntry) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAddTree5000(b *testing.B) {
	m := manyFiles(5000)(UnixFSv1)
	for b.Loop() {
		addSample(b, dropBlocks{}, m, UnixFSv1)
	}
}
