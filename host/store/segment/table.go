package segment

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"sort"
	"sync/atomic"

	"github.com/ipfs-liftoff/liftoff/internal/diskfs"
)

// A table is a sorted, immutable file:
//
//	pages       of 4,096 bytes: the CRC-32C of the rest, the number of records in two bytes, records
//	separators  the first eight bytes of each page's first key
//	tail        magic, first and last flush number, the number of pages, the number of records,
//	            begin and end of the range covered (segment, byte), the CRC-32C of the separators,
//	            the CRC-32C of the preceding tail bytes
//
// A record is a key's digest (32 bytes) and kind (1), flags (1, bit 0: deleted), and the block's segment (4), first
// byte (6), size (4), and CRC-32C (4). Integers are big-endian. Only the separators are kept in memory, about 0.1
// bytes per block: a lookup reads one page of each table. The process that writes a table also keeps a filter of it,
// 1.25 bytes per block: for most new blocks the lookup then reads nothing.
const (
	pageSize   = 4096
	pageHead   = 6
	recordSize = 52
	perPage    = (pageSize - pageHead) / recordSize
	tailSize   = 4 + 4 + 4 + 4 + 8 + 12 + 12 + 4 + 4
)

var tableMagic = [4]byte{'L', 'F', 'X', 1}

// span is the range of flushes in a table and the range of positions it covers.
type span struct {
	lo, hi    uint32 // flushes
	from, end position
}

// table is an open table.
type table struct {
	span
	path       string
	file       diskfs.File
	separators []uint64
	filter     filter // nil if this process did not write the table
	records    uint64
	refs       atomic.Int32 // file is closed at 0
}

func (t *table) acquire() { t.refs.Add(1) }

func (t *table) release() error {
	if t.refs.Add(-1) == 0 {
		return t.file.Close()
	}
	return nil
}

func (t *table) damaged(format string, a ...any) error {
	return &DamageError{t.path, fmt.Sprintf(format, a...)}
}

// openTable opens the table at path. The caller owns one reference.
func openTable(fs diskfs.FS, path string) (*table, error) {
	file, err := fs.Open(path, false)
	if err != nil {
		return nil, err
	}
	t := &table{path: path, file: file}
	t.acquire()
	if err := t.readTail(); err != nil {
		t.release()
		return nil, err
	}
	return t, nil
}

func (t *table) readTail() error {
	size, err := t.file.Size()
	if err != nil {
		return err
	}
	var tail [tailSize]byte
	if size < tailSize {
		return t.damaged("segment index: got %d bytes, want at least %d", size, tailSize)
	}
	if _, err := t.file.ReadAt(tail[:], size-tailSize); err != nil {
		return err
	}
	u32, u64 := binary.BigEndian.Uint32, binary.BigEndian.Uint64
	pages := int64(u32(tail[12:]))
	if [4]byte(tail[:4]) != tableMagic || u32(tail[52:]) != crc32.Checksum(tail[:52], castagnoli) ||
		pages*(pageSize+8)+tailSize != size {
		return t.damaged("segment index: tail is damaged")
	}
	t.span = span{
		u32(tail[4:]), u32(tail[8:]),
		position{u32(tail[24:]), int64(u64(tail[28:]))},
		position{u32(tail[36:]), int64(u64(tail[40:]))},
	}
	t.records = u64(tail[16:])
	b := make([]byte, 8*pages)
	if _, err := t.file.ReadAt(b, pages*pageSize); err != nil && err != io.EOF {
		return err
	}
	if crc32.Checksum(b, castagnoli) != u32(tail[48:]) {
		return t.damaged("segment index: separators: checksum does not match")
	}
	t.separators = make([]uint64, pages)
	for i := range t.separators {
		t.separators[i] = u64(b[8*i:])
	}
	return nil
}

// find returns the table's place of k.
func (t *table) find(k key) (place, bool, error) {
	if !t.filter.mayHave(k) {
		return place{}, false, nil
	}
	first := binary.BigEndian.Uint64(k.digest[:])
	i := sort.Search(len(t.separators), func(i int) bool { return t.separators[i] >= first })
	for i = max(i-1, 0); i < len(t.separators) && t.separators[i] <= first; i++ {
		buf := pagePool.Get().(*[pageSize]byte)
		p, ok, err := t.findIn(i, k, buf)
		pagePool.Put(buf)
		if ok || err != nil {
			return p, ok, err
		}
	}
	return place{}, false, nil
}

// findIn searches page i.
func (t *table) findIn(i int, k key, buf *[pageSize]byte) (place, bool, error) {
	records, err := t.page(i, buf[:])
	if err != nil {
		return place{}, false, err
	}
	n := len(records) / recordSize
	at, ok := sort.Find(n, func(j int) int {
		r := records[j*recordSize:]
		if c := bytes.Compare(k.digest[:], r[:32]); c != 0 {
			return c
		}
		return cmp.Compare(k.kind, r[32])
	})
	if !ok {
		return place{}, false, nil
	}
	return decodeRecord(records[at*recordSize:]).place, true, nil
}

// page reads page i into buf and returns its records.
func (t *table) page(i int, buf []byte) ([]byte, error) {
	if _, err := t.file.ReadAt(buf[:pageSize], int64(i)*pageSize); err != nil && err != io.EOF {
		return nil, err
	}
	return t.checkPage(i, buf[:pageSize])
}

func (t *table) checkPage(i int, b []byte) ([]byte, error) {
	n := int(binary.BigEndian.Uint16(b[4:]))
	if n > perPage || crc32.Checksum(b[4:], castagnoli) != binary.BigEndian.Uint32(b) {
		return nil, t.damaged("segment index: page %d is damaged", i)
	}
	return b[pageHead : pageHead+n*recordSize], nil
}

func appendRecord(b []byte, r record) []byte {
	b = append(b, r.digest[:]...)
	flags := byte(0)
	if r.gone {
		flags = 1
	}
	b = append(b, r.kind, flags)
	b = binary.BigEndian.AppendUint32(b, r.seg)
	b = binary.BigEndian.AppendUint16(b, uint16(r.at>>32))
	b = binary.BigEndian.AppendUint32(b, uint32(r.at&math.MaxUint32))
	b = binary.BigEndian.AppendUint32(b, r.size)
	return binary.BigEndian.AppendUint32(b, r.sum)
}

func decodeRecord(b []byte) record {
	u32 := binary.BigEndian.Uint32
	return record{
		key{[32]byte(b[:32]), b[32]},
		place{
			gone: b[33]&1 != 0, seg: u32(b[34:]), at: int64(binary.BigEndian.Uint16(b[38:]))<<32 | int64(u32(b[40:])),
			size: u32(b[44:]), sum: u32(b[48:]),
		},
	}
}
