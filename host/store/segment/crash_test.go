package segment

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/multiformats/go-multihash"
)

// disk is a file system in memory that can lose power, tear writes and fill up. What was written and
// not synced is kept by a loss of power only where chance wants it.
type disk struct {
	mu    sync.Mutex
	rand  *rand.Rand
	names map[string]*inode
	safe  map[string]*inode // the names that SyncDir has made durable
	steps int               // calls that change something
	dieAt int               // the step at which power goes; 0: never
	room  int64             // bytes that still fit; negative: any
	dead  bool
}

type inode struct {
	data []byte
	safe []byte // as it was synced last
}

var (
	errPower = errors.New("the power is gone")
	errFull  = &fs.PathError{Op: "write", Path: "disk", Err: syscall.ENOSPC}
)

func newDisk(seed uint64) *disk {
	return &disk{rand: rand.New(rand.NewPCG(seed, 1)), names: map[string]*inode{}, safe: map[string]*inode{}, room: -1}
}

// step is told of a change before it is made. d.mu is held.
func (d *disk) step() error {
	if d.dead {
		return errPower
	}
	d.steps++
	if d.steps == d.dieAt {
		d.dead = true
		return errPower
	}
	return nil
}

// restart is what the machine finds after a kill, or after a loss of power.
func (d *disk) restart(power bool) *disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := newDisk(d.rand.Uint64())
	names := d.names
	if power {
		names = map[string]*inode{}
		for _, from := range []map[string]*inode{d.safe, d.names} {
			for name, i := range from {
				_, durable := d.safe[name]
				_, there := d.names[name]
				if durable && there && d.safe[name] == i || d.rand.IntN(2) == 0 {
					names[name] = i
				}
			}
		}
	}
	for name, i := range names {
		data := bytes.Clone(i.data)
		if power {
			data = d.afterPowerLoss(i)
		}
		n.names[name] = &inode{data, bytes.Clone(data)}
		n.safe[name] = n.names[name]
	}
	return n
}

// afterPowerLoss is i with each page that was changed since it was synced as chance wants it: old, new, or
// zeros.
func (d *disk) afterPowerLoss(i *inode) []byte {
	const page = 512
	size := len(i.data)
	if size > len(i.safe) {
		size = len(i.safe) + d.rand.IntN(size-len(i.safe)+1)
	}
	out := make([]byte, size)
	copy(out, i.safe)
	for at := 0; at < size; at += page {
		end := min(at+page, size)
		if d.rand.IntN(2) == 0 {
			copy(out[at:end], i.data[at:min(end, len(i.data))])
		}
	}
	return out
}

func (d *disk) List(dir string) ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var names []string
	for name := range d.names {
		names = append(names, filepath.Base(name))
	}
	slices.Sort(names)
	return names, nil
}

func (d *disk) Open(path string, write bool) (File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	i := d.names[path]
	if i == nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
	return &diskFile{d, i}, nil
}

func (d *disk) Create(path string) (File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.step(); err != nil {
		return nil, err
	}
	if d.names[path] != nil {
		return nil, &fs.PathError{Op: "create", Path: path, Err: fs.ErrExist}
	}
	i := &inode{}
	d.names[path] = i
	return &diskFile{d, i}, nil
}

func (d *disk) Rename(from, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.step(); err != nil {
		return err
	}
	d.names[to] = d.names[from]
	delete(d.names, from)
	return nil
}

func (d *disk) Remove(path string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.names[path] == nil {
		return &fs.PathError{Op: "remove", Path: path, Err: fs.ErrNotExist}
	}
	if err := d.step(); err != nil {
		return err
	}
	if d.room >= 0 {
		d.room += int64(len(d.names[path].data))
	}
	delete(d.names, path)
	return nil
}

func (d *disk) SyncDir(string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.step(); err != nil {
		return err
	}
	d.safe = map[string]*inode{}
	for name, i := range d.names {
		d.safe[name] = i
	}
	return nil
}

type diskFile struct {
	d *disk
	i *inode
}

func (f *diskFile) ReadAt(p []byte, off int64) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	return bytes.NewReader(f.i.data).ReadAt(p, off)
}

// WriteAt is torn when power goes, or the disk fills, in the middle of it.
func (f *diskFile) WriteAt(p []byte, off int64) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.d.dead {
		return 0, errPower
	}
	err := f.d.step()
	if err != nil {
		p = p[:f.d.rand.IntN(len(p)+1)]
	}
	grow := off + int64(len(p)) - int64(len(f.i.data))
	if f.d.room >= 0 && grow > f.d.room {
		p = p[:max(0, int64(len(p))-grow+f.d.room)]
		grow = off + int64(len(p)) - int64(len(f.i.data))
		err = errFull
	}
	if grow > 0 && len(p) > 0 {
		f.i.data = append(f.i.data, make([]byte, grow)...)
		if f.d.room >= 0 {
			f.d.room -= grow
		}
	}
	return copy(f.i.data[min(off, int64(len(f.i.data))):], p), err
}

func (f *diskFile) Size() (int64, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	return int64(len(f.i.data)), nil
}

func (f *diskFile) Truncate(n int64) error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.d.step(); err != nil {
		return err
	}
	if f.d.room >= 0 {
		f.d.room += int64(len(f.i.data)) - n
	}
	f.i.data = append(f.i.data[:min(n, int64(len(f.i.data)))], make([]byte, max(0, n-int64(len(f.i.data))))...)
	return nil
}

func (f *diskFile) Sync() error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.d.step(); err != nil {
		return err
	}
	f.i.safe = bytes.Clone(f.i.data)
	return nil
}

func (f *diskFile) Close() error { return nil }

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

// world is what must be true of a store: what was put, and what of it a Sync has returned for.
type world struct {
	put  map[uint64]bool // by seed; false: deleted, and may come back
	safe map[uint64]bool
}

func sizeOf(seed uint64) int { return int(seed*seed*37) % 9000 }

// TestCrashes kills a store, or takes its power, before each of many steps of a random life, in the middle
// of writes too. What is there afterwards is true: after a kill all that Put has returned for, after a
// loss of power all that came before a Sync; nothing is ever other bytes. LIFTOFF_KILLS makes it longer.
func TestCrashes(t *testing.T) {
	rounds := 60
	if n, err := strconv.Atoi(os.Getenv("LIFTOFF_KILLS")); err == nil {
		rounds = 20 * n
	}
	for seed := range uint64(rounds) {
		r := rand.New(rand.NewPCG(seed, 5))
		d := newDisk(seed)
		w := world{map[uint64]bool{}, map[uint64]bool{}}
		for life := range 4 {
			d.dieAt = 1 + r.IntN(120)
			live(t, d, r, &w)
			power := r.IntN(2) == 0
			if power { // only what was synced has to be there
				w.put = map[uint64]bool{}
				for s := range w.safe {
					w.put[s] = true
				}
			}
			d = d.restart(power)
			if err := check(d, w); err != nil {
				t.Fatalf("seed %d, life %d, power %v: %v\n%v", seed, life, power, err, d.list())
			}
		}
	}
}

func (d *disk) list() string {
	var lines []string
	for name, i := range d.names {
		lines = append(lines, fmt.Sprintf("%s %d", name, len(i.data)))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// live uses a store until the disk dies.
func live(t *testing.T, d *disk, r *rand.Rand, w *world) {
	s, err := Open("d", Config{FS: d, MaxSegment: 40_000})
	if err != nil {
		if !errors.Is(err, errPower) {
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
		if d.dead {
			return
		}
	}
}

// check opens what a crash has left, twice, and reads all of it.
func check(d *disk, w world) error {
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
			if err != nil { // and can be put again
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

// TestDiskFull fills a small disk: what does not fit is an error and leaves nothing, deleting and
// compacting gives room even when there is none for a copy.
func TestDiskFull(t *testing.T) {
	for seed := range uint64(50) {
		d := newDisk(seed)
		d.room = 100_000 + int64(seed)*1000
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
				t.Fatalf("what did not fit: %v", err)
			}
		}
		if len(kept) < 20 || len(kept) > 80 {
			t.Fatalf("%d blocks fit", len(kept))
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
			t.Fatalf("seed %d: put after room was made: %v", seed, err)
		}
		s.Close()
	}
}

// TestEmptyBlock keeps a block of no bytes that is the last one of its segment.
func TestEmptyBlock(t *testing.T) {
	d := newDisk(1)
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

// uncut is a disk on which no file can be cut.
type uncut struct{ *disk }

type uncutFile struct{ File }

func (d uncut) Open(path string, write bool) (File, error) {
	f, err := d.disk.Open(path, write)
	return uncutFile{f}, err
}

func (uncutFile) Truncate(int64) error { return errFull }

// TestOpenUncut: a store with nothing behind its last section is opened where nothing can be cut off.
func TestOpenUncut(t *testing.T) {
	d := newDisk(1)
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

// TestCloseTellsOfDeletions: when the table of deletions fails while Close comes, Close says so.
func TestCloseTellsOfDeletions(t *testing.T) {
	d := newDisk(1)
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
	must(t, s.Put(mh, data)) // and is not synced
	d.mu.Lock()
	d.room = 0
	d.mu.Unlock()
	time.AfterFunc(50*time.Millisecond, s.merging.Unlock)
	if err := s.Close(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("%v, and a deletion is undone", err)
	}
}
