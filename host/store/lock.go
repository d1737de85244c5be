package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// lock is flock(2) on a file that is never removed. The kernel releases it when the process ends, however it ends.
type lock struct{ file *os.File } // nil: a read-only repo that never had a lock file

// takeLock takes an exclusive lock on path and creates the file if necessary. If the file is not writable, it takes a
// shared lock for reading, and shared is true.
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
		err = fmt.Errorf("lock %s: file system does not support locks; move the repo to another file system: %w", path, err)
	default:
		err = fmt.Errorf("lock %s: %w", path, err)
	}
	file.Close()
	return nil, false, err
}

// share turns the lock into a shared one, so that other readers can open the repo.
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

// unwritable reports whether err means that writing is not permitted.
func unwritable(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EROFS)
}

// writable reports whether this process may create files in dir.
func writable(dir string) bool {
	err := unix.Access(dir, unix.W_OK|unix.X_OK)
	return err == nil || absent(err) // a missing folder will be created
}
