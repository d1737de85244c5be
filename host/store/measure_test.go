package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"github.com/ipfs-liftoff/liftoff/host/store/segment"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
)

// Benchmarks for the storage measurements that the docs quote. LIFTOFF_TEST_LARGE runs the marked ones at full size.

func large() bool { return os.Getenv("LIFTOFF_TEST_LARGE") != "" }

// BenchmarkAppend puts 256 MiB in blocks of 256 KiB and compares that with appending the same bytes to one file, and
// gets them and compares that with reading the file, in alternating order. All files are new, and each write waits
// for the disk at its end. Get, which allocates its result, is compared with reads into new memory, and ReadPart with
// reads into the same memory.
func BenchmarkAppend(b *testing.B) {
	const size = 256 << 10
	blocks := make([]dag.Block, 1024)
	for i := range blocks {
		blocks[i] = raw(uint64(i), size)
	}
	took := map[string][]float64{}
	timed := func(name string, fn func()) {
		start := time.Now()
		fn()
		took[name] = append(took[name], time.Since(start).Seconds())
	}
	buf := make([]byte, size)
	var kept []byte
	file := func() {
		path := filepath.Join(b.TempDir(), "f")
		f, err := os.Create(path)
		must(b, err)
		defer os.Remove(path)
		defer f.Close()
		timed("append", func() {
			for _, block := range blocks {
				_, err := f.Write(block.Data())
				must(b, err)
			}
			must(b, f.Sync())
		})
		timed("read", func() {
			for i := range blocks {
				_, err := f.ReadAt(buf, int64(i)*size)
				must(b, err)
			}
		})
		timed("read-new", func() {
			for i := range blocks {
				kept = make([]byte, size)
				_, err := f.ReadAt(kept, int64(i)*size)
				must(b, err)
			}
		})
	}
	store := func() {
		s := newStore(b)
		defer os.RemoveAll(s.Dir())
		defer s.Close()
		timed("put", func() {
			must(b, s.Put(b.Context(), blocks...))
			must(b, s.Sync(b.Context()))
		})
		timed("get", func() {
			for _, block := range blocks {
				got, err := s.Get(b.Context(), block.CID())
				must(b, err)
				kept = got.Data()
			}
		})
		timed("readpart", func() {
			for _, block := range blocks {
				_, _, err := s.ReadPart(b.Context(), block.CID(), buf, 0)
				must(b, err)
			}
		})
	}
	order := []func(){file, store}
	for b.Loop() {
		order[0]()
		order[1]()
		slices.Reverse(order)
	}
	runtime.KeepAlive(kept)
	for name, list := range took {
		b.ReportMetric(median(list)*1000, name+"-ms")
	}
	for name, plain := range map[string]string{"put": "append", "get": "read-new", "readpart": "read"} {
		ratios := make([]float64, len(took[name]))
		for i := range ratios {
			ratios[i] = took[plain][i] / took[name][i]
		}
		b.ReportMetric(median(ratios), plain+"/"+name)
	}
}

func median(list []float64) float64 { return slices.Sorted(slices.Values(list))[len(list)/2] }

// BenchmarkPutMany fills a store with 1,000,000 blocks of 300 bytes (100,000 without LIFTOFF_TEST_LARGE), from two
// goroutines, each of which syncs after every 1,000 blocks: they share the syncs. It reports the rate of the slowest
// tenth, and the highest memory use at the end of a tenth.
func BenchmarkPutMany(b *testing.B) {
	n := uint64(100_000)
	if large() {
		n = 1_000_000
	}
	var slowest time.Duration
	var memory uint64
	for b.Loop() {
		s := newStore(b)
		for tenth := range uint64(10) {
			start := time.Now()
			putMany(b, s, tenth*n/10, (tenth+1)*n/10)
			slowest = max(slowest, time.Since(start))
			var now runtime.MemStats
			runtime.ReadMemStats(&now)
			memory = max(memory, now.HeapInuse+now.StackInuse)
		}
		must(b, s.Close())
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "blocks/s")
	b.ReportMetric(float64(n/10)/slowest.Seconds(), "slowest-tenth-blocks/s")
	b.ReportMetric(float64(memory)/(1<<20), "MiB")
}

// putMany puts the blocks from to to-1.
func putMany(b *testing.B, s *Store, from, to uint64) {
	var next atomic.Uint64
	next.Store(from)
	var group sync.WaitGroup
	for range 2 {
		group.Go(func() {
			for i := next.Add(1); i <= to; i = next.Add(1) {
				if err := s.Put(b.Context(), small300(i)); err != nil {
					b.Error(err)
					return
				}
				if i%1000 == 0 {
					if err := s.Sync(b.Context()); err != nil {
						b.Error(err)
						return
					}
				}
			}
		})
	}
	group.Wait()
}

// small300 makes a block of 300 bytes.
func small300(i uint64) dag.Block {
	data := make([]byte, 300)
	binary.LittleEndian.PutUint64(data, i)
	return dag.NewBlock(cid.Raw, data)
}

// BenchmarkAmongMany gets and looks up blocks of 300 bytes among 1,000,000 (100,000 without LIFTOFF_TEST_LARGE).
func BenchmarkAmongMany(b *testing.B) {
	n := uint64(100_000)
	if large() {
		n = 1_000_000
	}
	s := newStore(b)
	cids := make([]cid.Cid, n)
	for i := range n {
		block := small300(i)
		must(b, s.Put(b.Context(), block))
		cids[i] = block.CID()
	}
	b.Run("get", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			_, err := s.Get(b.Context(), cids[i*7919%len(cids)])
			must(b, err)
		}
	})
	b.Run("has", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			_, err := s.Has(b.Context(), cids[i*7919%len(cids)])
			must(b, err)
		}
	})
	absent := make([]cid.Cid, 1000)
	for i := range absent {
		absent[i] = small300(n + 1 + uint64(i)).CID()
	}
	b.Run("has-not", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			_, err := s.Has(b.Context(), absent[i%len(absent)])
			must(b, err)
		}
	})
}

// BenchmarkRandomRead reads 4 KiB at random offsets of a file of 1 GiB (256 MiB without LIFTOFF_TEST_LARGE), cached
// in memory.
func BenchmarkRandomRead(b *testing.B) {
	size := int64(256 << 20)
	if large() {
		size = 1 << 30
	}
	s := newStore(b)
	n := s.Begin()
	defer n.End()
	e, err := dag.AddFile(b.Context(), n, &endless{left: size}, dag.UnixFSv1)
	must(b, err)
	f, err := dag.OpenFile(b.Context(), n, e.CID)
	must(b, err)
	p := make([]byte, 4096)
	for at := int64(0); at < size; at += 1 << 20 { // each leaf once
		_, err := f.ReadAt(b.Context(), p, at)
		must(b, err)
	}
	r := rand.New(rand.NewPCG(1, 1))
	for b.Loop() {
		_, err := f.ReadAt(b.Context(), p, r.Int64N(size-4096))
		must(b, err)
	}
}

// endless yields bytes in which all chunks differ.
type endless struct{ left, at int64 }

func (e *endless) Read(p []byte) (int, error) {
	n := int(min(int64(len(p)), e.left))
	if n == 0 {
		return 0, io.EOF
	}
	for i := 0; i+8 <= n; i += 4096 {
		binary.LittleEndian.PutUint64(p[i:], uint64(e.at))
		e.at++
	}
	e.left -= int64(n)
	return n, nil
}

// BenchmarkCoverage queries the coverage of a root of 10 GiB in leaves of 1 MiB, of which all, or every other one,
// are present. Only the index says that the leaves are present.
func BenchmarkCoverage(b *testing.B) {
	for _, part := range []string{"whole", "half"} {
		b.Run(part, func(b *testing.B) {
			s := newStore(b)
			root := fakeFile(b, s, 10<<10, part == "half")
			if part == "whole" {
				_, err := s.Coverage(b.Context(), root) // the first call walks
				must(b, err)
			}
			for b.Loop() {
				if part == "half" {
					s.coverage.forget() // as in another process
				}
				c, err := s.Coverage(b.Context(), root)
				if err != nil || !c.Exact || (c.Have == c.Total) != (part == "whole") {
					b.Fatalf("%+v, %v", c, err)
				}
			}
		})
	}
}

// fakeFile puts a file with the given number of small, distinct leaves.
func fakeFile(b *testing.B, s *Store, leaves int, half bool) cid.Cid {
	b.Helper()
	profile := dag.UnixFSv1
	profile.ChunkSize = 64
	sink := &halfSink{Store: s, half: half}
	e, err := dag.AddFile(b.Context(), sink, &counter{left: leaves}, profile)
	must(b, err)
	return e.CID
}

// counter yields chunks of 64 bytes.
type counter struct{ left int }

func (c *counter) Read(p []byte) (int, error) {
	if c.left == 0 || len(p) < 64 {
		return 0, io.EOF
	}
	binary.LittleEndian.PutUint64(p, uint64(c.left))
	c.left--
	return 64, nil
}

// halfSink drops every other leaf.
type halfSink struct {
	*Store
	half bool
	n    int
}

func (h *halfSink) Put(ctx context.Context, bs ...dag.Block) error {
	for _, b := range bs {
		if h.n++; h.half && b.CID().Type() == cid.Raw && h.n%2 == 0 {
			continue
		}
		if err := h.Store.Put(ctx, b); err != nil {
			return err
		}
	}
	return nil
}

// BenchmarkOpenLarge opens a store with the index of 100 GB of blocks of 256 KiB.
func BenchmarkOpenLarge(b *testing.B) {
	const blocks = 100_000_000_000 / (256 << 10)
	dir := b.TempDir()
	sum := make([]byte, 8)
	must(b, segment.Synthetic(dir, blocks, 256<<10, func(i int) multihash.Multihash {
		binary.LittleEndian.PutUint64(sum, uint64(i))
		return dag.NewBlock(cid.Raw, sum).CID().Hash()
	}))
	for b.Loop() {
		s, err := segment.Open(dir, segment.Config{})
		must(b, err)
		must(b, s.Close())
	}
	b.ReportMetric(float64(blocks), "blocks")
}

// BenchmarkAttach reads and hashes a CAR of 1 GiB (10 GiB with LIFTOFF_TEST_LARGE), which is mostly holes and
// therefore cached in memory, and a folder of 10,000 files.
func BenchmarkAttach(b *testing.B) {
	b.Run("car", func(b *testing.B) {
		size := int64(1 << 30)
		if large() {
			size = 10 << 30
		}
		path := filepath.Join(b.TempDir(), "x.car")
		sparseCAR(b, path, int(size>>20))
		b.SetBytes(size)
		for b.Loop() {
			s := newStore(b)
			a, err := s.Attach(b.Context(), AttachCAR, path, true)
			must(b, err)
			if a.Bytes < size {
				b.Fatalf("attached %d bytes", a.Bytes)
			}
		}
	})
	b.Run("dir", func(b *testing.B) {
		dir := b.TempDir()
		for i := range 10_000 {
			must(b, os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), noise(uint64(i), 1000+i%7000), 0o600))
		}
		for b.Loop() {
			s := newStore(b)
			_, err := s.Attach(b.Context(), AttachDir, dir, true)
			must(b, err)
		}
	})
}

// sparseCAR writes a CAR of a file of leaves of 1 MiB: a number each, and zeros.
func sparseCAR(b *testing.B, path string, leaves int) {
	b.Helper()
	from := &numbered{leaves: map[cid.Cid]uint64{}}
	e, err := dag.AddFile(b.Context(), from, &numbers{left: leaves}, dag.UnixFSv1)
	must(b, err)
	f, err := os.Create(path)
	must(b, err)
	must(b, dag.WriteCAR(b.Context(), holes{f}, from, []cid.Cid{e.CID}, dag.CAROptions{}))
	end, err := f.Seek(0, io.SeekCurrent)
	must(b, err)
	must(b, f.Truncate(end))
	must(b, f.Close())
}

// numbers yields 1 MiB for each number.
type numbers struct {
	left int
	rest []byte
}

func (n *numbers) Read(p []byte) (int, error) {
	if len(n.rest) == 0 {
		if n.left == 0 {
			return 0, io.EOF
		}
		n.rest = numberedLeaf(uint64(n.left))
		n.left--
	}
	k := copy(p, n.rest)
	n.rest = n.rest[k:]
	return k, nil
}

func numberedLeaf(i uint64) []byte {
	data := make([]byte, 1<<20)
	binary.LittleEndian.PutUint64(data, i)
	return data
}

// numbered regenerates its leaves when they are read.
type numbered struct {
	dag.MemBlocks
	mu     sync.Mutex
	leaves map[cid.Cid]uint64
}

func (n *numbered) Put(ctx context.Context, bs ...dag.Block) error {
	for _, one := range bs {
		if one.CID().Type() != cid.Raw {
			if err := n.MemBlocks.Put(ctx, one); err != nil {
				return err
			}
			continue
		}
		n.mu.Lock()
		n.leaves[one.CID()] = binary.LittleEndian.Uint64(one.Data())
		n.mu.Unlock()
	}
	return nil
}

func (n *numbered) Get(ctx context.Context, c cid.Cid) (dag.Block, error) {
	n.mu.Lock()
	i, ok := n.leaves[c]
	n.mu.Unlock()
	if !ok {
		return n.MemBlocks.Get(ctx, c)
	}
	return dag.TrustBlock(c, numberedLeaf(i)), nil
}

// holes skips aligned zeros of 4 KiB and more instead of writing them.
type holes struct{ f *os.File }

var zeros [4096]byte

func (h holes) Write(p []byte) (int, error) {
	for left := p; len(left) > 0; {
		part := left[:min(len(left), len(zeros))]
		left = left[len(part):]
		var err error
		if bytes.Equal(part, zeros[:len(part)]) {
			_, err = h.f.Seek(int64(len(part)), io.SeekCurrent)
		} else {
			_, err = h.f.Write(part)
		}
		if err != nil {
			return 0, err
		}
	}
	return len(p), nil
}
