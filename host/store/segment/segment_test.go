package segment

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	car "github.com/ipld/go-car/v2"
)

func open(t testing.TB, dir string, cfg Config) *Store {
	t.Helper()
	s, err := Open(dir, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// fill puts n blocks and deletes every fifth.
func fill(t testing.TB, s *Store, n uint64) {
	t.Helper()
	for i := range n {
		mh, data := block(i, sizeOf(i))
		must(t, s.Put(mh, data))
	}
	for i := uint64(0); i < n; i += 5 {
		mh, _ := block(i, sizeOf(i))
		must(t, s.Delete(mh))
	}
}

// TestLostIndex removes or damages the index in several ways. It is rebuilt from the segments: every block that was
// not deleted is there; deleted blocks may come back.
func TestLostIndex(t *testing.T) {
	const n = 300
	for name, harm := range map[string]func(t *testing.T, index string){
		"gone":          func(t *testing.T, p string) { must(t, os.Remove(p)) },
		"empty":         func(t *testing.T, p string) { must(t, os.Truncate(p, 0)) },
		"cut":           func(t *testing.T, p string) { must(t, os.Truncate(p, 5000)) },
		"a bit of tail": func(t *testing.T, p string) { flip(t, p, -20) },
		"a bit of page": func(t *testing.T, p string) { flip(t, p, 300) },
		"a bit of separators": func(t *testing.T, p string) {
			flip(t, p, -tailSize-3)
		},
		"another's": func(t *testing.T, p string) {
			must(t, os.Rename(p, filepath.Join(filepath.Dir(p), "00000007-00000009.index")))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir, Config{MaxSegment: 200_000})
			fill(t, s, n)
			must(t, s.Close())
			all, err := filepath.Glob(filepath.Join(dir, "*.index"))
			must(t, err)
			if len(all) != 1 {
				t.Fatalf("%q", all)
			}
			harm(t, all[0])

			s = open(t, dir, Config{MaxSegment: 200_000})
			if name == "a bit of page" { // detected when the page is read, and repaired by the next Open
				err := s.Each(t.Context(), func(Entry) error { return nil })
				var bad *DamageError
				if !errors.As(err, &bad) || bad.File != all[0] {
					t.Fatalf("%v", err)
				}
				must(t, s.Close())
				s = open(t, dir, Config{MaxSegment: 200_000})
			}
			for i := range uint64(n) {
				mh, data := block(i, sizeOf(i))
				if got, err := s.Get(mh); (i%5 != 0 || err == nil) && (err != nil || !bytes.Equal(got, data)) {
					t.Errorf("block %d: %v", i, err)
				}
			}
			must(t, s.Close())
			s = open(t, dir, Config{})
			for i := uint64(1); i < n; i += 5 {
				mh, data := block(i, sizeOf(i))
				if got, err := s.Get(mh); err != nil || !bytes.Equal(got, data) {
					t.Errorf("block %d: %v", i, err)
				}
			}
		})
	}
}

func flip(t *testing.T, path string, at int64) {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	if at < 0 {
		at += int64(len(b))
	}
	b[at] ^= 4
	must(t, os.WriteFile(path, b, 0o600))
}

// TestEveryBit flips each bit of a small segment in turn, with and without its index: a block is correct, or an
// error, or, if its multihash was hit and there is no index, absent. The others are correct.
func TestEveryBit(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Config{})
	sizes := []int{0, 1, 40, 200}
	for _, i := range []int{3, 0, 1, 2} { // 3 has a multihash that resync does not find: put it first
		mh, data := block(uint64(i), sizes[i])
		must(t, s.Put(mh, data))
	}
	must(t, s.flushAll())
	must(t, s.Close())
	path := filepath.Join(dir, "00000001.car")
	index := filepath.Join(dir, "00000001-00000001.index")
	good, err := os.ReadFile(path)
	must(t, err)
	table, err := os.ReadFile(index)
	must(t, err)
	for bit := 8 * len(carHeader); bit < 8*len(good); bit++ {
		for _, indexed := range []bool{true, false} {
			b := bytes.Clone(good)
			b[bit/8] ^= 1 << (bit % 8)
			must(t, os.WriteFile(path, b, 0o600))
			os.Remove(index)
			if indexed {
				must(t, os.WriteFile(index, table, 0o600))
			}
			s, err := Open(dir, Config{ReadOnly: true})
			must(t, err)
			wrong := 0
			for i, n := range sizes {
				mh, data := block(uint64(i), n)
				got, err := s.Get(mh)
				var bad *DamageError
				switch {
				case err == nil && bytes.Equal(got, data):
				case errors.As(err, &bad), !indexed && errors.Is(err, ErrAbsent):
					wrong++
				default:
					t.Fatalf("bit %d, block %d: %d bytes, %v", bit, i, len(got), err)
				}
			}
			if wrong > 1 {
				t.Fatalf("bit %d, index %v: %d blocks are affected", bit, indexed, wrong)
			}
			must(t, s.Close())
		}
	}
}

func TestCompact(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Config{MaxSegment: 100_000})
	fill(t, s, 300)
	room := func() (sum int64) {
		list, err := os.ReadDir(dir)
		must(t, err)
		for _, e := range list {
			info, err := e.Info()
			must(t, err)
			sum += info.Size()
		}
		return sum
	}
	before := room()
	for i := range uint64(300) {
		if i%5 != 0 && i > 100 {
			mh, _ := block(i, sizeOf(i))
			must(t, s.Delete(mh))
		}
	}
	var readers sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	for range 2 {
		readers.Go(func() { // blocks stay readable while they move
			for i := uint64(1); ctx.Err() == nil; i = i%100 + 1 {
				mh, data := block(i, sizeOf(i))
				if got, err := s.Get(mh); i%5 != 0 && (err != nil || !bytes.Equal(got, data)) {
					t.Errorf("block %d: %v", i, err)
					return
				}
			}
		})
	}
	done, err := s.Compact(t.Context(), Half)
	must(t, err)
	cancel()
	readers.Wait()
	if after := room(); done.Segments < 2 || after > before/2 {
		t.Errorf("%+v: %d of %d bytes remain", done, after, before)
	}
	for range 2 {
		for i := range uint64(300) {
			mh, data := block(i, sizeOf(i))
			got, err := s.Get(mh)
			if i%5 == 0 || i > 100 {
				if !errors.Is(err, ErrAbsent) {
					t.Errorf("block %d: %v", i, err)
				}
			} else if err != nil || !bytes.Equal(got, data) {
				t.Errorf("block %d: %v", i, err)
			}
		}
		must(t, s.Close())
		s = open(t, dir, Config{})
	}
}

// TestManyTables puts enough blocks for tables to be written and merged in the background.
func TestManyTables(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Config{MaxSegment: 4 << 20})
	const n = 3*maxRecent + 1000
	name := func(i uint64) (mh, data []byte) { return block(7*i, 20) }
	var group sync.WaitGroup
	for w := range uint64(2) {
		group.Go(func() {
			for i := w; i < n; i += 2 {
				mh, data := name(i)
				if err := s.Put(mh, data); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	must(t, s.Close())
	s = open(t, dir, Config{})
	seen := 0
	must(t, s.Each(t.Context(), func(Entry) error { seen++; return nil }))
	if seen != n {
		t.Errorf("%d blocks of %d", seen, n)
	}
	for i := uint64(0); i < n; i += 97 {
		mh, data := name(i)
		if got, err := s.Get(mh); err != nil || !bytes.Equal(got, data) {
			t.Errorf("block %d: %v", i, err)
		}
	}
}

// TestCloseWithoutSync: Close without Sync leaves the index to the next Open, which rebuilds it.
func TestCloseWithoutSync(t *testing.T) {
	dir := t.TempDir()
	tables := func() int {
		names, err := filepath.Glob(filepath.Join(dir, "*.index"))
		must(t, err)
		return len(names)
	}
	s := open(t, dir, Config{})
	const n = 8
	for i := range uint64(n) {
		mh, data := block(i, maxUnflushedBytes/2)
		must(t, s.Put(mh, data))
	}
	must(t, s.Close())
	if k := tables(); k != 0 {
		t.Errorf("the first Close left %d tables", k)
	}
	s = open(t, dir, Config{})
	for i := range uint64(n) {
		mh, data := block(i, maxUnflushedBytes/2)
		if got, err := s.Get(mh); err != nil || !bytes.Equal(got, data) {
			t.Errorf("block %d: %v", i, err)
		}
	}
	must(t, s.Close())
	if k := tables(); k != 1 {
		t.Errorf("the second Close left %d tables", k)
	}
	s = open(t, dir, Config{})
	mh, data := block(n, 2*maxUnflushedBytes)
	must(t, s.Put(mh, data))
	must(t, s.Sync())
	must(t, s.Close())
	if k := tables(); k == 0 {
		t.Error("synced blocks are not in a table")
	}
}

// TestASegmentIsACAR: go-car can read a segment.
func TestASegmentIsACAR(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Config{})
	fill(t, s, 20)
	must(t, s.Close())
	f, err := os.Open(filepath.Join(dir, "00000001.car"))
	must(t, err)
	defer f.Close()
	r, err := car.NewBlockReader(f)
	must(t, err)
	for i := range uint64(20) {
		b, err := r.Next()
		must(t, err)
		if mh, data := block(i, sizeOf(i)); !bytes.Equal(b.Cid().Hash(), mh) || !bytes.Equal(b.RawData(), data) {
			t.Errorf("block %d", i)
		}
	}
}
