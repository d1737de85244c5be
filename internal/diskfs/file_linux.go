package diskfs

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Sync is fdatasync(2): the file's times need not be durable.
func (f osFile) Sync() error {
	for {
		if err := unix.Fdatasync(int(f.Fd())); err != unix.EINTR {
			return f.named("sync", err)
		}
	}
}

func (f osFile) named(op string, err error) error {
	if err == nil {
		return nil
	}
	return &os.PathError{Op: op, Path: f.Name(), Err: err}
}

// StartWriteback is best effort: if the kernel refuses, Sync does all the work.
func (f osFile) StartWriteback(off, n int64) {
	_ = unix.SyncFileRange(int(f.Fd()), off, n, unix.SYNC_FILE_RANGE_WRITE)
}

// leaveFree is how many free bytes Reserve leaves for other programs.
const leaveFree = 1 << 30

// Reserve is best effort too. It preallocates a range: allocating its blocks one by one, as they are written, costs
// much of the time of writing them.
func (f osFile) Reserve(off, n int64) {
	var fs unix.Statfs_t
	if unix.Fstatfs(int(f.Fd()), &fs) == nil && int64(fs.Bavail)*int64(fs.Bsize) >= leaveFree+n {
		_ = f.Allocate(off, n)
	}
}

// Allocate allocates the blocks of a range without changing the file's size, so that a later write to it cannot find
// the disk full. If the file system does not support it, the error is errors.ErrUnsupported.
func (f osFile) Allocate(off, n int64) error {
	for {
		switch err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, off, n); {
		case err == unix.EINTR:
		case err == unix.EOPNOTSUPP || err == unix.ENOSYS || err == unix.EINVAL:
			return errors.ErrUnsupported
		default:
			return f.named("allocate", err)
		}
	}
}

// Allocated returns how much disk space the file uses: less than its size if it has holes.
func (f osFile) Allocated() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return info.Size(), nil
	}
	return st.Blocks * 512, nil // st_blocks counts units of 512 bytes on every file system
}

// PunchHole frees the pages inside the range, if the file system supports it.
func (f osFile) PunchHole(off, n int64) error {
	if n <= 0 {
		return nil
	}
	err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
	if err == unix.EOPNOTSUPP || err == unix.ENOSYS {
		return nil
	}
	return f.named("punch", err)
}
