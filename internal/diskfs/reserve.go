package diskfs

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
)

// Reserve is a file that takes room ahead, and is turned into another file when a disk is full: what has to be
// written before room can be made is written over it, in place, and it is renamed. So no other process can take
// that room, which a reserve that is removed first would leave to whoever has filled the disk.
//
// One process at a time uses it; its methods are called one at a time.
type Reserve struct {
	FS   FS
	Path string // on the file system of what it is turned into
	Size int64  // bytes; 0: there is no reserve
}

// leastStep is the fewest bytes by which a reserve grows.
const leastStep = 4 << 10

// Fill makes the reserve whole. When there is no room for that it takes what there is, so that others do not, and the
// error is one of which Full is true.
func (r Reserve) Fill() error {
	if r.Size == 0 {
		return nil
	}
	f, err := r.FS.Open(r.Path, true)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = r.FS.Create(r.Path)
	}
	if err != nil {
		return err
	}
	err = r.grow(f)
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}

func (r Reserve) grow(f File) error {
	size, err := f.Size()
	if err != nil || size == r.Size {
		return err
	}
	if size > r.Size {
		return f.Truncate(r.Size)
	}
	for step := r.Size - size; size < r.Size && step >= min(leastStep, r.Size-size); {
		step = min(step, r.Size-size)
		e := TakeRoom(f, size, step)
		if e == nil {
			e = f.Truncate(size + step) // last: what the size says has room
		}
		switch {
		case e == nil:
			size += step
		case Full(e):
			err, step = e, step/2
		default:
			return e
		}
	}
	if size < r.Size {
		return errors.Join(err, f.Truncate(size))
	}
	return nil
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
	f, err := r.FS.Open(temp, true)
	var size int64
	if err == nil {
		size, err = f.Size()
		f.Close()
	}
	if err == nil {
		if err = r.writeTo(path, temp, fill, func(string) (File, error) { return r.FS.Open(temp, true) }); err == nil {
			return nil
		}
	}
	if f, oerr := r.FS.Open(temp, true); oerr == nil {
		oerr = f.Truncate(size) // what was added, as far as there was room
		f.Close()
		if oerr == nil && r.FS.Rename(temp, r.Path) == nil {
			return err
		}
	}
	r.FS.Remove(temp)
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

// Allocate gives a range of f room without writing to it. Where the file system cannot it is errors.ErrUnsupported.
func Allocate(f File, off, n int64) error {
	if a, ok := f.(allocator); ok {
		return a.Allocate(off, n)
	}
	return errors.ErrUnsupported
}

// TakeRoom sees to it that a range of f, behind what is written to it, has room: it allocates it, or writes zeros.
func TakeRoom(f File, off, n int64) error {
	if err := Allocate(f, off, n); !errors.Is(err, errors.ErrUnsupported) {
		return err
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
