package store

import (
	"os"
	"sync"
)

// unsynced tracks whether anything was written since the last sync, so that a command that finds all its blocks
// present does not wait for the disk. A marker file tells the same to the next process: blocks that a killed process
// wrote may still be only in memory. (After a power loss they are not: what can be read then is on disk, with or
// without the marker.)
type unsynced struct {
	marker string // path of the marker file; it exists while dirty or writing

	mu      sync.Mutex
	dirty   bool
	writing int    // writes in progress
	writes  uint64 // completed writes
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

// begin is called before a write, and end after it, whether or not it succeeded.
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

// flush calls sync if there are unsynced writes. Writes made while it runs are left to the next flush.
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
		u.dirty = os.Remove(u.marker) != nil // a leftover marker only costs one sync
	}
	return nil
}
