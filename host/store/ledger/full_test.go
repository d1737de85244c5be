package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/ipfs-liftoff/liftoff/internal/diskfs"
	"github.com/ipfs-liftoff/liftoff/internal/diskfs/simdisk"
)

func simConfig(d diskfs.FS) Config {
	return Config{FS: d, MaxLog: 4 << 10, Reserve: diskfs.Reserve{Path: filepath.Join("d", "reserve"), Size: 16 << 10}}
}

// model is what a ledger has to hold.
type model map[string]string

// check compares m with a ledger.
func (m model) check(l *Ledger) error {
	got := model{}
	err := l.Each(context.Background(), "", func(i Item) error {
		v, err := i.Value()
		got[i.Key] = string(v)
		return err
	})
	if err != nil {
		return err
	}
	if !maps.Equal(m, got) {
		return fmt.Errorf("%d keys, want %d", len(got), len(m))
	}
	for k, v := range m {
		if b, err := l.Get(k); err != nil || string(b) != v {
			return fmt.Errorf("key %s: %w", k, err)
		}
	}
	return nil
}

// use writes and deletes at random. A write that stores data may fail on a full disk and then must not change
// anything. Every removal and every compaction must succeed.
func (m model) use(l *Ledger, r *rand.Rand, steps int) error {
	for i := range steps {
		key := fmt.Sprintf("k%02d", r.IntN(40))
		switch n := r.IntN(10); {
		case n < 6:
			v := string(bytes.Repeat([]byte{byte('a' + i%26)}, r.IntN(1500)))
			err := l.Write(Entry{Key: key, Value: []byte(v)})
			if err == nil {
				m[key] = v
			} else if !errors.Is(err, syscall.ENOSPC) {
				return fmt.Errorf("write: %w", err)
			}
		case n < 8:
			err := l.WriteFor(Removal, Entry{Key: key, Delete: true})
			if diskfs.Full(err) { // many removals: a compaction restores the reserve
				if err := l.Compact(); err != nil {
					return fmt.Errorf("compact: %w", err)
				}
				err = l.WriteFor(Removal, Entry{Key: key, Delete: true})
			}
			if err != nil {
				return fmt.Errorf("remove: %w", err)
			}
			delete(m, key)
		case n < 9:
			if err := l.Sync(); err != nil {
				return fmt.Errorf("sync: %w", err)
			}
		default:
			if err := l.Compact(); err != nil {
				return fmt.Errorf("compact: %w", err)
			}
		}
	}
	return nil
}

// TestFullAtEveryStep fills the disk at each step of a ledger's life. No written value is lost, removed values stay
// removed, also after a kill or a power loss, and everything works once there is space again.
func TestFullAtEveryStep(t *testing.T) {
	for k := 1; ; k++ {
		d := simdisk.New(uint64(k))
		r := rand.New(rand.NewPCG(uint64(k), 3))
		l, err := Open("d", simConfig(d))
		must(t, err)
		d.FillAt(k)
		m := model{}
		if err := m.use(l, r, 120); err != nil {
			t.Fatalf("full at step %d: %v\n%v", k, err, d)
		}
		steps := d.Steps()
		d.FillAt(0)
		if err := m.check(l); err != nil {
			t.Fatalf("full at step %d: %v\n%v", k, err, d)
		}
		must(t, l.Sync())
		must(t, l.Close())
		d = d.Restart(k%2 == 0)
		if l, err = Open("d", simConfig(d)); err != nil {
			t.Fatalf("full at step %d: open: %v\n%v", k, err, d)
		}
		if err := m.check(l); err != nil {
			t.Fatalf("full at step %d, after a restart: %v\n%v", k, err, d)
		}
		for key := range m {
			if err := l.WriteFor(Removal, Entry{Key: key, Delete: true}); err != nil {
				t.Fatalf("full at step %d: remove all: %v\n%v", k, err, d)
			}
		}
		if err := l.Compact(); err != nil {
			t.Fatalf("full at step %d: compact: %v\n%v", k, err, d)
		}
		if err := l.Write(Entry{Key: "k", Value: make([]byte, 300)}); err != nil && k < steps && k > 60 {
			t.Fatalf("full at step %d: after all was removed: %v\n%v", k, err, d)
		}
		must(t, l.Close())
		if k > steps {
			return
		}
	}
}

// TestKilledOnAFullDisk kills the process, or cuts the power, at each step of a compaction on a full disk.
func TestKilledOnAFullDisk(t *testing.T) {
	for k := 1; ; k++ {
		d := simdisk.New(uint64(k))
		l, err := Open("d", simConfig(d))
		must(t, err)
		m := model{}
		for i := range 60 {
			key, v := fmt.Sprintf("k%02d", i), string(bytes.Repeat([]byte("v"), 100+7*i))
			must(t, l.Write(Entry{Key: key, Value: []byte(v)}))
			m[key] = v
		}
		must(t, l.Sync())
		d.SetRoom(0)
		for i := range 30 {
			key := fmt.Sprintf("k%02d", 2*i)
			must(t, l.WriteFor(Removal, Entry{Key: key, Delete: true}))
			delete(m, key)
		}
		must(t, l.Sync())
		d.DieAt(k)
		err = l.Compact()
		for i := range 30 { // not synced, and without effect
			err = errors.Join(err, l.WriteFor(Removal, Entry{Key: fmt.Sprintf("absent %d", i), Delete: true}))
		}
		died := d.Dead()
		if !died && err != nil {
			t.Fatal(err)
		}
		l.Close()
		d = d.Restart(k%2 == 0)
		if l, err = Open("d", simConfig(d)); err != nil {
			t.Fatalf("killed at step %d: %v\n%v", k, err, d)
		}
		if err := m.check(l); err != nil {
			t.Fatalf("killed at step %d: %v\n%v", k, err, d)
		}
		if err := l.Compact(); err != nil {
			t.Fatalf("killed at step %d: compact: %v\n%v", k, err, d)
		}
		if err := m.check(l); err != nil {
			t.Fatalf("killed at step %d, after a compaction: %v\n%v", k, err, d)
		}
		must(t, l.Close())
		if !died {
			return
		}
	}
}

// TestPowerLossAfterRecycling: a log that reuses the file of another one is intact after a power loss, whichever of
// its first frames reached the disk.
func TestPowerLossAfterRecycling(t *testing.T) {
	for seed := range uint64(40) {
		d := simdisk.New(seed)
		l, err := Open("d", simConfig(d))
		must(t, err)
		m := model{}
		for i := range 30 { // 12 KiB, all in one log
			l.cfg.MaxLog = 1 << 20
			must(t, l.Write(Entry{Key: "k", Value: bytes.Repeat([]byte{'v'}, 400+i)}))
			m["k"] = string(bytes.Repeat([]byte{'v'}, 400+i))
		}
		d.SetRoom(0)
		number := l.log.number
		must(t, l.Compact())
		if _, err := d.Open(l.logPath(number), false); err == nil || l.log.number != number+1 {
			t.Fatalf("log %d was not recycled: %v\n%v", number, err, d)
		}
		for i := range 5 { // within a page
			must(t, l.WriteFor(Removal, Entry{Key: fmt.Sprintf("absent %d", i), Delete: true}))
		}
		l, err = Open("d", simConfig(d.Restart(true)))
		must(t, err)
		if err := m.check(l); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
		if bad, err := l.Damaged(); len(bad) > 0 || err != nil {
			t.Errorf("seed %d: %v, %v", seed, bad, err)
		}
		must(t, l.Close())
	}
}

// TestHolesOnAFullDisk: if there is no space to rewrite a table, the space of deleted values is still freed.
func TestHolesOnAFullDisk(t *testing.T) {
	d := simdisk.New(1)
	l, err := Open("d", simConfig(d))
	must(t, err)
	m := model{}
	for i := range 200 {
		key, v := fmt.Sprintf("k%03d", i), string(bytes.Repeat([]byte("v"), 2000))
		must(t, l.Write(Entry{Key: key, Value: []byte(v)}))
		m[key] = v
	}
	must(t, l.Compact())
	d.SetRoom(0)
	for i := range 100 { // no space for the remaining half
		key := fmt.Sprintf("k%03d", i)
		must(t, l.WriteFor(Removal, Entry{Key: key, Delete: true}))
		delete(m, key)
	}
	must(t, l.Compact())
	if room := d.Room(); room < 150_000 {
		t.Errorf("%d bytes were freed", room)
	}
	if err := m.check(l); err != nil {
		t.Error(err)
	}
	must(t, l.Close())
	l, err = Open("d", simConfig(d.Restart(true)))
	must(t, err)
	if err := m.check(l); err != nil {
		t.Errorf("after a loss of power: %v", err)
	}
	must(t, l.Close())
}

// TestReserveIsNotForStoring: writes that store data fail before they use space that removals need, and removals
// before they use space that a collection needs.
func TestReserveIsNotForStoring(t *testing.T) {
	d := simdisk.New(1)
	l, err := Open("d", simConfig(d))
	must(t, err)
	d.SetRoom(0)
	var writes [3]int
	for p := range writes {
		for ; ; writes[p]++ {
			err := l.WriteFor(Purpose(p), Entry{Key: fmt.Sprintf("k%d-%d", p, writes[p]), Value: make([]byte, 100)})
			if diskfs.Full(err) {
				break
			}
			must(t, err)
		}
	}
	if writes[Removal] < 80 || writes[Collection] < 30 {
		t.Errorf("%d writes that keep, %d that remove, %d that collect", writes[0], writes[1], writes[2])
	}
	must(t, l.Close())
}

// failing is a disk on which Sync fails for a while.
type failing struct {
	*simdisk.Disk
	fail *bool
}

type failingFile struct {
	diskfs.File
	fail *bool
}

func (d failing) Open(path string, write bool) (diskfs.File, error) {
	f, err := d.Disk.Open(path, write)
	return failingFile{f, d.fail}, err
}

func (d failing) Create(path string) (diskfs.File, error) {
	f, err := d.Disk.Create(path)
	return failingFile{f, d.fail}, err
}

func (f failingFile) Sync() error {
	if *f.fail {
		return syscall.EDQUOT
	}
	return f.File.Sync()
}

// TestSyncFails: after a failed sync, the next one writes the log's content again, because the system may have
// dropped it. Only then does it report success.
func TestSyncFails(t *testing.T) {
	fail := false
	d := failing{simdisk.New(1), &fail}
	l, err := Open("d", simConfig(d))
	must(t, err)
	must(t, l.Write(Entry{Key: "k", Value: []byte("v")}))
	fail = true
	if err := l.Sync(); !errors.Is(err, syscall.EDQUOT) {
		t.Fatal(err)
	}
	if err := l.Sync(); err == nil {
		t.Fatal("the second sync succeeded")
	}
	must(t, l.Write(Entry{Key: "later", Value: []byte("v")}))
	fail = false
	must(t, l.Sync())
	names, _ := d.List("d")
	if !slices.ContainsFunc(names, func(n string) bool { return filepath.Ext(n) == ".table" }) {
		t.Errorf("the data was not written again: %v", names)
	}
	l.Close()
	l, err = Open("d", simConfig(d.Restart(true)))
	must(t, err)
	if err := (model{"k": "v", "later": "v"}).check(l); err != nil {
		t.Error(err)
	}
	must(t, l.Close())
}
