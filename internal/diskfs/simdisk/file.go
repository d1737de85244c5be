package simdisk

import (
	"bytes"
)

type file struct {
	d *Disk
	i *inode
}

// ReadAt implements diskfs.File.
func (f *file) ReadAt(p []byte, off int64) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	return bytes.NewReader(f.i.data).ReadAt(p, off)
}

// WriteAt implements diskfs.File. A power loss or a full disk tears the write.
func (f *file) WriteAt(p []byte, off int64) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.d.dead {
		return 0, ErrPower
	}
	err := f.d.step()
	if err != nil {
		p = p[:f.d.rand.IntN(len(p)+1)]
	}
	n, full := f.d.take(f.i, off, int64(len(p)))
	if p = p[:n]; full != nil && err == nil {
		err = full
	}
	f.i.grow(off + n)
	return copy(f.i.data[off:], p), err
}

func (i *inode) grow(size int64) {
	if more := size - int64(len(i.data)); more > 0 {
		i.data = append(i.data, make([]byte, more)...)
	}
}

// Allocate allocates space without changing the size.
func (f *file) Allocate(off, n int64) error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.d.step(); err != nil {
		return err
	}
	_, err := f.d.take(f.i, off, n)
	return err
}

// PunchHole frees the pages inside the range, which then reads as zeros.
func (f *file) PunchHole(off, n int64) error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if n <= 0 {
		return nil
	}
	if err := f.d.step(); err != nil {
		return err
	}
	f.d.give(f.i, off, off+n)
	for _, b := range [][]byte{f.i.data, f.i.safe} { // a hole needs no sync
		from := min(off, int64(len(b)))
		clear(b[from:min(off+n, int64(len(b)))])
	}
	return nil
}

// Size implements diskfs.File.
func (f *file) Size() (int64, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	return int64(len(f.i.data)), nil
}

// Truncate implements diskfs.File.
func (f *file) Truncate(n int64) error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.d.step(); err != nil {
		return err
	}
	f.d.give(f.i, (n+Page-1)/Page*Page, whole)
	f.i.data = f.i.data[:min(n, int64(len(f.i.data)))]
	f.i.grow(n)
	return nil
}

// Sync implements diskfs.File.
func (f *file) Sync() error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.d.step(); err != nil {
		return err
	}
	f.i.safe = bytes.Clone(f.i.data)
	return nil
}

// Close implements diskfs.File.
func (f *file) Close() error { return nil }

// Allocated returns how much disk space the file uses.
func (f *file) Allocated() (int64, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	return int64(len(f.i.pages)) * Page, nil
}
