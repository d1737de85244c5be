package segment

import (
	"bytes"
	"errors"
	"path/filepath"
	"testing"

	"github.com/ipfs-liftoff/liftoff/internal/diskfs"
	"github.com/ipfs-liftoff/liftoff/internal/diskfs/simdisk"
)

// TestHoleUnderReader punches a block's place between a reader's index lookup and its read: the reader gets
// ErrAbsent, or the block from its new place, but no DamageError.
func TestHoleUnderReader(t *testing.T) {
	for _, again := range []bool{false, true} {
		s, err := Open("d", Config{FS: simdisk.New(1), Reserve: diskfs.Reserve{Path: filepath.Join("d", "reserve"), Size: 12 << 10}})
		must(t, err)
		mh, data := block(3, 9000) // its multihash is only in the segment
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
			t.Errorf("put again: %v: nameOf of the old place: %v, %v", again, name, err)
		}
		must(t, s.Close())
	}
}

// TestHoleBehindMove cuts the power after the old place of a moved block was punched while the index is only in
// memory: blocks synced before the move are there.
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

// TestUsedLeavesOutHoles: punched space does not count as used, in this process and in the next.
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
			t.Errorf("%s: used bytes shrank by %d of %d after deleting %d", when, got, before, n/2*size)
		}
	}
	check("same process")
	must(t, s.Close())
	s, err = Open("d", cfg)
	must(t, err)
	check("reopened")
	must(t, s.Close())
}
