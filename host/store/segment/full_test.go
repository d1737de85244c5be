package segment

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/ipfs-liftoff/liftoff/internal/diskfs"
	"github.com/ipfs-liftoff/liftoff/internal/diskfs/simdisk"
)

func simConfig(d diskfs.FS) Config {
	return Config{FS: d, MaxSegment: 30_000, Reserve: diskfs.Reserve{Path: filepath.Join("d", "reserve"), Size: 12 << 10}}
}

// holding compares a store with the blocks it must hold; any other block in it must be intact.
func holding(s *Store, want map[uint64]bool) error {
	for seed := range uint64(60) {
		mh, data := block(seed, sizeOf(seed))
		got, err := s.Get(mh)
		switch {
		case want[seed] && err != nil:
			return fmt.Errorf("block %d is lost: %w", seed, err)
		case err == nil && !bytes.Equal(got, data):
			return fmt.Errorf("block %d: other bytes", seed)
		case err != nil && !errors.Is(err, ErrAbsent): // Put would not write a block that the index reports as stored
			return fmt.Errorf("block %d, which was deleted: %w", seed, err)
		}
	}
	return nil
}

// TestFullAtEveryStep fills the disk at each step of a store's life: no stored block is lost, deleting frees space,
// and nothing is damaged, also after a kill or a power loss.
func TestFullAtEveryStep(t *testing.T) {
	for k := 1; ; k++ {
		d := simdisk.New(uint64(k))
		r := rand.New(rand.NewPCG(uint64(k), 7))
		s, err := Open("d", simConfig(d))
		must(t, err)
		d.FillAt(k)
		want := map[uint64]bool{}
		for range 80 {
			seed := r.Uint64N(60)
			mh, data := block(seed, sizeOf(seed))
			switch n := r.IntN(12); {
			case n < 8:
				if err := s.Put(mh, data); err == nil {
					want[seed] = true
				} else if !errors.Is(err, syscall.ENOSPC) {
					t.Fatalf("full at step %d: put: %v", k, err)
				}
			case n < 10:
				if err := s.Delete(mh); err != nil {
					t.Fatalf("full at step %d: delete: %v", k, err)
				}
				delete(want, seed)
			case n < 11:
				must(t, s.Sync())
			default:
				if _, err := s.Compact(t.Context(), Half); err != nil {
					t.Fatalf("full at step %d: compact: %v\n%v", k, err, d)
				}
			}
		}
		steps := d.Steps()
		d.FillAt(0)
		must(t, s.Sync())
		if err := holding(s, want); err != nil {
			t.Fatalf("full at step %d: %v\n%v", k, err, d)
		}
		if k%3 == 0 {
			must(t, s.Close())
		}
		d = d.Restart(k%2 == 0)
		if s, err = Open("d", simConfig(d)); err != nil {
			t.Fatalf("full at step %d: open: %v\n%v", k, err, d)
		}
		if err := holding(s, want); err != nil {
			t.Fatalf("full at step %d, after a restart: %v\n%v", k, err, d)
		}
		for seed := range uint64(60) {
			mh, _ := block(seed, sizeOf(seed))
			if err := s.Delete(mh); err != nil {
				t.Fatalf("full at step %d: delete all: %v", k, err)
			}
		}
		if _, err := s.Compact(t.Context(), Half); err != nil {
			t.Fatalf("full at step %d: compact: %v\n%v", k, err, d)
		}
		must(t, s.Punch(t.Context()))
		mh, data := block(500, 3000)
		if err := s.Put(mh, data); err != nil && len(want) > 10 {
			t.Fatalf("full at step %d: after all was deleted: %v\n%v", k, err, d)
		}
		must(t, s.Close())
		if k > steps {
			return
		}
	}
}

// TestKilledOnAFullDisk kills the process, or cuts the power, at each step of a compaction on a full disk.
func TestKilledOnAFullDisk(t *testing.T) {
	for k := 1; ; k++ {
		d := simdisk.New(uint64(k))
		s, err := Open("d", simConfig(d))
		must(t, err)
		want := map[uint64]bool{}
		for seed := range uint64(60) {
			mh, data := block(seed, sizeOf(seed))
			must(t, s.Put(mh, data))
			want[seed] = true
		}
		must(t, s.flushAll())
		d.SetRoom(0)
		for seed := range uint64(60) {
			if seed%3 != 0 {
				mh, _ := block(seed, sizeOf(seed))
				must(t, s.Delete(mh))
				delete(want, seed)
			}
		}
		before := d.Room()
		d.DieAt(k)
		_, err = s.Compact(t.Context(), Half)
		died := d.Dead()
		if !died && (err != nil || d.Room() < before+50_000) {
			t.Fatalf("%d bytes were freed, %v", d.Room()-before, err)
		}
		d = d.Restart(k%2 == 0)
		if s, err = Open("d", simConfig(d)); err != nil {
			t.Fatalf("killed at step %d: %v\n%v", k, err, d)
		}
		if err := holding(s, want); err != nil {
			t.Fatalf("killed at step %d: %v\n%v", k, err, d)
		}
		if _, err := s.Compact(t.Context(), Half); err != nil {
			t.Fatalf("killed at step %d: compact: %v\n%v", k, err, d)
		}
		must(t, s.Close())
		if !died {
			return
		}
	}
}
