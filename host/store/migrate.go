package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Migrated is the result of a migration.
type Migrated struct {
	Blocks  int // moved from block files into segments
	Bytes   int64
	Damaged int // left in place: Check reports them
}

// migrateStep is how many bytes are moved between two syncs.
const migrateStep = 64 << 20

// Migrate moves the blocks of a repo of the first format, which has a file per block, into segments. It can be
// interrupted at any time and called again; reads find each block in one place or the other. It leaves damaged files,
// and files that are not blocks, in place.
func (s *Store) Migrate(ctx context.Context) (Migrated, error) {
	if err := s.enterToWrite(ctx); err != nil {
		return Migrated{}, err
	}
	defer s.leave()
	if s.combined.old == nil {
		return Migrated{}, nil
	}
	if err := s.lockGC(ctx); err != nil { // a collection would delete in both places
		return Migrated{}, err
	}
	defer s.unlockGC()
	m := migration{s: s}
	err := s.combined.old.Each(ctx, m.one)
	if err == nil {
		err = m.flush()
	}
	if err != nil {
		return m.done, fmt.Errorf("migrate repo %s: %w", s.dir, err)
	}
	removeEmpty(filepath.Join(s.dir, blocksDir))
	return m.done, nil
}

// migration is the state of a Migrate call.
type migration struct {
	s     *Store
	moved []entry // files to delete
	bytes int64   // size of moved
	done  Migrated
}

func (m *migration) one(e entry) error {
	if e.Key == nil {
		return nil
	}
	data, err := m.s.combined.old.Get(e.Key)
	if errors.Is(err, errAbsent) {
		return nil
	}
	if err == nil {
		err = rehash(e.Key, data)
	}
	if err != nil {
		m.done.Damaged++
		return nil
	}
	if err := m.s.combined.large.Put(e.Key, data); err != nil {
		return err
	}
	m.moved = append(m.moved, e)
	if m.bytes += int64(len(data)); m.bytes < migrateStep && len(m.moved) < 1<<16 {
		return nil
	}
	return m.flush()
}

// flush syncs the segments and then removes the files of the moved blocks.
func (m *migration) flush() error {
	if err := m.s.combined.large.Sync(); err != nil {
		return err
	}
	for _, e := range m.moved {
		if err := m.s.combined.old.Delete(e.Key); err != nil {
			return err
		}
		m.done.Blocks++
	}
	m.done.Bytes += m.bytes
	m.moved, m.bytes = nil, 0
	return nil
}

// removeEmpty removes the empty folders of the first format, so that the next Open does not use them.
func removeEmpty(dir string) {
	list, _ := os.ReadDir(dir)
	for _, e := range list {
		if e.IsDir() {
			os.Remove(filepath.Join(dir, e.Name()))
		}
	}
	if left, err := os.ReadDir(dir); err == nil && len(left) == 1 && left[0].Name() == markerFile {
		os.Remove(filepath.Join(dir, markerFile))
	}
	os.Remove(dir)
}
