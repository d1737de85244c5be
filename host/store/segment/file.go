package segment

import (
	"errors"
	"os"
	"syscall"
)

// FS is the file system as a store uses it: the seam at which tests let writes tear, disks fill and
// power go.
type FS interface {
	List(dir string) ([]string, error)
	// Open opens a file that is there.
	Open(path string, write bool) (File, error)
	// Create makes a file that is not there.
	Create(path string) (File, error)
	Rename(from, to string) error
	Remove(path string) error
	// SyncDir makes the names in dir durable.
	SyncDir(dir string) error
}

// File is an open file.
type File interface {
	ReadAt(p []byte, off int64) (int, error)
	WriteAt(p []byte, off int64) (int, error)
	Size() (int64, error)
	Truncate(size int64) error
	// Sync makes the file's bytes and its size durable.
	Sync() error
	Close() error
}

// starter is a File that can begin to write a range back to the disk without waiting for it.
type starter interface{ StartWriteback(off, n int64) }

// reserver is a File that can take room behind its end, which what is written there then has at once. Truncate gives
// back what was not used.
type reserver interface{ Reserve(off, n int64) }

// puncher is a File that can give back the room of a range, which then reads as zeros.
type puncher interface{ PunchHole(off, n int64) error }

type osFS struct{}

func (osFS) List(dir string) ([]string, error) {
	list, err := os.ReadDir(dir)
	names := make([]string, len(list))
	for i, e := range list {
		names[i] = e.Name()
	}
	return names, err
}

func (osFS) Open(path string, write bool) (File, error) {
	flag := os.O_RDONLY
	if write {
		flag = os.O_RDWR
	}
	f, err := os.OpenFile(path, flag, 0)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (osFS) Create(path string) (File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (osFS) Rename(from, to string) error { return os.Rename(from, to) }
func (osFS) Remove(path string) error     { return os.Remove(path) }

// SyncDir is fsync of a folder. Some network file systems know none, and keep names durable themselves.
func (osFS) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}

type osFile struct{ *os.File }

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
