package exchange

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
)

func TestFetchFile(t *testing.T) {
	for _, p := range []dag.Profile{dag.UnixFSv1, dag.UnixFSv0} {
		t.Run(p.Name, func(t *testing.T) {
			there, here := new(dag.MemBlocks), new(dag.MemBlocks)
			data := noise(24<<20+17, 1)
			root := addFile(t, there, data, p)
			a, b := newHost(t), newHost(t)
			src := newSource(t, a, there)
			s := newSession(t, newExchange(t, b, Config{Blocks: here}), here, a)
			if got := readFile(t, s, root); !bytes.Equal(got, data) {
				t.Error("file differs")
			}
			blocks, n := there.Len()
			if f := s.Fetched(); f.Blocks != int64(blocks) || f.Bytes != n || f.Waited <= 0 {
				t.Errorf("got %+v, want %d blocks of %d bytes", f, blocks, n)
			}
			if sent := src.Sent(); sent.Blocks != int64(blocks) || sent.Bytes != n || sent.Refused != 0 {
				t.Errorf("got sent %+v", sent)
			}
			readFile(t, here, root) // the file is local now
			s.Close()
			if _, err := s.Get(t.Context(), randomBlock(10).CID()); !errors.Is(err, errSessionClosed) {
				t.Errorf("after Close: %v", err)
			}
		})
	}
}

// TestFetchOnce has many readers of one block: it is transferred once.
func TestFetchOnce(t *testing.T) {
	var reads atomic.Int64
	there, here := &counting{}, new(dag.MemBlocks)
	there.gets = func(cid.Cid) { reads.Add(1); time.Sleep(10 * time.Millisecond) }
	block := randomBlock(1 << 20)
	put(t, there, block)
	a, b := newHost(t), newHost(t)
	newSource(t, a, there)
	s := newSession(t, newExchange(t, b, Config{Blocks: here}), here, a)
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			if i%2 == 0 {
				s.Prefetch(t.Context(), []cid.Cid{block.CID(), block.CID()})
			}
			if got, err := s.Get(t.Context(), block.CID()); err != nil || !bytes.Equal(got.Data(), block.Data()) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := reads.Load(); n != 1 || s.Fetched().Blocks != 1 {
		t.Errorf("block was read %d times and arrived %d times", n, s.Fetched().Blocks)
	}
}

func TestNotFound(t *testing.T) {
	a, b, c := newHost(t), newHost(t), newHost(t)
	newSource(t, a, new(dag.MemBlocks))
	newExchange(t, b, Config{Blocks: new(dag.MemBlocks)}) // it serves no peer
	x := newExchange(t, c, Config{Blocks: new(dag.MemBlocks)})
	s := newSession(t, x, new(dag.MemBlocks), a, b)
	want := randomBlock(10).CID()
	_, err := s.Get(t.Context(), want)
	var sources *SourcesError
	var missing *dag.NotFoundError
	if !errors.As(err, &sources) || !errors.As(err, &missing) || missing.CID != want {
		t.Fatalf("%v", err)
	}
	if e := err.Error(); !strings.Contains(e, a.ID().String()+": does not have the block") || !strings.Contains(e, b.ID().String()+": refused to send the block") {
		t.Errorf("error does not list the asked peers: %v", e)
	}
	lonely := newSession(t, x, new(dag.MemBlocks))
	if _, err := lonely.Get(t.Context(), want); !errors.As(err, &sources) || !strings.Contains(err.Error(), "no peer can be asked") {
		t.Errorf("%v", err)
	}
	if held, err := s.Has(t.Context(), want); held || err != nil {
		t.Errorf("has: %v %v", held, err)
	}
}

func TestHave(t *testing.T) {
	there := new(dag.MemBlocks)
	blocks := []dag.Block{randomBlock(1), randomBlock(2), randomBlock(3)}
	put(t, there, blocks[0], blocks[2])
	a, b := newHost(t), newHost(t)
	newSource(t, a, there)
	x := newExchange(t, b, Config{Blocks: new(dag.MemBlocks)})
	held, err := x.Have(t.Context(), infoOf(a), []cid.Cid{blocks[0].CID(), blocks[1].CID(), blocks[2].CID()})
	if err != nil || !held[0] || held[1] || !held[2] {
		t.Errorf("%v %v", held, err)
	}
	s := newSession(t, x, new(dag.MemBlocks), a)
	if yes, err := s.Has(t.Context(), blocks[2].CID()); !yes || err != nil {
		t.Errorf("%v %v", yes, err)
	}
	if _, err := x.Have(t.Context(), infoOf(a), nil); err == nil {
		t.Error("have accepted zero blocks")
	}
	if _, err := x.Have(t.Context(), infoOf(a), make([]cid.Cid, maxCIDs+1)); err == nil {
		t.Error("have accepted too many blocks")
	}
}

// TestSourcesTogether reads a file from two sources that have a part each, and a third one that has nothing.
func TestSourcesTogether(t *testing.T) {
	all, first, second, here := new(dag.MemBlocks), new(dag.MemBlocks), new(dag.MemBlocks), new(dag.MemBlocks)
	data := noise(8<<20, 2)
	p := dag.UnixFSv1
	p.ChunkSize = 64 << 10
	root := addFile(t, all, data, p)
	n := 0
	dag.Walk(t.Context(), all, []cid.Cid{root}, dag.WalkOptions{Data: true}, func(v dag.Visited) error {
		if n++; n%3 != 0 {
			put(t, first, v.Block)
		}
		if n%3 != 1 {
			put(t, second, v.Block)
		}
		return nil
	})
	a, b, c, d := newHost(t), newHost(t), newHost(t), newHost(t)
	xa, xb := newSource(t, a, first), newSource(t, b, second)
	newSource(t, c, new(dag.MemBlocks))
	s := newSession(t, newExchange(t, d, Config{Blocks: here}), here, c, a, b)
	if got := readFile(t, s, root); !bytes.Equal(got, data) {
		t.Error("file differs")
	}
	if xa.Sent().Blocks == 0 || xb.Sent().Blocks == 0 || s.Fetched().Blocks != int64(n) {
		t.Errorf("sent %+v and %+v, fetched %+v of %d", xa.Sent(), xb.Sent(), s.Fetched(), n)
	}
}

// TestFailover kills one of two sources during a read, and lets another hang.
func TestFailover(t *testing.T) {
	there, here := &counting{}, new(dag.MemBlocks)
	data := noise(8<<20, 3)
	p := dag.UnixFSv1
	p.ChunkSize = 32 << 10
	root := addFile(t, there, data, p)
	a, b, c, d := newHost(t), newHost(t), newHost(t), newHost(t)
	dying := newSource(t, a, there)
	hanging := &counting{MemBlocks: dag.MemBlocks{}}
	hanging.gets = func(cid.Cid) { <-t.Context().Done() }
	newSource(t, b, hanging)
	newSource(t, c, there)
	x := newExchange(t, d, Config{Blocks: here, Stall: 2 * time.Second})
	s := newSession(t, x, here, b, a, c)
	var once sync.Once
	n := atomic.Int64{}
	there.gets = func(cid.Cid) {
		if n.Add(1) == 40 {
			once.Do(func() { go func() { dying.Close(); a.Close() }() })
		}
	}
	if got := readFile(t, s, root); !bytes.Equal(got, data) {
		t.Error("file differs")
	}
}

// TestSlowSource reads a file that two peers have, one of which delays each block: the slow one gets few requests,
// less than half.
func TestSlowSource(t *testing.T) {
	there, here := new(dag.MemBlocks), new(dag.MemBlocks)
	data := noise(16<<20, 4)
	p := dag.UnixFSv1
	p.ChunkSize = 64 << 10
	root := addFile(t, there, data, p)
	a, b, c := newHost(t), newHost(t), newHost(t)
	slow := &counting{}
	var asked atomic.Int64
	slow.gets = func(cid.Cid) {
		asked.Add(1)
		time.Sleep(100 * time.Millisecond)
	}
	dag.Walk(t.Context(), there, []cid.Cid{root}, dag.WalkOptions{Data: true}, func(v dag.Visited) error {
		put(t, &slow.MemBlocks, v.Block)
		return nil
	})
	newExchange(t, a, Config{Blocks: slow, Access: NewAccess(AccessConfig{Blocks: slow, Allows: allowAll}), Ahead: 1})
	newSource(t, b, there)
	s := newSession(t, newExchange(t, c, Config{Blocks: here}), here, a, b)
	begun := time.Now()
	if got := readFile(t, s, root); !bytes.Equal(got, data) {
		t.Error("file differs")
	}
	n := s.Fetched().Blocks
	t.Logf("the slow source got %d of %d requests in %s", asked.Load(), n, time.Since(begun))
	if 8*asked.Load() > n {
		t.Errorf("the slow source got %d of %d requests", asked.Load(), n)
	}
}

// TestHalves prefetches blocks half of which only a slow peer has and half another peer: the first one does not delay
// the other.
func TestHalves(t *testing.T) {
	slow, fast, here := &counting{}, new(dag.MemBlocks), new(dag.MemBlocks)
	var cids []cid.Cid
	for i := range 400 {
		b := randomBlock(1000)
		cids = append(cids, b.CID())
		if i%2 == 0 {
			put(t, &slow.MemBlocks, b)
		} else {
			put(t, fast, b)
		}
	}
	a, b, c := newHost(t), newHost(t), newHost(t)
	xb := newSource(t, b, fast)
	var served, atHundred atomic.Int64
	slow.gets = func(c cid.Cid) {
		if held, _ := slow.MemBlocks.Has(t.Context(), c); !held {
			return
		}
		time.Sleep(10 * time.Millisecond)
		if served.Add(1) == 100 {
			atHundred.Store(xb.Sent().Blocks)
		}
	}
	newExchange(t, a, Config{Blocks: slow, Access: NewAccess(AccessConfig{Blocks: slow, Allows: allowAll}), Ahead: 1})
	s := newSession(t, newExchange(t, c, Config{Blocks: here, Window: 8000}), here, a, b)
	s.Prefetch(t.Context(), cids)
	eventually(t, "all blocks are local", func() bool { n, _ := here.Len(); return n == len(cids) })
	if n := atHundred.Load(); n < 190 {
		t.Errorf("when the slow peer had sent 100 blocks, the other had sent %d", n)
	}
}

// TestArrivedDuringLookup has a block arrive just after a caller has looked for it locally: it is not requested
// again.
func TestArrivedDuringLookup(t *testing.T) {
	there := new(dag.MemBlocks)
	block := randomBlock(100)
	put(t, there, block)
	for name, look := range map[string]func(s *Session) error{
		"get":      func(s *Session) error { _, err := s.Get(t.Context(), block.CID()); return err },
		"prefetch": func(s *Session) error { s.Prefetch(t.Context(), []cid.Cid{block.CID()}); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			a, b := newHost(t), newHost(t)
			src := newSource(t, a, there)
			here := &late{}
			s := newSession(t, newExchange(t, b, Config{Blocks: here}), here, a)
			here.missed = func() {
				if _, err := s.Get(t.Context(), block.CID()); err != nil {
					t.Error(err)
				}
			}
			if err := look(s); err != nil {
				t.Error(err)
			}
			eventually(t, "no want is open", func() bool {
				s.mu.Lock()
				defer s.mu.Unlock()
				return len(s.wants) == 0
			})
			if n := src.Sent().Blocks; n != 1 {
				t.Errorf("block was sent %d times", n)
			}
		})
	}
}

// late calls missed after the first local lookup without a result.
type late struct {
	dag.MemBlocks
	missed func()
	done   atomic.Bool
}

func (l *late) miss() {
	if l.done.CompareAndSwap(false, true) {
		l.missed()
	}
}

func (l *late) Get(ctx context.Context, c cid.Cid) (dag.Block, error) {
	b, err := l.MemBlocks.Get(ctx, c)
	if err != nil {
		l.miss()
	}
	return b, err
}

func (l *late) Has(ctx context.Context, c cid.Cid) (bool, error) {
	held, err := l.MemBlocks.Has(ctx, c)
	if !held {
		l.miss()
	}
	return held, err
}

// TestCancelledGet cancels one caller of a fetch that others wait for: the fetch continues.
func TestCancelledGet(t *testing.T) {
	there, here := &counting{}, new(dag.MemBlocks)
	release := make(chan struct{})
	there.gets = func(cid.Cid) { <-release }
	block := randomBlock(100)
	put(t, there, block)
	a, b := newHost(t), newHost(t)
	newSource(t, a, there)
	s := newSession(t, newExchange(t, b, Config{Blocks: here}), here, a)
	ctx, cancel := context.WithCancelCause(t.Context())
	mine := errors.New("mine")
	other := make(chan error, 1)
	go func() { _, err := s.Get(t.Context(), block.CID()); other <- err }()
	time.AfterFunc(20*time.Millisecond, func() { cancel(mine) })
	if _, err := s.Get(ctx, block.CID()); err != mine {
		t.Errorf("%v", err)
	}
	close(release)
	if err := <-other; err != nil {
		t.Error(err)
	}
}

// TestIdle lets the streams of a session end and start again.
func TestIdle(t *testing.T) {
	there, here := new(dag.MemBlocks), new(dag.MemBlocks)
	blocks := []dag.Block{randomBlock(1), randomBlock(2)}
	put(t, there, blocks...)
	a, b := newHost(t), newHost(t)
	src := newSource(t, a, there)
	s := newSession(t, newExchange(t, b, Config{Blocks: here, Idle: 20 * time.Millisecond}), here, a)
	for _, bl := range blocks {
		if _, err := s.Get(t.Context(), bl.CID()); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the stream ends", func() bool { return src.gate.Open() == 0 })
	}
}

// TestRandomAccess reads 1 % of a large file in many places, and 1 % in one piece: at most 2 % of its bytes are
// transferred.
func TestRandomAccess(t *testing.T) {
	const size = 100 << 20
	there := new(dag.MemBlocks)
	data := noise(size, 4)
	for _, p := range []dag.Profile{
		{Name: "100 KiB", CIDVersion: 1, ChunkSize: 100 << 10, RawLeaves: true, FileWidth: 174},
		{Name: "64 KiB", CIDVersion: 1, ChunkSize: 64 << 10, RawLeaves: true, FileWidth: 1024},
	} {
		root := addFile(t, there, data, p)
		a, b := newHost(t), newHost(t)
		newSource(t, a, there)
		x := newExchange(t, b, Config{Blocks: new(dag.MemBlocks)})
		for name, read := range map[string]func(f *dag.File) error{
			"one piece": func(f *dag.File) error {
				_, err := f.ReadAt(t.Context(), make([]byte, size/100), size/3)
				return err
			},
			"many pieces": func(f *dag.File) error {
				whole := make([]byte, p.ChunkSize)
				for i := range size / 100 / p.ChunkSize {
					if _, err := f.ReadAt(t.Context(), whole, int64(i*7919*p.ChunkSize%size)); err != nil {
						return err
					}
				}
				return nil
			},
		} {
			s := newSession(t, x, new(dag.MemBlocks), a)
			f, err := dag.OpenFile(t.Context(), s, root)
			if err != nil {
				t.Fatal(err)
			}
			if err := read(f); err != nil {
				t.Fatal(err)
			}
			f.Close()
			eventually(t, "all requested blocks arrived", func() bool {
				s.mu.Lock()
				defer s.mu.Unlock()
				return len(s.wants) == 0
			})
			if n := s.Fetched().Bytes; n > size/50 {
				t.Errorf("%s, %s: transferred %d bytes of %d, %.1f %%", p.Name, name, n, size, float64(n)*100/size)
			}
		}
	}
}

// TestManySessions runs sessions one after the other: libp2p's limits reveal leaked streams.
func TestManySessions(t *testing.T) {
	there := new(dag.MemBlocks)
	block := randomBlock(100)
	put(t, there, block)
	a, b := newHost(t), newHost(t)
	newSource(t, a, there)
	x := newExchange(t, b, Config{Blocks: new(dag.MemBlocks), Idle: time.Millisecond})
	for i := range 400 {
		s := x.Session(SessionConfig{Local: new(dag.MemBlocks), Sources: []peer.AddrInfo{infoOf(a)}})
		if _, err := s.Get(t.Context(), block.CID()); err != nil {
			t.Fatalf("after %d: %v", i, err)
		}
		if i%2 == 0 {
			time.Sleep(time.Millisecond)
		}
		s.Close()
		if _, err := x.Have(t.Context(), infoOf(a), []cid.Cid{block.CID()}); err != nil {
			t.Fatalf("after %d: %v", i, err)
		}
	}
}
