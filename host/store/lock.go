package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// lock is flock(2) on a file that is never removed. The kernel gives it up when the
// process ends, however it ends.
type lock struct{ file *os.File } // nil: a read-only repo that never had a lock file

// takeLock takes the lock at path for this process alone, making the file. When the
// file cannot be written to it takes it shared, for reading, and shared is true.
func takeLock(path string) (l *lock, shared bool, err error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	how := unix.LOCK_EX
	if unwritable(err) {
		shared, how = true, unix.LOCK_SH
		file, err = os.Open(path)
		if absent(err) {
			return &lock{}, true, nil
		}
	}
	if err != nil {
		return nil, false, err
	}
	err = flock(file, how)
	switch {
	case err == nil:
		return &lock{file}, shared, nil
	case err == unix.EWOULDBLOCK:
		err = ErrLocked
	case errors.Is(err, errors.ErrUnsupported) || err == unix.ENOLCK:
		err = fmt.Errorf("lock %s: its file system has no locks, put the repo on another: %w", path, err)
	default:
		err = fmt.Errorf("lock %s: %w", path, err)
	}
	file.Close()
	return nil, false, err
}

// share lets other readers in.
func (l *lock) share() error {
	if l.file == nil {
		return nil
	}
	return flock(l.file, unix.LOCK_SH)
}

func (l *lock) release() error {
	if l.file == nil {
		return nil
	}
	return l.file.Close()
}

func flock(file *os.File, how int) error {
	for {
		if err := unix.Flock(int(file.Fd()), how|unix.LOCK_NB); err != unix.EINTR {
			return err
		}
	}
}

// unwritable reports whether err says that a write is not allowed here.
func unwritable(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EROFS)
}

// writable reports whether this process may make files in dir.
func writable(dir string) bool {
	err := unix.Access(dir, unix.W_OK|unix.X_OK)
	return err == nil || absent(err) // what is missing will be made
}
