package dag

import (
	"bytes"
	"context"
	"io"
	"sync"
	"testing"

	"github.com/ipfs/go-cid"
)

// farBlocks records the announced and the read blocks.
type farBlocks struct {
	MemBlocks
	mu        sync.Mutex
	announced []cid.Cid
	got       map[cid.Cid]bool
}

func (b *farBlocks) Prefetch(_ context.Context, cids []cid.Cid) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.announced = append(b.announced, cids...)
	for _, c := range cids {
		b.got[c] = true
	}
}

func (b *farBlocks) Get(ctx context.Context, c cid.Cid) (Block, error) {
	b.mu.Lock()
	b.got[c] = true
	b.mu.Unlock()
	return b.MemBlocks.Get(ctx, c)
}

// TestPrefetch reads a file of three levels: the leaves to come are announced to a Prefetcher, each once, in order
// and across inner nodes, and never more than half of what was read in sequence.
func TestPrefetch(t *testing.T) {
	const leaf, leaves = 10 << 10, 9000
	bs := &farBlocks{got: map[cid.Cid]bool{}}
	p := UnixFSv1
	p.ChunkSize, p.FileWidth = leaf, 300
	data := make([]byte, leaf*leaves)
	for i := range leaves {
		data[i*leaf], data[i*leaf+1] = byte(i), byte(i>>8)
	}
	e, err := AddFile(ctx, &bs.MemBlocks, bytes.NewReader(data), p)
	if err != nil {
		t.Fatal(err)
	}
	open := func() *File {
		clear(bs.got)
		bs.announced = nil
		f, err := OpenFile(ctx, bs, e.CID)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}

	f := open()
	if _, err := f.WriteTo(ctx, io.Discard); err != nil {
		t.Fatal(err)
	}
	f.Close()
	seen := map[cid.Cid]bool{}
	for _, c := range bs.announced {
		if seen[c] {
			t.Fatalf("%s was announced twice", c)
		}
		seen[c] = true
	}
	if len(bs.announced) < leaves*9/10 {
		t.Errorf("%d of %d leaves were announced", len(bs.announced), leaves)
	}

	f = open()
	if _, err := f.WriteRange(ctx, io.Discard, 20*leaf*300-50*leaf, 100*leaf); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if n := len(bs.got); n < 130 || n > 157 {
		t.Errorf("%d blocks were fetched for a sequence of 100 leaves", n)
	}

	f = open()
	for i := range 90 {
		if _, err := f.ReadAt(ctx, make([]byte, 100), int64(i*7919%leaves*leaf)); err != nil {
			t.Fatal(err)
		}
	}
	f.Close()
	if n := len(bs.got); len(bs.announced) > 0 || n > 90+31 {
		t.Errorf("%d blocks were fetched for 90 random leaves, %d of them ahead", n, len(bs.announced))
	}
}
