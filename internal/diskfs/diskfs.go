// Package diskfs is the file system interface used by the parts of a repo. Tests replace it to tear writes, fill
// disks and cut power (package simdisk). It also contains the means to delete on a full disk.
//
// One rule: freeing space never requires free space. What must be written for it goes to a [Reserve].
package diskfs

import (
	"errors"
	"os"
	"syscall"
)

// FS is a file system.
type FS interface {
	List(dir string) ([]string, error)
	// Open opens an existing file.
	Open(path string, write bool) (File, error)
	// Create creates a file that must not exist.
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
	// Sync makes the file's bytes and size durable.
	Sync() error
	Close() error
}

// Full reports whether err means that the disk or a disk quota is full.
func Full(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// OS is the operating system's file system.
type OS struct{}

// List implements FS.
func (OS) List(dir string) ([]string, error) {
	list, err := os.ReadDir(dir)
	names := make([]string, len(list))
	for i, e := range list {
		names[i] = e.Name()
	}
	return names, err
}

// Open implements FS.
func (OS) Open(path string, write bool) (File, error) {
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

// Create implements FS. Only the current user can access the file.
func (OS) Create(path string) (File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

// Rename implements FS.
func (OS) Rename(from, to string) error { return os.Rename(from, to) }

// Remove implements FS.
func (OS) Remove(path string) error { return os.Remove(path) }

// SyncDir is fsync of a folder. Some network file systems do not support it and keep names durable themselves.
func (OS) SyncDir(dir string) error {
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

// Wrap returns a File for an open file of the operating system.
func Wrap(f *os.File) File { return osFile{f} }

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
