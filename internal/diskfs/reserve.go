package diskfs

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
)

// Reserve is a file that reserves disk space and is turned into another file when the disk is full: data that must be
// written before space can be freed overwrites it in place, and it is renamed. So no other process can take that
// space, as it could if the reserve were removed first.
//
// One process at a time uses it; its methods must not be called concurrently.
type Reserve struct {
	FS   FS
	Path string // on the file system of the files that it is turned into
	Size int64  // in bytes; 0: no reserve
}

// leastStep is the smallest number of bytes by which a reserve grows.
const leastStep = 4 << 10

// Fill allocates the whole reserve. If there is too little space, it allocates what there is, so that other programs
// cannot take it, and returns an error for which Full is true.
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
			e = f.Truncate(size + step) // last: the space within the size is allocated
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

// Write durably writes the file path with the content that fill writes from its first byte on, by way of the
// temporary file temp: after a kill or a power loss path is either the old or the new file. If the disk is full and
// spare is true, it calls fill a second time, to overwrite the reserve. After an error no partial file remains.
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

// writeReserve is Write over the reserve, which is at temp. After an error it moves the reserve back.
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
		oerr = f.Truncate(size) // removes what was appended while there was space
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
		err = f.Truncate(size) // drops the rest of the reserve
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

// Release frees the reserve's space and its inode, for data that cannot overwrite it. Another program may take them.
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

// allocator is a File that can allocate space without a write; see osFile.Allocate.
type allocator interface{ Allocate(off, n int64) error }

// Allocate allocates space for a range of f without writing to it. If the file system does not support it, the error
// is errors.ErrUnsupported.
func Allocate(f File, off, n int64) error {
	if a, ok := f.(allocator); ok {
		return a.Allocate(off, n)
	}
	return errors.ErrUnsupported
}

// TakeRoom allocates space for a range behind the end of f, or writes zeros if the file system cannot allocate.
func TakeRoom(f File, off, n int64) error {
	if err := Allocate(f, off, n); !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	zeros := make([]byte, min(n, 64<<10))
	for n > 0 {
		k, err := f.WriteAt(zeros[:min(n, int64(len(zeros)))], off)
		if err != nil {
			return fmt.Errorf("preallocate disk reserve: %w", err)
		}
		off, n = off+int64(k), n-int64(k)
	}
	return nil
}
