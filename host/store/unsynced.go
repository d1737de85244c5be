package store

import (
	"os"
	"sync"
)

// unsynced knows whether anything was written since the last sync, so that a command
// that finds all its blocks here does not wait for the disk. A file says the same to
// the next process: what a killed one has written, and others find, may be in memory
// alone. (After a loss of power nothing is: what can be read then is on the disk,
// whether the file has survived or not.)
type unsynced struct {
	marker string // the file's path; it is there while dirty or writing

	mu      sync.Mutex
	dirty   bool
	writing int    // writes that have begun and not ended
	writes  uint64 // ended ones
}

func (u *unsynced) open(marker string) error {
	u.marker = marker
	_, err := os.Lstat(marker)
	u.dirty = err == nil
	if absent(err) {
		return nil
	}
	return err
}

// begin comes before a write, and end after it, whether or not it went well.
func (u *unsynced) begin() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.dirty && u.writing == 0 {
		f, err := os.OpenFile(u.marker, os.O_WRONLY|os.O_CREATE, 0o600)
		if err != nil {
			return err
		}
		f.Close()
	}
	u.writing++
	return nil
}

func (u *unsynced) end() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.writing--
	u.writes++
	u.dirty = true
}

// flush calls sync if there is anything to do for it. What was written while it ran is
// for the next one.
func (u *unsynced) flush(sync func() error) error {
	u.mu.Lock()
	clean, before := !u.dirty && u.writing == 0, u.writes
	u.mu.Unlock()
	if clean {
		return nil
	}
	if err := sync(); err != nil {
		return err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.writing == 0 && u.writes == before {
		u.dirty = os.Remove(u.marker) != nil // a marker too many costs one sync
	}
	return nil
}
