package segment

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"hash/crc32"

	"github.com/multiformats/go-multihash"
	"github.com/multiformats/go-varint"

	"github.com/ipfs-liftoff/liftoff/internal/crc32c"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
)

// A segment is a CARv1 without roots: a header, then a section for each block: the length of the rest as a uvarint, a
// CIDv1 with codec raw, the block's bytes. The block's real codec is not stored: it is in the CID that the caller
// asks for.
const carHeader = "\x11\xa2\x65roots\x80\x67version\x01"

// maxSection limits the size of a section, with its length prefix.
const maxSection = binary.MaxVarintLen64 + 2 + MaxKey + dag.MaxBlock

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sumOf is the CRC-32C of a block's multihash and bytes together, so that it also detects bytes stored under the
// wrong multihash.
func sumOf(mh multihash.Multihash, data []byte) uint32 {
	return crc32c.Update(crc32.Checksum(mh, castagnoli), data)
}

// appendHead appends a section's header: everything before the block's bytes.
func appendHead(b []byte, mh multihash.Multihash, size int) []byte {
	b = binary.AppendUvarint(b, uint64(2+len(mh)+size))
	b = append(b, 1, 0x55)
	return append(b, mh...)
}

// sha256Name is the length of a sha2-256 multihash.
const sha256Name = 34

// sectionLen is the length of a section with a multihash of name bytes and a block of size bytes.
func sectionLen(name, size int) int {
	n := 2 + name + size
	return varint.UvarintSize(uint64(n)) + n
}

// section is a parsed section.
type section struct {
	mh   multihash.Multihash
	data []byte
	head int // bytes before data
}

func (c section) len() int { return c.head + len(c.data) }

// parseSection parses the section at the start of b. need is its length. If b is too short for it, ok is false and
// need is not 0.
func parseSection(b []byte) (c section, need int, ok bool) {
	n, w := binary.Uvarint(b)
	if w <= 0 || n < 4 || n > maxSection || w > 1 && b[w-1] == 0 {
		return section{}, 0, false
	}
	if need = w + int(n); need > len(b) {
		return section{}, need, false
	}
	body := b[w:need]
	if body[0] != 1 || body[1] != 0x55 {
		return section{}, 0, false
	}
	k, mh, err := multihash.MHFromBytes(body[2:])
	if err != nil || k > MaxKey {
		return section{}, 0, false
	}
	return section{mh: mh, data: body[2+k:], head: w + 2 + k}, need, true
}

// key is a multihash in 33 bytes: the digest of a sha2-256 multihash, otherwise the SHA-256 of the multihash.
type key struct {
	digest [32]byte
	kind   uint8 // 0: sha2-256; else the multihash's length
}

const sha256Prefix = "\x12\x20"

func keyOf(mh multihash.Multihash) (k key) {
	if len(mh) == sha256Name && string(mh[:2]) == sha256Prefix {
		copy(k.digest[:], mh[2:])
		return k
	}
	return key{sha256.Sum256(mh), uint8(min(len(mh), 255))}
}

func (k key) compare(o key) int {
	if c := bytes.Compare(k.digest[:], o.digest[:]); c != 0 {
		return c
	}
	return int(k.kind) - int(o.kind)
}

// multihash returns the multihash of k if k contains it.
func (k key) multihash() (multihash.Multihash, bool) {
	if k.kind != 0 {
		return nil, false
	}
	return append([]byte(sha256Prefix), k.digest[:]...), true
}

// place is the location of a block.
type place struct {
	seg  uint32
	at   int64 // offset of its bytes
	size uint32
	sum  uint32
	gone bool // deleted
}

// bad returns p with a checksum that does not match: the bytes do not hash to their multihash.
func (p place) bad() place {
	p.sum = ^p.sum
	return p
}
