package segment

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/multiformats/go-multihash"

	"github.com/ipfs-liftoff/liftoff/internal/diskfs"
	"github.com/ipfs-liftoff/liftoff/internal/diskfs/simdisk"
)

func block(seed uint64, n int) (multihash.Multihash, []byte) {
	r := rand.New(rand.NewPCG(seed, 99))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	code := uint64(multihash.SHA2_256)
	if seed%7 == 3 {
		code = multihash.SHA2_512
	}
	mh, err := multihash.Sum(b, code, -1)
	if err != nil {
		panic(err)
	}
	return mh, b
}

// expected is the state that a store must have: what was put, and what a Sync made durable.
type expected struct {
	put  map[uint64]bool // by seed; false: deleted, but may come back
	safe map[uint64]bool
}

func sizeOf(seed uint64) int { return int(seed*seed*37) % 9000 }

// TestCrashes kills a store, or cuts its power, before each of many steps of a random run, also in the middle of
// writes. After a kill every block for which Put returned must be there, after a power loss every block before a
// Sync; no block may have other bytes. LIFTOFF_KILLS makes it longer.
func TestCrashes(t *testing.T) {
	rounds := 60
	if n, err := strconv.Atoi(os.Getenv("LIFTOFF_KILLS")); err == nil {
		rounds = 20 * n
	}
	for seed := range uint64(rounds) {
		r := rand.New(rand.NewPCG(seed, 5))
		d := simdisk.New(seed)
		w := expected{map[uint64]bool{}, map[uint64]bool{}}
		for life := range 4 {
			d.DieAt(1 + r.IntN(120))
			live(t, d, r, &w)
			power := r.IntN(2) == 0
			if power { // only synced blocks must be there
				w.put = map[uint64]bool{}
				for s := range w.safe {
					w.put[s] = true
				}
			}
			d = d.Restart(power)
			if err := check(d, w); err != nil {
				t.Fatalf("seed %d, life %d, power %v: %v\n%v", seed, life, power, err, d)
			}
		}
	}
}

// live uses a store until the disk fails.
func live(t *testing.T, d *simdisk.Disk, r *rand.Rand, w *expected) {
	s, err := Open("d", Config{FS: d, MaxSegment: 40_000})
	if err != nil {
		if !errors.Is(err, simdisk.ErrPower) {
			t.Fatalf("open: %v", err)
		}
		return
	}
	defer s.Close()
	for range 200 {
		seed := r.Uint64N(60)
		mh, data := block(seed, sizeOf(seed))
		switch r.IntN(12) {
		case 0:
			if s.Sync() == nil {
				for s, there := range w.put {
					if there {
						w.safe[s] = true
					}
				}
			}
		case 1, 2:
			w.put[seed] = false
			delete(w.put, seed)
			delete(w.safe, seed)
			s.Delete(mh)
		case 3:
			s.flushAll()
		case 4:
			s.Compact(t.Context(), Half)
		default:
			if s.Put(mh, data) == nil {
				w.put[seed] = true
			}
		}
		if d.Dead() {
			return
		}
	}
}

// check opens the store after a crash, twice, and reads all of it.
func check(d *simdisk.Disk, w expected) error {
	for range 2 {
		s, err := Open("d", Config{FS: d, MaxSegment: 40_000})
		if err != nil {
			return fmt.Errorf("open: %w", err)
		}
		for seed := range uint64(60) {
			mh, data := block(seed, sizeOf(seed))
			got, err := s.Get(mh)
			var bad *DamageError
			switch {
			case err == nil && !bytes.Equal(got, data):
				return fmt.Errorf("block %d: other bytes", seed)
			case w.put[seed] && err != nil:
				return fmt.Errorf("block %d is lost: %w", seed, err)
			case err != nil && !errors.Is(err, ErrAbsent) && !errors.As(err, &bad):
				return fmt.Errorf("block %d: %w", seed, err)
			}
			if err != nil { // it can be put again
				continue
			}
		}
		mh, data := block(1000, 500)
		if err := s.Put(mh, data); err != nil {
			return err
		}
		if got, err := s.Get(mh); err != nil || !bytes.Equal(got, data) {
			return fmt.Errorf("after a put: %w", err)
		}
		if err := s.Delete(mh); err != nil {
			return err
		}
		if err := s.Close(); err != nil {
			return fmt.Errorf("close: %w", err)
		}
	}
	return nil
}

// TestDiskFull fills a small disk: a block that does not fit is an error and leaves nothing; deleting and compacting
// frees space even without space for a copy.
func TestDiskFull(t *testing.T) {
	for seed := range uint64(50) {
		d := simdisk.New(seed)
		d.SetRoom(100_000 + int64(seed)*1000)
		s, err := Open("d", Config{FS: d, MaxSegment: 30_000})
		if err != nil {
			t.Fatal(err)
		}
		kept := map[uint64]bool{}
		for i := range uint64(200) {
			mh, data := block(i, 3000)
			if err := s.Put(mh, data); err == nil {
				kept[i] = true
			} else if !errors.Is(err, syscall.ENOSPC) {
				t.Fatal(err)
			} else if _, err := s.Get(mh); !errors.Is(err, ErrAbsent) {
				t.Fatalf("put on a full disk: %v", err)
			}
		}
		if len(kept) < 20 || len(kept) > 80 {
			t.Fatalf("only %d blocks fit", len(kept))
		}
		for i := range kept {
			mh, data := block(i, 3000)
			if got, err := s.Get(mh); err != nil || !bytes.Equal(got, data) {
				t.Fatalf("block %d: %v", i, err)
			}
			if i < 30 {
				if err := s.Delete(mh); err != nil {
					t.Fatal(err)
				}
			}
		}
		if _, err := s.Compact(t.Context(), Half); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		mh, data := block(500, 3000)
		if err := s.Put(mh, data); err != nil {
			t.Fatalf("seed %d: put after space was freed: %v", seed, err)
		}
		s.Close()
	}
}

// TestEmptyBlock stores an empty block as the last one of its segment.
func TestEmptyBlock(t *testing.T) {
	d := simdisk.New(1)
	s, err := Open("d", Config{FS: d, MaxSegment: 10_000})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	empty, _ := block(0, 0)
	if err := s.Put(empty, nil); err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(5) { // more than a segment
		mh, data := block(1+seed, 5000)
		if err := s.Put(mh, data); err != nil {
			t.Fatal(err)
		}
		if seed < 4 {
			if err := s.Delete(mh); err != nil {
				t.Fatal(err)
			}
		}
	}
	if done, err := s.Compact(t.Context(), Half); err != nil || done.Segments == 0 {
		t.Fatalf("%+v, %v", done, err)
	}
	if got, err := s.Get(empty); err != nil || len(got) != 0 {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// uncut is a disk on which Truncate fails.
type uncut struct{ *simdisk.Disk }

type uncutFile struct{ diskfs.File }

func (d uncut) Open(path string, write bool) (diskfs.File, error) {
	f, err := d.Disk.Open(path, write)
	return uncutFile{f}, err
}

func (uncutFile) Truncate(int64) error { return simdisk.ErrFull }

// TestOpenUncut: a store with nothing behind its last section opens even if Truncate fails.
func TestOpenUncut(t *testing.T) {
	d := simdisk.New(1)
	s, err := Open("d", Config{FS: d})
	must(t, err)
	mh, data := block(1, 100)
	must(t, s.Put(mh, data))
	must(t, s.Close())
	if s, err = Open("d", Config{FS: uncut{d}}); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Get(mh); err != nil || !bytes.Equal(got, data) {
		t.Error(err)
	}
	must(t, s.Close())
}

// TestCloseReportsLostDeletions: if writing the table of deletions fails during Close, Close returns the error.
func TestCloseReportsLostDeletions(t *testing.T) {
	d := simdisk.New(1)
	s, err := Open("d", Config{FS: d})
	must(t, err)
	mh, data := block(1, 100)
	must(t, s.Put(mh, data))
	must(t, s.flushAll())
	must(t, s.Delete(mh))
	s.merging.Lock() // the table has to wait
	s.appending.Lock()
	s.mu.Lock()
	s.freeze()
	s.startFlush()
	s.mu.Unlock()
	s.appending.Unlock()
	mh, data = block(2, 100)
	must(t, s.Put(mh, data)) // not synced
	d.SetRoom(0)
	time.AfterFunc(50*time.Millisecond, s.merging.Unlock)
	if err := s.Close(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("close: %v, but a deletion was undone", err)
	}
}
