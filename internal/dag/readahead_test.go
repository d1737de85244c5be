package dag

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ipfs/go-cid"
)

// slowBlocks is a set that takes a second for each block and counts concurrent reads.
type slowBlocks struct {
	MemBlocks
	mu             sync.Mutex
	gets           map[cid.Cid]int
	now, most, all int
}

func (s *slowBlocks) Get(ctx context.Context, c cid.Cid) (Block, error) {
	s.mu.Lock()
	if s.gets == nil {
		s.gets = make(map[cid.Cid]int)
	}
	s.gets[c]++
	s.all++
	s.now++
	s.most = max(s.most, s.now)
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.now--
		s.mu.Unlock()
	}()
	select {
	case <-time.After(time.Second):
		return s.MemBlocks.Get(ctx, c)
	case <-ctx.Done():
		return Block{}, context.Cause(ctx)
	}
}

func slowFile(t *testing.T) (*slowBlocks, *File, []byte) {
	bs, data := new(slowBlocks), noise(100*100)
	p := UnixFSv1
	p.ChunkSize = 100
	e, err := AddFile(ctx, bs, bytes.NewReader(data), p)
	if err != nil {
		t.Fatal(err)
	}
	f, err := OpenFile(ctx, bs, e.CID)
	if err != nil {
		t.Fatal(err)
	}
	return bs, f, data
}

// TestReadAhead: sequential reads fetch several leaves at a time, each once; random reads fetch only the requested
// leaves.
func TestReadAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bs, f, data := slowFile(t)
		start := time.Now()
		if got, err := io.ReadAll(f.Reader(ctx)); err != nil || !bytes.Equal(got, data) {
			t.Fatal(err)
		}
		if took := time.Since(start); took > 40*time.Second {
			t.Errorf("100 leaves of a second each took %v", took)
		}
		for c, n := range bs.gets {
			if n > 1 {
				t.Errorf("%s was read %d times", c, n)
			}
		}
		if bs.most < 2 || bs.most > aheadLeaves+1 {
			t.Errorf("%d blocks were read at once", bs.most)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		bs, f, data := slowFile(t)
		b := make([]byte, 10)
		for i := range 100 {
			off := int64(i * 37 % 100 * 100)
			if _, err := f.ReadAt(ctx, b, off); err != nil || !bytes.Equal(b, data[off:off+10]) {
				t.Fatal(err)
			}
		}
		if bs.all != 101 || bs.most != 1 {
			t.Errorf("%d blocks were read for 100 leaves, %d at once", bs.all, bs.most)
		}
	})
}

// TestReadAheadCancelled: if a fetch started by one call is cancelled, the next call reads the leaf itself.
func TestReadAheadCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, f, data := slowFile(t)
		first, cancel := context.WithCancelCause(ctx)
		if _, err := f.ReadAt(first, make([]byte, 300), 0); err != nil {
			t.Fatal(err)
		}
		enough := errors.New("enough")
		cancel(enough)
		b := make([]byte, 500)
		if _, err := f.ReadAt(first, b, 300); err != enough {
			t.Errorf("with a canceled ctx: %v", err)
		}
		if _, err := f.ReadAt(ctx, b, 300); err != nil || !bytes.Equal(b, data[300:800]) {
			t.Errorf("afterwards: %v", err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
}
