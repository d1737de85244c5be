//go:build !linux

package store

import (
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// syncer makes what was written durable file by file, where there is no syncfs(2):
// every file and folder is handed to the drive, and the last call empties the drive's
// own cache (File.Sync is F_FULLFSYNC on darwin, too slow to be called for each).
type syncer struct {
	root string

	mu    sync.Mutex
	dirty map[string]struct{} // paths relied on since the last flush
}

// maxDirty bounds the memory that waiting for a flush takes.
const maxDirty = 1 << 16

func (s *syncer) open(dir string, readOnly bool) error {
	s.root, s.dirty = dir, map[string]struct{}{}
	return nil
}

// relyOn tells the syncer that path was written, or found, and has to be durable.
func (s *syncer) relyOn(path string) error {
	s.mu.Lock()
	s.dirty[path] = struct{}{}
	full := len(s.dirty) >= maxDirty
	s.mu.Unlock()
	if full {
		return s.flush()
	}
	return nil
}

func (s *syncer) flush() error {
	s.mu.Lock()
	dirty := s.dirty
	s.dirty = map[string]struct{}{}
	s.mu.Unlock()
	err := flushAll(s.root, dirty)
	if err != nil { // still not durable: the next flush tries again
		s.mu.Lock()
		for path := range dirty {
			s.dirty[path] = struct{}{}
		}
		s.mu.Unlock()
	}
	return err
}

func flushAll(root string, files map[string]struct{}) error {
	dirs := map[string]struct{}{}
	for path := range files {
		if err := toDrive(path); err != nil {
			return err
		}
		dirs[filepath.Dir(path)] = struct{}{}
	}
	for path := range dirs {
		if err := toDrive(path); err != nil {
			return err
		}
	}
	return fsync(root)
}

// toDrive is fsync(2). A file that is gone needs none.
func toDrive(path string) error {
	f, err := os.Open(path)
	if absent(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Fsync(int(f.Fd())); err != nil {
		return &os.PathError{Op: "fsync", Path: path, Err: err}
	}
	return nil
}

func (s *syncer) close() error { return nil }

// startWriteback does nothing where the kernel cannot be asked to.
func startWriteback(*os.File) {}
