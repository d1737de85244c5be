//go:build !linux

package store

import (
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// syncer makes written files durable one by one, on systems without syncfs(2): it hands every file and folder to the
// drive, and the last call flushes the drive's own cache (File.Sync is F_FULLFSYNC on darwin, too slow for each
// file).
type syncer struct {
	root string

	mu    sync.Mutex
	dirty map[string]struct{} // paths to sync at the next flush
}

// maxDirty limits the memory used by pending paths.
const maxDirty = 1 << 16

func (s *syncer) open(dir string, readOnly bool) error {
	s.root, s.dirty = dir, map[string]struct{}{}
	return nil
}

// relyOn records that path was written or found, and must be durable after flush.
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
	if err != nil { // still not durable: the next flush retries
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

// toDrive is fsync(2). A removed file needs none.
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

// startWriteback does nothing on systems without such a call.
func startWriteback(*os.File) {}
