package wasm

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// stage is the folder in which wazero's own compilation cache works. It belongs to one
// Executor, and holds at most one file: that of the module being compiled. What wazero reads
// from it has been authenticated; what wazero writes is moved to the diskCache.
//
// A lock file next to it, held for the life of the process, tells other processes that it is in
// use.
type stage struct {
	dir   string   // wazero's cache folder
	files string   // where wazero keeps its files: dir/wazero-<version>-<arch>-<os>
	lock  *os.File // dir + ".lock", held by flock
}

const stagePrefix = "stage-"

// newStage creates a stage in parent and removes those of dead processes.
func newStage(parent string) (*stage, error) {
	sweepStages(parent)
	for range 100 {
		s, err := tryStage(parent)
		if s != nil || err != nil {
			return s, err
		}
	}
	return nil, fmt.Errorf("create folder for compiler output in %s: removed by another process each time", parent)
}

// tryStage returns nil if another process's sweep took the lock first.
func tryStage(parent string) (*stage, error) {
	lock, err := os.CreateTemp(parent, stagePrefix+"*.lock")
	if err != nil {
		return nil, fmt.Errorf("create folder for compiler output: %w", err)
	}
	s := &stage{dir: strings.TrimSuffix(lock.Name(), ".lock"), lock: lock}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		s.close()
		return nil, fmt.Errorf("lock folder for compiler output: %w", err)
	}
	held, err := lock.Stat()
	if err != nil {
		s.close()
		return nil, fmt.Errorf("lock folder for compiler output: %w", err)
	}
	if there, err := os.Lstat(lock.Name()); err != nil || !os.SameFile(held, there) {
		lock.Close()
		return nil, nil
	}
	if err := os.Mkdir(s.dir, 0o700); err != nil {
		s.close()
		return nil, fmt.Errorf("create folder for compiler output: %w", err)
	}
	return s, nil
}

// find sets files, once wazero has created its folder, and returns the folder's name: wazero's
// version, the architecture and the operating system.
func (s *stage) find() (string, error) {
	des, err := os.ReadDir(s.dir)
	if err != nil {
		return "", fmt.Errorf("read folder of compiler output: %w", err)
	}
	if len(des) != 1 || !des[0].IsDir() {
		return "", fmt.Errorf("wazero's cache folder %s: got %d items, want 1", s.dir, len(des))
	}
	s.files = filepath.Join(s.dir, des[0].Name())
	return des[0].Name(), nil
}

// clear removes wazero's files.
func (s *stage) clear() error {
	des, err := os.ReadDir(s.files)
	if err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("read folder of compiler output: %w", err)
	}
	for _, de := range des {
		if err := os.Remove(filepath.Join(s.files, de.Name())); err != nil {
			return fmt.Errorf("clear folder of compiler output: %w", err)
		}
	}
	return nil
}

func (s *stage) close() error {
	err := os.RemoveAll(s.dir)
	if e := os.Remove(s.lock.Name()); err == nil {
		err = e
	}
	if e := s.lock.Close(); err == nil { // releases the lock
		err = e
	}
	return err
}

// sweepStages removes the stages of processes that ended without closing them. It leaves a
// stage that cannot be removed to the next sweep.
func sweepStages(parent string) {
	locks, _ := filepath.Glob(filepath.Join(escapeGlob(parent), stagePrefix+"*.lock"))
	for _, path := range locks {
		f, err := os.OpenFile(path, os.O_RDWR|syscall.O_NOFOLLOW, 0)
		if err != nil {
			continue
		}
		if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			os.RemoveAll(strings.TrimSuffix(path, ".lock"))
			os.Remove(path)
		}
		f.Close()
	}
}

// escapeGlob escapes the characters that filepath.Glob would read as a pattern.
func escapeGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}
