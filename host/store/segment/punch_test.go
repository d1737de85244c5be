package segment

import (
	"bytes"
	"errors"
	"path/filepath"
	"testing"

	"github.com/ipfs-liftoff/liftoff/internal/diskfs"
	"github.com/ipfs-liftoff/liftoff/internal/diskfs/simdisk"
)

// TestHoleUnderReader makes a hole of a block between a reader's look at the index and its read: it is told that the
// block is absent, or reads it where it is now, and not that the file is damaged.
func TestHoleUnderReader(t *testing.T) {
	for _, again := range []bool{false, true} {
		s, err := Open("d", Config{FS: simdisk.New(1), Reserve: diskfs.Reserve{Path: filepath.Join("d", "reserve"), Size: 12 << 10}})
		must(t, err)
		mh, data := block(3, 9000) // its name stands in the segment alone
		must(t, s.Put(mh, data))
		was, err := s.find(keyOf(mh))
		must(t, err)
		calls := 0
		err = s.at(mh, func(p place) error {
			if calls++; calls == 1 {
				must(t, s.Delete(mh))
				must(t, s.flushAll())
				must(t, s.Punch(t.Context()))
				if again {
					must(t, s.Put(mh, data))
				}
			}
			_, err := s.read(p, mh, make([]byte, p.size))
			return err
		})
		if again && (err != nil || calls != 2) || !again && !errors.Is(err, ErrAbsent) {
			t.Errorf("put again: %v: read: %v after %d calls", again, err, calls)
		}
		if name, err := s.nameOf(record{keyOf(mh), was}); name != nil || err != nil {
			t.Errorf("put again: %v: the name of what was there is %v, %v", again, name, err)
		}
		must(t, s.Close())
	}
}

// TestHoleBehindMove takes the power when a hole was made of the place that a block was moved from, and the index is in
// memory alone: what was synced before it was moved is there.
func TestHoleBehindMove(t *testing.T) {
	for seed := range uint64(20) {
		d := simdisk.New(seed)
		cfg := Config{FS: d, Reserve: diskfs.Reserve{Path: filepath.Join("d", "reserve"), Size: 12 << 10}}
		s, err := Open("d", cfg)
		must(t, err)
		mh, data := block(4, 9000)
		must(t, s.Put(mh, data))
		must(t, s.Sync())
		was, err := s.find(keyOf(mh))
		must(t, err)
		must(t, s.move(record{keyOf(mh), was}, make([]byte, was.size)))
		must(t, s.Punch(t.Context()))
		cfg.FS = d.Restart(true)
		s, err = Open("d", cfg)
		must(t, err)
		if got, err := s.Get(mh); err != nil || !bytes.Equal(got, data) {
			t.Errorf("seed %d: %d of %d bytes, %v", seed, len(got), len(data), err)
		}
		must(t, s.Close())
	}
}

// TestUsedLeavesOutHoles: what a hole has given back does not count as used, in this process and in the next.
func TestUsedLeavesOutHoles(t *testing.T) {
	d := simdisk.New(1)
	cfg := Config{FS: d, Reserve: diskfs.Reserve{Path: filepath.Join("d", "reserve"), Size: 12 << 10}}
	s, err := Open("d", cfg)
	must(t, err)
	const size, n = 40_000, 8
	for i := range n {
		mh, data := block(uint64(i), size)
		must(t, s.Put(mh, data))
	}
	before, err := s.Used()
	must(t, err)
	for i := range n / 2 {
		mh, _ := block(uint64(2*i), size)
		must(t, s.Delete(mh))
	}
	must(t, s.flushAll())
	must(t, s.Punch(t.Context()))
	check := func(when string) {
		t.Helper()
		after, err := s.Used()
		must(t, err)
		if got := before - after; got < n/2*size*9/10 {
			t.Errorf("%s: %d bytes less are used of %d, after %d were deleted", when, got, before, n/2*size)
		}
	}
	check("at once")
	must(t, s.Close())
	s, err = Open("d", cfg)
	must(t, err)
	check("opened again")
	must(t, s.Close())
}
