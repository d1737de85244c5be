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

// The repo reserves space for operations that must be possible on a full disk: deletions in the ledger and in the
// segments' index, small files, and the socket. On a small file system it reserves only a fraction of the space.
const (
	maxLedgerReserve   = 1 << 20 // a sealed log
	maxSegmentsReserve = 2 << 20 // a table of the index in memory
	maxSmallReserve    = 64 << 10
)

func ledgerReserve(dir string) diskfs.Reserve { return reserveOf(dir, "ledger", 32, maxLedgerReserve) }
func segmentsReserve(dir string) diskfs.Reserve {
	return reserveOf(dir, "segments", 32, maxSegmentsReserve)
}

func smallReserve(dir string) diskfs.Reserve {
	return reserveOf(dir, smallfile.Reserve, 64, maxSmallReserve)
}

// reserveOf returns one of the repo's reserves: 1/parts of the file system, at most most bytes.
func reserveOf(dir, name string, parts, most int64) diskfs.Reserve {
	return diskfs.Reserve{FS: diskfs.OS{}, Path: filepath.Join(dir, smallfile.Reserves, name), Size: diskfs.Share(dir, parts, most)}
}

// FullError means that the disk is full: only removals are possible.
type FullError struct {
	Dir string
	Err error
}

func (e *FullError) Error() string {
	return fmt.Sprintf("disk of repo %s is full: %v", e.Dir, e.Err)
}

func (e *FullError) Unwrap() error { return e.Err }

// reserve tracks whether the disk is full.
type reserve struct {
	file diskfs.Reserve // for small files and the socket

	mu   sync.Mutex // held while checking or writing file
	full atomic.Bool
}

// IsFull reports whether the last write found the disk full or the reserves incomplete, and no space was found since.
func (s *Store) IsFull() bool { return s.reserve.full.Load() }

// noteFull records that a write found the disk full, and returns its error.
func (s *Store) noteFull(err error) error {
	if err != nil && diskfs.Full(err) {
		s.reserve.full.Store(true)
	}
	return err
}

// Room checks for free space: it restores the reserves, and allocates and frees a little more. A *FullError means
// that the disk is full.
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
	if g, ok := s.combined.large.(segmentStorage); ok {
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

// ReleaseReserve frees the reserve for small files, and an inode, for a write that is otherwise impossible.
// [Store.Room] restores it.
func (s *Store) ReleaseReserve() error {
	s.reserve.mu.Lock()
	defer s.reserve.mu.Unlock()
	s.reserve.full.Store(true)
	return smallfile.ReleaseReserve(s.reserve.file)
}
