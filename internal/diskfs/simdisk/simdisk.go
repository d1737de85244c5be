// Package simdisk is an in-memory file system for tests that loses power, tears writes and fills up. After a power
// loss, unsynced data is there only by chance.
package simdisk

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/ipfs-liftoff/liftoff/internal/diskfs"
)

// Page is the unit of disk space, in bytes. A file uses one page in addition to those of its data.
const Page = 512

// Disk is a file system. Folders only matter to List.
type Disk struct {
	mu       sync.Mutex
	rand     *rand.Rand
	names    map[string]*inode
	safe     map[string]*inode // the names made durable by SyncDir
	steps    int               // number of calls that change something
	dieAt    int               // the step at which the power fails; 0: never
	fillAt   int               // the step from which the disk is full; 0: never
	capacity int64             // in bytes; negative: unlimited
	used     int64
	dead     bool
}

type inode struct {
	data  []byte
	safe  []byte         // content at the last sync
	pages map[int64]bool // pages that use space
}

// Errors of a simulated disk.
var (
	ErrPower = errors.New("power failure")
	ErrFull  = &fs.PathError{Op: "write", Path: "disk", Err: syscall.ENOSPC}
)

var _ diskfs.FS = (*Disk)(nil)

// New returns an empty disk of unlimited size.
func New(seed uint64) *Disk {
	return &Disk{rand: rand.New(rand.NewPCG(seed, 1)), names: map[string]*inode{}, safe: map[string]*inode{}, capacity: -1}
}

// DieAt makes the power fail in the middle of a later step; steps count from now. 0: never.
func (d *Disk) DieAt(step int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dieAt, d.steps = step, 0
}

// FillAt makes the disk full from a later step on, as if another process used all space; steps count from now. 0:
// never.
func (d *Disk) FillAt(step int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fillAt, d.steps = step, 0
}

// SetRoom sets the number of free bytes; negative: unlimited.
func (d *Disk) SetRoom(n int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.capacity = -1; n >= 0 {
		d.capacity = d.used + n
	}
}

// Room returns the number of free bytes.
func (d *Disk) Room() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.capacity - d.used
}

// Steps returns the number of changes since the last call of DieAt or FillAt.
func (d *Disk) Steps() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.steps
}

// Dead reports whether the power has failed.
func (d *Disk) Dead() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.dead
}

func (d *Disk) String() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var lines []string
	for name, i := range d.names {
		lines = append(lines, fmt.Sprintf("%s %d", name, len(i.data)))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// step is called before each change. d.mu is held.
func (d *Disk) step() error {
	if d.dead {
		return ErrPower
	}
	d.steps++
	if d.steps == d.fillAt {
		d.capacity = d.used
	}
	if d.steps == d.dieAt {
		d.dead = true
		return ErrPower
	}
	return nil
}

// take allocates the pages of a range and returns how many of its bytes are allocated. d.mu is held.
func (d *Disk) take(i *inode, off, n int64) (int64, error) {
	for p := off / Page; p*Page < off+n; p++ {
		if i.pages[p] {
			continue
		}
		if d.capacity >= 0 && d.used+Page > d.capacity {
			return max(0, p*Page-off), ErrFull
		}
		i.pages[p] = true
		d.used += Page
	}
	return n, nil
}

// give frees the pages of a range. d.mu is held.
func (d *Disk) give(i *inode, from, to int64) {
	for p := range i.pages {
		if p*Page >= from && (p+1)*Page <= to {
			delete(i.pages, p)
			d.used -= Page
		}
	}
}

const whole = int64(1) << 62

// Restart returns the disk after a kill, or after a power loss. It is as large as before.
func (d *Disk) Restart(power bool) *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := New(d.rand.Uint64())
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
		k := &inode{data: data, safe: bytes.Clone(data), pages: map[int64]bool{}}
		for p := range i.pages {
			k.pages[p] = true
		}
		n.used += Page * int64(1+len(k.pages))
		n.names[name], n.safe[name] = k, k
	}
	if d.capacity >= 0 {
		n.capacity = max(d.capacity, n.used)
	}
	return n
}

// afterPowerLoss returns the content of i in which each page that was changed since the last sync is randomly old,
// new, or zeros.
func (d *Disk) afterPowerLoss(i *inode) []byte {
	size := len(i.data)
	if size > len(i.safe) {
		size = len(i.safe) + d.rand.IntN(size-len(i.safe)+1)
	}
	out := make([]byte, size)
	copy(out, i.safe)
	for at := 0; at < size; at += Page {
		end := min(at+Page, size)
		if d.rand.IntN(2) == 0 {
			copy(out[at:end], i.data[at:min(end, len(i.data))])
		}
	}
	return out
}

// List implements diskfs.FS.
func (d *Disk) List(dir string) ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var names []string
	for name := range d.names {
		if filepath.Dir(name) == filepath.Clean(dir) {
			names = append(names, filepath.Base(name))
		}
	}
	slices.Sort(names)
	return names, nil
}

// Open implements diskfs.FS.
func (d *Disk) Open(path string, _ bool) (diskfs.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	i := d.names[path]
	if i == nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
	return &file{d, i}, nil
}

// Create implements diskfs.FS.
func (d *Disk) Create(path string) (diskfs.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.step(); err != nil {
		return nil, err
	}
	if d.names[path] != nil {
		return nil, &fs.PathError{Op: "create", Path: path, Err: fs.ErrExist}
	}
	if d.capacity >= 0 && d.used+Page > d.capacity {
		return nil, ErrFull
	}
	d.used += Page
	i := &inode{pages: map[int64]bool{}}
	d.names[path] = i
	return &file{d, i}, nil
}

// Rename implements diskfs.FS.
func (d *Disk) Rename(from, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	i := d.names[from]
	if i == nil {
		return &fs.PathError{Op: "rename", Path: from, Err: fs.ErrNotExist}
	}
	if err := d.step(); err != nil {
		return err
	}
	if old := d.names[to]; old != nil {
		d.drop(old)
	}
	d.names[to] = i
	delete(d.names, from)
	return nil
}

// Remove implements diskfs.FS.
func (d *Disk) Remove(path string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	i := d.names[path]
	if i == nil {
		return &fs.PathError{Op: "remove", Path: path, Err: fs.ErrNotExist}
	}
	if err := d.step(); err != nil {
		return err
	}
	d.drop(i)
	delete(d.names, path)
	return nil
}

func (d *Disk) drop(i *inode) {
	d.give(i, 0, whole)
	d.used -= Page
}

// SyncDir implements diskfs.FS.
func (d *Disk) SyncDir(string) error {
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
