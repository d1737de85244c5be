package diskfs

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
)

// Reserve is a file that takes room ahead, and is turned into another file when a disk is full: what has to be
// written before room can be made is written over it, in place, and it is renamed. So nobody else can take
// that room, which a reserve that is removed first would leave to whoever has filled the disk.
//
// One process at a time uses it; its methods are called one at a time.
type Reserve struct {
	FS   FS
	Path string // on the file system of what it is turned into
	Size int64  // bytes; 0: there is no reserve
}

// Fill makes the reserve if it is not whole. When there is no room for it the error is one of which Full is true,
// and no part of it stays.
func (r Reserve) Fill() error {
	if r.Size == 0 {
		return nil
	}
	f, err := r.FS.Open(r.Path, false)
	if err == nil {
		size, serr := f.Size()
		f.Close()
		if serr == nil && size == r.Size {
			return nil
		}
		err = cmp.Or(serr, r.FS.Remove(r.Path))
		if err != nil {
			return err
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if f, err = r.FS.Create(r.Path); err != nil {
		return err
	}
	err = Allocate(f, 0, r.Size)
	if err == nil {
		err = f.Truncate(r.Size) // last: a reserve of this size is whole
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		r.FS.Remove(r.Path)
	}
	return err
}

// Write makes the file path, durably, of what fill writes from its first byte on, by way of the file temp, which
// is not in use by others: after a kill or a loss of power path is what it was or the new file. When the disk is full
// and spare is true, fill is called once more, to write to the reserve. After an error nothing is left
// of it.
func (r Reserve) Write(path, temp string, spare bool, fill func(File) (size int64, err error)) error {
	err := r.write(path, temp, fill, r.FS.Create)
	if Full(err) && spare && r.Size > 0 && r.FS.Rename(r.Path, temp) == nil {
		err = r.writeReserve(path, temp, fill)
	}
	if err != nil {
		return err
	}
	return r.FS.SyncDir(filepath.Dir(path))
}

// writeReserve is Write over the reserve, which is at temp, and where it was after an error.
func (r Reserve) writeReserve(path, temp string, fill func(File) (int64, error)) error {
	err := r.writeTo(path, temp, fill, func(string) (File, error) { return r.FS.Open(temp, true) })
	if err != nil {
		f, oerr := r.FS.Open(temp, true)
		if oerr == nil {
			oerr = f.Truncate(r.Size)
			f.Close()
		}
		if oerr != nil || r.FS.Rename(temp, r.Path) != nil {
			r.FS.Remove(temp)
		}
	}
	return err
}

func (r Reserve) write(path, temp string, fill func(File) (int64, error), open func(string) (File, error)) error {
	if err := r.FS.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	err := r.writeTo(path, temp, fill, open)
	if err != nil {
		r.FS.Remove(temp)
	}
	return err
}

func (r Reserve) writeTo(path, temp string, fill func(File) (int64, error), open func(string) (File, error)) error {
	f, err := open(temp)
	if err != nil {
		return err
	}
	size, err := fill(f)
	if err == nil {
		err = f.Truncate(size) // what the reserve has behind it goes
	}
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	return r.FS.Rename(temp, path)
}

// Release gives the reserve's room, and its inode, to whoever takes them first: for what cannot be written over it.
func (r Reserve) Release() error {
	if r.Size == 0 {
		return nil
	}
	err := r.FS.Remove(r.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// allocator is a File that can take room without being written to; see osFile.Allocate.
type allocator interface{ Allocate(off, n int64) error }

// Allocate sees to it that a range of f, which nothing is written to yet, has room. Where a file system cannot
// take room ahead, zeros are written.
func Allocate(f File, off, n int64) error {
	if n <= 0 {
		return nil
	}
	if a, ok := f.(allocator); ok {
		if err := a.Allocate(off, n); !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
	}
	zeros := make([]byte, min(n, 64<<10))
	for n > 0 {
		k, err := f.WriteAt(zeros[:min(n, int64(len(zeros)))], off)
		if err != nil {
			return fmt.Errorf("take room ahead: %w", err)
		}
		off, n = off+int64(k), n-int64(k)
	}
	return nil
}
