package wasi

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
)

// BenchmarkRead reads an input whose blocks are in memory, compared with the cost of a copy.
func BenchmarkRead(b *testing.B) {
	bs := &dag.MemBlocks{}
	e, err := dag.AddFile(context.Background(), bs, strings.NewReader(strings.Repeat(longText, 8)), dag.UnixFSv1)
	if err != nil {
		b.Fatal(err)
	}
	c := newCaller(b, Config{Blocks: bs, Inputs: []job.Input{{Name: "f", CID: e.CID}}})
	fd, _ := c.open("in/f", 0, rightRead)
	for _, size := range []int{4 << 10, 64 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			c.iovec(size)
			ctx, p := context.Background(), []uint64{uint64(fd), iovAt, 1, outAt}
			b.SetBytes(int64(size))
			for b.Loop() {
				if fdRead(ctx, c.s, c.m, p) != eOK {
					b.Fatal("read")
				}
				if c.out32() < uint32(size) {
					_, _ = c.seek(fd, 0, 0)
				}
			}
		})
		b.Run(fmt.Sprint("copy/", size), func(b *testing.B) {
			dst, _ := c.m.Read(dataAt, uint32(size))
			b.SetBytes(int64(size))
			for i := 0; b.Loop(); i++ {
				copy(dst, longText[i*size%(len(longText)-size):])
			}
		})
	}
}

// BenchmarkSmallFiles does what a program does with every file of a tree: stat, open, read,
// close.
func BenchmarkSmallFiles(b *testing.B) {
	bs := &dag.MemBlocks{}
	w := dag.NewDirWriter(bs, dag.UnixFSv1)
	for i := range 10_000 {
		e, err := dag.AddFile(context.Background(), bs, strings.NewReader(fmt.Sprint(i)), dag.UnixFSv1)
		if err == nil {
			err = w.Add(fmt.Sprint(i), e)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	dir, err := w.Finish(context.Background())
	if err != nil {
		b.Fatal(err)
	}
	c := newCaller(b, Config{Blocks: bs, Inputs: []job.Input{{Name: "d", CID: dir.CID}}})
	for i := 0; b.Loop(); i++ {
		path := fmt.Sprint("in/d/", i%10_000)
		if st, e := c.stat(path, 0); e != eOK || st.kind != typeRegular {
			b.Fatal("stat", e)
		}
		fd, e := c.open(path, 0, rightRead)
		if e != eOK {
			b.Fatal("open", e)
		}
		if s, _ := c.read(fd, 100); s != fmt.Sprint(i%10_000) {
			b.Fatal("read", s)
		}
		c.close(fd)
	}
}
