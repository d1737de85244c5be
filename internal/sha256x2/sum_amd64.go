package sha256x2

import (
	"encoding/binary"

	"github.com/klauspost/cpuid/v2"
)

// Fast reports whether hashing two messages at once is faster than one after the other.
var Fast = cpuid.CPU.Supports(cpuid.SHA, cpuid.SSSE3, cpuid.SSE4)

// blocks hashes n blocks of 64 bytes of each message.
//
//go:noescape
func blocks(a, b *[8]uint32, p, q *byte, n int)

var start = [8]uint32{
	0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
}

func sum(a, b []byte) (x, y [32]byte) {
	s, t := start, start
	whole := len(a) / 64
	if whole > 0 {
		blocks(&s, &t, &a[0], &b[0], whole)
	}
	var p, q [128]byte
	n := pad(&p, a)
	pad(&q, b)
	blocks(&s, &t, &p[0], &q[0], n)
	for i := range s {
		binary.BigEndian.PutUint32(x[4*i:], s[i])
		binary.BigEndian.PutUint32(y[4*i:], t[i])
	}
	return x, y
}

// pad fills p with the last, padded blocks of a message, and returns their number.
func pad(p *[128]byte, message []byte) int {
	n := copy(p[:], message[len(message)/64*64:])
	p[n] = 0x80
	last := 1
	if n >= 56 {
		last = 2
	}
	binary.BigEndian.PutUint64(p[64*last-8:], uint64(len(message))<<3)
	return last
}
