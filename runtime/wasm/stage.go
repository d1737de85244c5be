package wasm

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// stage is the folder that wazero's own compilation cache works in. It belongs to one
// Executor, and holds at most the one file of the module that is being compiled: what
// wazero reads from it has been authenticated, what it writes goes to the diskCache.
//
// A lock beside it, held as long as the process lives, tells others that it is in use.
type stage struct {
	dir   string   // what wazero is given
	files string   // where wazero keeps its files: dir/wazero-<version>-<arch>-<os>
	lock  *os.File // dir + ".lock", held by flock
}

const stagePrefix = "stage-"

// newStage makes a stage in parent and removes those of dead processes.
func newStage(parent string) (*stage, error) {
	sweepStages(parent)
	for range 100 {
		s, err := tryStage(parent)
		if s != nil || err != nil {
			return s, err
		}
	}
	return nil, fmt.Errorf("make a stage in %s: it is always swept away", parent)
}

// tryStage answers nil when a sweep took the lock before it was held.
func tryStage(parent string) (*stage, error) {
	lock, err := os.CreateTemp(parent, stagePrefix+"*.lock")
	if err != nil {
		return nil, fmt.Errorf("make a stage: %w", err)
	}
	s := &stage{dir: strings.TrimSuffix(lock.Name(), ".lock"), lock: lock}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		s.close()
		return nil, fmt.Errorf("lock a stage: %w", err)
	}
	held, err := lock.Stat()
	if err != nil {
		s.close()
		return nil, fmt.Errorf("lock a stage: %w", err)
	}
	if there, err := os.Lstat(lock.Name()); err != nil || !os.SameFile(held, there) {
		lock.Close()
		return nil, nil
	}
	if err := os.Mkdir(s.dir, 0o700); err != nil {
		s.close()
		return nil, fmt.Errorf("make a stage: %w", err)
	}
	return s, nil
}

// find sets files, once wazero has made its folder, and returns its name: wazero's
// version, the architecture and the system.
func (s *stage) find() (string, error) {
	des, err := os.ReadDir(s.dir)
	if err != nil {
		return "", fmt.Errorf("read the stage: %w", err)
	}
	if len(des) != 1 || !des[0].IsDir() {
		return "", fmt.Errorf("wazero's cache is laid out in an unknown way: %d items", len(des))
	}
	s.files = filepath.Join(s.dir, des[0].Name())
	return des[0].Name(), nil
}

// clear removes wazero's files.
func (s *stage) clear() error {
	des, err := os.ReadDir(s.files)
	if err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("read the stage: %w", err)
	}
	for _, de := range des {
		if err := os.Remove(filepath.Join(s.files, de.Name())); err != nil {
			return fmt.Errorf("clear the stage: %w", err)
		}
	}
	return nil
}

func (s *stage) close() error {
	err := os.RemoveAll(s.dir)
	if e := os.Remove(s.lock.Name()); err == nil {
		err = e
	}
	if e := s.lock.Close(); err == nil { // ends the lock
		err = e
	}
	return err
}

// sweepStages removes the stages of processes that ended without doing so. What it
// cannot remove is the next one's business.
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

// escapeGlob quotes what filepath.Glob would read as a pattern.
func escapeGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}
