package segment

import (
	"path/filepath"
	"slices"

	"github.com/multiformats/go-multihash"

	"github.com/ipfs-liftoff/liftoff/internal/diskfs"
)

// Synthetic creates the index of a store of n blocks with the given size and multihashes, and segments without the
// blocks' bytes, for benchmarks of large stores.
func Synthetic(dir string, n, size int, name func(int) multihash.Multihash) error {
	const perSegment = 1000
	records := make([]record, n)
	for i := range records {
		at := int64(i%perSegment) * int64(size+64)
		records[i] = record{keyOf(name(i)), place{seg: uint32(1 + i/perSegment), at: at, size: uint32(size)}}
	}
	last := uint32(1 + (n-1)/perSegment)
	end := position{last, int64(perSegment) * int64(size+64)}
	slices.SortFunc(records, func(a, b record) int { return a.key.compare(b.key) })
	s := &Store{dir: dir, fs: diskfs.OS{}, reserve: diskfs.Reserve{FS: diskfs.OS{}}}
	t, err := s.writeTable(span{1, 1, position{}, end}, uint64(n), false, func(b *builder) error {
		for _, r := range records {
			if err := b.add(r); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for seg := uint32(1); seg <= last; seg++ {
		f, err := s.fs.Create(filepath.Join(s.segmentPath(seg)))
		if err == nil {
			err = f.Truncate(end.at) // a hole
		}
		if err == nil {
			err = f.Close()
		}
		if err != nil {
			return err
		}
	}
	return t.release()
}
