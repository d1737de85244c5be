package store

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/ipfs-liftoff/liftoff/host/smallfile"
	"github.com/ipfs-liftoff/liftoff/internal/diskfs"
)

// The repo keeps room for what must be possible on a full disk: for deletions in the ledger and in the index of the
// segments, and for small files and the socket. It takes no more than a part of a small file system.
const (
	mostLedgerReserve   = 1 << 20 // a sealed log
	mostSegmentsReserve = 2 << 20 // a table of what the index has in memory
	mostSmallReserve    = 64 << 10
)

func ledgerReserve(dir string) diskfs.Reserve { return reserveOf(dir, "ledger", 32, mostLedgerReserve) }
func segmentsReserve(dir string) diskfs.Reserve {
	return reserveOf(dir, "segments", 32, mostSegmentsReserve)
}

func smallReserve(dir string) diskfs.Reserve {
	return reserveOf(dir, smallfile.Reserve, 64, mostSmallReserve)
}

// reserveOf is one of the repo's reserves: one part in so many of the file system, and no more than most bytes.
func reserveOf(dir, name string, parts, most int64) diskfs.Reserve {
	return diskfs.Reserve{FS: diskfs.OS{}, Path: filepath.Join(dir, smallfile.Reserves, name), Size: diskfs.Share(dir, parts, most)}
}

// FullError says that the disk has no room for more than what removes something.
type FullError struct {
	Dir string
	Err error
}

func (e *FullError) Error() string {
	return fmt.Sprintf("the disk of repo %s is full: %v", e.Dir, e.Err)
}

func (e *FullError) Unwrap() error { return e.Err }

// reserve knows whether there is room.
type reserve struct {
	file diskfs.Reserve // for small files and the socket

	mu   sync.Mutex // held while file is looked at or made
	full atomic.Bool
}

// IsFull reports whether the last write found the disk full, or its reserves not whole, and there was no room since.
func (s *Store) IsFull() bool { return s.reserve.full.Load() }

// noteFull remembers that a write found the disk full, and returns its error.
func (s *Store) noteFull(err error) error {
	if err != nil && diskfs.Full(err) {
		s.reserve.full.Store(true)
	}
	return err
}

// Room looks for room: it makes the reserves whole, and takes a little more and gives it back. A *FullError
// says that the disk is full.
func (s *Store) Room() error {
	if s.readOnly {
		return nil
	}
	err := s.room()
	full := diskfs.Full(err)
	s.reserve.full.Store(full)
	if full {
		err = &FullError{s.dir, err}
	}
	return err
}

func (s *Store) room() error {
	if err := s.ledger.Reserved(); err != nil {
		return err
	}
	if g, ok := s.layers.large.(segments); ok {
		if err := g.s.Reserved(); err != nil {
			return err
		}
	}
	s.reserve.mu.Lock()
	defer s.reserve.mu.Unlock()
	if err := smallfile.FillReserve(s.reserve.file); err != nil {
		return err
	}
	probe := diskfs.Reserve{FS: diskfs.OS{}, Path: filepath.Join(s.scratchPath(), "room"), Size: s.reserve.file.Size}
	return errors.Join(probe.Fill(), probe.Release())
}

// ReleaseReserve gives the room for small files, and an inode, to what cannot be written otherwise: [Store.Room] takes
// them back.
func (s *Store) ReleaseReserve() error {
	s.reserve.mu.Lock()
	defer s.reserve.mu.Unlock()
	s.reserve.full.Store(true)
	return smallfile.ReleaseReserve(s.reserve.file)
}
