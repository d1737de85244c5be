package store

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// syncer makes what was written durable with one syncfs(2) for all of it: measured on
// many small files it is far cheaper than an fsync for each, and since Linux 5.8 it
// reports the errors of writing back.
type syncer struct{ dir *os.File }

func (s *syncer) open(dir string, readOnly bool) (err error) {
	if readOnly {
		return nil
	}
	s.dir, err = os.Open(dir)
	return err
}

// relyOn tells the syncer that path was written, or found, and has to be durable.
func (s *syncer) relyOn(string) error { return nil }

func (s *syncer) flush() error {
	for {
		switch err := unix.Syncfs(int(s.dir.Fd())); err {
		case nil:
			return nil
		case unix.EINTR:
		case unix.ENOSYS: // some sandboxes: sync(2) waits, too, and only tells no errors
			unix.Sync()
			return nil
		default:
			return fmt.Errorf("syncfs %s: %w", s.dir.Name(), err)
		}
	}
}

func (s *syncer) close() error {
	if s.dir == nil {
		return nil
	}
	return s.dir.Close()
}

// writebackFrom is the size of a file from which it pays to write it back at once.
const writebackFrom = 64 << 10

// startWriteback has the kernel begin to write a large file to the disk, without
// waiting for it, so that a flush after many of them finds most of the work done.
func startWriteback(f *os.File) {
	if info, err := f.Stat(); err != nil || info.Size() < writebackFrom {
		return
	}
	// Advice: where it is not taken, the flush does all of it.
	_ = unix.SyncFileRange(int(f.Fd()), 0, 0, unix.SYNC_FILE_RANGE_WRITE)
}
