package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
)

// maxSpare is how many empty folders are retained for later runs.
const maxSpare = 16

// scratch is a pool of empty folders: creating one costs more than everything else that is written for a small run.
type scratch struct {
	mu     sync.Mutex
	spare  []string
	closed bool
}

func (s *Store) scratchPath() string { return filepath.Join(s.dir, scratchDir) }

// NewScratch returns an empty private folder. The caller must call remove; the next Open removes folders of a killed
// process.
func (s *Store) NewScratch() (path string, remove func() error, err error) {
	if s.readOnly {
		return "", nil, &ReadOnlyError{s.dir}
	}
	path, ok := s.scratch.take()
	if !ok {
		path, err = os.MkdirTemp(s.scratchPath(), "run-")
	}
	if s.noteFull(err) != nil {
		return "", nil, fmt.Errorf("make scratch folder: %w", err)
	}
	return path, func() error { return s.scratch.giveBack(path) }, nil
}

func (s *scratch) take() (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.spare)
	if n == 0 {
		return "", false
	}
	path := s.spare[n-1]
	s.spare = s.spare[:n-1]
	return path, true
}

// giveBack retains an empty folder for reuse, and removes any other with its content.
func (s *scratch) giveBack(path string) error {
	if empty(path) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.closed && len(s.spare) < maxSpare {
			s.spare = append(s.spare, path)
			return nil
		}
	}
	return removeAll(path)
}

func empty(dir string) bool {
	d, err := os.Open(dir)
	if err != nil {
		return false
	}
	defer d.Close()
	_, err = d.Readdirnames(1)
	return errors.Is(err, io.EOF)
}

// close removes the pooled folders.
func (s *scratch) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, path := range s.spare {
		os.Remove(path) // if it remains, the next Open removes it
	}
	s.spare = nil
}
