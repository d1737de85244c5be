package ledger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sort"
	"sync/atomic"

	"github.com/ipfs-liftoff/liftoff/internal/diskfs"
)

// A table is a sorted, immutable file. It consists of groups: the values of some keys, one after the other, then the
// page that describes them:
//
//	page   CRC-32C of the rest; the number of entries; for each entry: op byte as in a
//	       log, the key's length, the key, and for a value: its offset in the file, its
//	       length, and the CRC-32C of key and value
//	index  CRC-32C of the rest; for each page: the length of its first key, the key, the
//	       page's offset, its length
//	tail   magic, offset of the index, its length, CRC-32C of the preceding tail bytes
//
// Numbers are uvarints, except checksums and the tail, which are big-endian. Only the index is kept in memory: about
// 60 bytes for a page of about 80 keys. Looking up a key costs one page read, and its value a second read.
const (
	tableTail   = 4 + 8 + 8 + 4
	maxIndex    = 1 << 30
	maxPage     = 1 << 20
	pageSize    = 4 << 10 // a page of this size is finished
	groupValues = 1 << 20 // so is a page with this many bytes of values
)

var tableMagic = [4]byte{'L', 'F', 'T', 1}

// table is an open table.
type table struct {
	path   string
	lo, hi uint32 // range of logs in the table
	size   int64
	file   diskfs.File
	pages  []pageRef
	refs   atomic.Int32 // file is closed at 0
}

type pageRef struct {
	first string
	at    int64
	size  int
}

func (t *table) acquire() { t.refs.Add(1) }

func (t *table) release() {
	if t.refs.Add(-1) == 0 {
		t.file.Close()
	}
}

func (t *table) damaged(key, format string, a ...any) error {
	return &DamageError{t.path, key, fmt.Sprintf(format, a...)}
}

// openTable opens the table at path. The caller owns one reference.
func openTable(fs diskfs.FS, path string, lo, hi uint32) (*table, error) {
	file, err := fs.Open(path, false)
	if err != nil {
		return nil, err
	}
	t := &table{path: path, lo: lo, hi: hi, file: file}
	t.acquire()
	if err := t.readIndex(); err != nil {
		t.release()
		return nil, err
	}
	return t, nil
}

func (t *table) readIndex() error {
	size, err := t.file.Size()
	if err != nil {
		return err
	}
	t.size = size
	var tail [tableTail]byte
	if t.size < tableTail {
		return t.damaged("", "ledger table: got %d bytes, want at least %d", size, tableTail)
	}
	if _, err := t.file.ReadAt(tail[:], t.size-tableTail); err != nil {
		return err
	}
	at, n := int64(binary.BigEndian.Uint64(tail[4:])), int64(binary.BigEndian.Uint64(tail[12:]))
	if [4]byte(tail[:4]) != tableMagic || crc32.Checksum(tail[:20], castagnoli) != binary.BigEndian.Uint32(tail[20:]) ||
		at < 0 || n < 4 || n > maxIndex || at+n != t.size-tableTail {
		return t.damaged("", "ledger table: tail is damaged")
	}
	b, err := t.checked(at, int(n))
	if err != nil {
		return t.damaged("", "ledger table: index is damaged")
	}
	d := decoder{b: b}
	for len(d.b) > 0 && !d.bad {
		p := pageRef{first: string(d.bytes(MaxKey)), at: int64(d.uint()), size: int(d.uint())}
		if p.at < 0 || p.size < 4 || p.size > maxPage || p.at+int64(p.size) > at {
			d.bad = true
		}
		t.pages = append(t.pages, p)
	}
	if d.bad {
		return t.damaged("", "ledger table: index is damaged")
	}
	return nil
}

var errSum = errors.New("checksum in ledger table does not match")

// checked reads n bytes at offset at, verifies the checksum at their start, and returns the rest.
func (t *table) checked(at int64, n int) ([]byte, error) {
	b := make([]byte, n)
	if _, err := t.file.ReadAt(b, at); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, errSum
		}
		return nil, err
	}
	if crc32.Checksum(b[4:], castagnoli) != binary.BigEndian.Uint32(b) {
		return nil, errSum
	}
	return b[4:], nil
}

// page returns the entries of page i.
func (t *table) page(i int) ([]located, error) {
	var all []located
	err := t.scan(i, func(key []byte, r record) bool {
		all = append(all, located{key: string(key), record: r})
		return true
	})
	return all, err
}

// scan calls fn for each entry of page i until fn returns false.
func (t *table) scan(i int, fn func(key []byte, r record) bool) error {
	p := t.pages[i]
	b, err := t.checked(p.at, p.size)
	if errors.Is(err, errSum) {
		return t.damaged("", "ledger table page at byte %d: checksum does not match", p.at)
	}
	if err != nil {
		return err
	}
	d := decoder{b: b}
	for n := d.uint(); n > 0; n-- {
		r := record{table: t, deleted: d.byte() == opDelete}
		key := d.bytes(MaxKey)
		if !r.deleted {
			r.at, r.size, r.sum = int64(d.uint()), int(d.uint()), d.sum()
		}
		if d.bad || r.at < 0 || r.size < 0 || r.size > MaxBatch {
			return t.damaged("", "ledger table page at byte %d: invalid entry", p.at)
		}
		if !fn(key, r) {
			break
		}
	}
	return nil
}

// located is a record with its key.
type located struct {
	key string
	record
	damage *DamageError // set instead of the record for an unreadable page, which begins with key
}

// find returns the table's record of key.
func (t *table) find(key string) (found record, ok bool, err error) {
	i := sort.Search(len(t.pages), func(i int) bool { return t.pages[i].first > key }) - 1
	if i < 0 {
		return record{}, false, nil
	}
	err = t.scan(i, func(k []byte, r record) bool {
		if string(k) < key { // the comparison does not copy
			return true
		}
		if string(k) == key {
			found, ok = r, true
		}
		return false
	})
	return found, ok, err
}

// value reads the value of r and verifies it.
func (t *table) value(key string, r record) ([]byte, error) {
	b := make([]byte, r.size)
	if _, err := t.file.ReadAt(b, r.at); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if sumOf(key, b) != r.sum {
		return nil, t.damaged(key, "ledger value at byte %d: checksum does not match", r.at)
	}
	return b, nil
}

func sumOf(key string, value []byte) uint32 {
	return crc32.Update(crc32.Checksum([]byte(key), castagnoli), castagnoli, value)
}

// decoder reads numbers and bytes. After the first missing one, bad stays set.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) uint() uint64 {
	n, w := binary.Uvarint(d.b)
	if w <= 0 {
		d.bad = true
		return 0
	}
	d.b = d.b[w:]
	return n
}

func (d *decoder) take(n uint64) []byte {
	if d.bad || n > uint64(len(d.b)) {
		d.bad = true
		return nil
	}
	b := d.b[:n]
	d.b = d.b[n:]
	return b
}

func (d *decoder) bytes(limit uint64) []byte {
	n := d.uint()
	if n > limit {
		d.bad = true
	}
	return d.take(n)
}

func (d *decoder) byte() byte {
	if b := d.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *decoder) sum() uint32 {
	if b := d.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}
