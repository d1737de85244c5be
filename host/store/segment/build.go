package segment

import (
	"encoding/binary"
	"hash/crc32"
	"path/filepath"
	"sync"

	"github.com/ipfs-liftoff/liftoff/internal/diskfs"
)

// Other files in the folder.
const (
	tempName    = "new"     // a table that is being written
	rebuildName = "rebuild" // marks the index as damaged: the next Open rebuilds it
)

var pagePool = sync.Pool{New: func() any { return new([pageSize]byte) }}

// builder writes a table: call add in key order, then finish.
type builder struct {
	file       diskfs.File
	at         int64
	buf        []byte // complete pages that are not written yet
	page       []byte
	n          int // records in page
	separators []byte
	records    uint64
	filter     filter
}

// add appends r.
func (b *builder) add(r record) error {
	if b.n == 0 {
		b.page = append(b.page[:0], make([]byte, pageHead)...)
		b.separators = append(b.separators, r.digest[:8]...)
	}
	b.page = appendRecord(b.page, r)
	b.filter.add(r.key)
	b.n++
	b.records++
	if b.n == perPage {
		return b.endPage()
	}
	return nil
}

func (b *builder) endPage() error {
	if b.n == 0 {
		return nil
	}
	b.page = append(b.page, make([]byte, pageSize-len(b.page))...)
	binary.BigEndian.PutUint16(b.page[4:], uint16(b.n))
	binary.BigEndian.PutUint32(b.page, crc32.Checksum(b.page[4:], castagnoli))
	b.buf = append(b.buf, b.page...)
	b.n = 0
	if len(b.buf) >= 256<<10 {
		return b.write()
	}
	return nil
}

func (b *builder) write() error {
	n, err := b.file.WriteAt(b.buf, b.at)
	b.at += int64(n)
	b.buf = b.buf[:0]
	return err
}

// finish writes the last page, the separators and the tail.
func (b *builder) finish(sp span) error {
	if err := b.endPage(); err != nil {
		return err
	}
	sum := crc32.Checksum(b.separators, castagnoli)
	b.buf = append(b.buf, b.separators...)
	u32, u64 := binary.BigEndian.AppendUint32, binary.BigEndian.AppendUint64
	t := append(make([]byte, 0, tailSize), tableMagic[:]...)
	t = u32(u32(t, sp.lo), sp.hi)
	t = u64(u32(t, uint32(len(b.separators)/8)), b.records)
	t = u64(u32(t, sp.from.seg), uint64(sp.from.at))
	t = u64(u32(t, sp.end.seg), uint64(sp.end.at))
	t = u32(t, sum)
	t = u32(t, crc32.Checksum(t, castagnoli))
	b.buf = append(b.buf, t...)
	return b.write()
}

// recordsIn returns how many records a table of size bytes has.
func recordsIn(size int64) int {
	return int((size-tailSize)/(pageSize+8)) * perPage
}

// writeTable durably writes a table with the records that fill adds, at most the given number. If spare is true and
// the disk is full, it overwrites the reserve and calls fill a second time. s.merging is held.
func (s *Store) writeTable(sp span, records uint64, spare bool, fill func(*builder) error) (*table, error) {
	var b *builder
	path := s.tablePath(sp.lo, sp.hi)
	err := s.reserve.Write(path, filepath.Join(s.dir, tempName), spare, func(f diskfs.File) (int64, error) {
		b = &builder{file: f, filter: newFilter(records)}
		err := fill(b)
		if err == nil {
			err = b.finish(sp)
		}
		return b.at, err
	})
	if err != nil {
		return nil, err
	}
	t, err := openTable(s.fs, path)
	if err == nil {
		t.filter = b.filter
	}
	return t, err
}
