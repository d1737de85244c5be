package ledger

import (
	"bufio"
	"encoding/binary"
	"hash/crc32"
	"io"

	"github.com/ipfs-liftoff/liftoff/internal/diskfs"
)

// builder writes a table: call add in key order, then finish.
type builder struct {
	w     *bufio.Writer
	at    int64
	page  []byte
	n     uint64 // number of entries in page
	first string // first key of page
	bytes int    // size of the values of page
	index []byte
}

func newBuilder(file diskfs.File) *builder {
	return &builder{w: bufio.NewWriterSize(io.NewOffsetWriter(file, 0), 256<<10)}
}

// add copies a record's value and its checksum unchanged, so damage stays detectable.
func (b *builder) add(key string, r record, value []byte) error {
	if b.n == 0 {
		b.first = key
	}
	b.n++
	op := byte(opSet)
	if r.deleted {
		op = opDelete
	}
	b.page = append(b.page, op)
	b.page = binary.AppendUvarint(b.page, uint64(len(key)))
	b.page = append(b.page, key...)
	if !r.deleted {
		b.page = binary.AppendUvarint(b.page, uint64(b.at))
		b.page = binary.AppendUvarint(b.page, uint64(len(value)))
		b.page = binary.BigEndian.AppendUint32(b.page, r.sum)
		if err := b.write(value); err != nil {
			return err
		}
		b.bytes += len(value)
	}
	if len(b.page) >= pageSize || b.bytes >= groupValues {
		return b.endPage()
	}
	return nil
}

func (b *builder) write(p []byte) error {
	n, err := b.w.Write(p)
	b.at += int64(n)
	return err
}

func (b *builder) endPage() error {
	if b.n == 0 {
		return nil
	}
	at := b.at
	body := append(binary.AppendUvarint(make([]byte, 4, 16+len(b.page)), b.n), b.page...)
	if err := b.writeSummed(body); err != nil {
		return err
	}
	b.index = binary.AppendUvarint(b.index, uint64(len(b.first)))
	b.index = append(b.index, b.first...)
	b.index = binary.AppendUvarint(b.index, uint64(at))
	b.index = binary.AppendUvarint(b.index, uint64(len(body)))
	b.page, b.n, b.bytes = b.page[:0], 0, 0
	return nil
}

// writeSummed fills in the checksum at the start of p and writes p.
func (b *builder) writeSummed(p []byte) error {
	binary.BigEndian.PutUint32(p, crc32.Checksum(p[4:], castagnoli))
	return b.write(p)
}

// finish writes the last page, the index and the tail.
func (b *builder) finish() error {
	err := b.endPage()
	at := b.at
	index := append(make([]byte, 4), b.index...)
	if err == nil {
		err = b.writeSummed(index)
	}
	tail := append([]byte(nil), tableMagic[:]...)
	tail = binary.BigEndian.AppendUint64(tail, uint64(at))
	tail = binary.BigEndian.AppendUint64(tail, uint64(len(index)))
	tail = binary.BigEndian.AppendUint32(tail, crc32.Checksum(tail, castagnoli))
	if err == nil {
		err = b.write(tail)
	}
	if err == nil {
		err = b.w.Flush()
	}
	return err
}
