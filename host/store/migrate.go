package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Migrated is what a migration did.
type Migrated struct {
	Blocks  int // moved from files of their own into segments
	Bytes   int64
	Damaged int // left where they are: Verify names them
}

// migrateStep is how many bytes are moved between two syncs.
const migrateStep = 64 << 20

// Migrate moves the blocks of a repo of the first format, which have a file each, into segments. It can be
// ended at any moment and called again; what is read meanwhile is found in one place or the
// other. A damaged file, and what is no block, is left where it is.
func (s *Store) Migrate(ctx context.Context) (Migrated, error) {
	if err := s.enterToWrite(ctx); err != nil {
		return Migrated{}, err
	}
	defer s.leave()
	if s.layers.old == nil {
		return Migrated{}, nil
	}
	if err := s.passGate(ctx); err != nil { // a collection would delete in both places
		return Migrated{}, err
	}
	defer s.openGate()
	m := migration{s: s}
	err := s.layers.old.Each(ctx, m.one)
	if err == nil {
		err = m.flush()
	}
	if err != nil {
		return m.done, fmt.Errorf("migrate repo %s: %w", s.dir, err)
	}
	removeEmpty(filepath.Join(s.dir, blocksDir))
	return m.done, nil
}

// migration is one under way.
type migration struct {
	s     *Store
	moved []entry // and not deleted yet
	bytes int64   // of them
	done  Migrated
}

func (m *migration) one(e entry) error {
	if e.Key == nil {
		return nil
	}
	data, err := m.s.layers.old.Get(e.Key)
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
	if err := m.s.layers.large.Put(e.Key, data); err != nil {
		return err
	}
	m.moved = append(m.moved, e)
	if m.bytes += int64(len(data)); m.bytes < migrateStep && len(m.moved) < 1<<16 {
		return nil
	}
	return m.flush()
}

// flush removes the files of what is safe in segments.
func (m *migration) flush() error {
	if err := m.s.layers.large.Sync(); err != nil {
		return err
	}
	for _, e := range m.moved {
		if err := m.s.layers.old.Delete(e.Key); err != nil {
			return err
		}
		m.done.Blocks++
	}
	m.done.Bytes += m.bytes
	m.moved, m.bytes = nil, 0
	return nil
}

// removeEmpty removes the folders of the first format that nothing is in: the next Open does not look
// there any more.
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
