package crc32c

import (
	"encoding/binary"
	"hash/crc32"
	"math/bits"

	"github.com/klauspost/cpuid/v2"
)

var fast = cpuid.CPU.Supports(cpuid.AVX512F, cpuid.VPCLMULQDQ)

// width is the number of bytes that fold processes at once.
const width = 256

// fold replaces acc by a message with the same remainder, by the polynomial, as acc followed by the n times width
// bytes at p: bytes that come width bytes earlier count x^(8*width) times as much (Gopal and others, "Fast CRC
// Computation for Generic Polynomials Using PCLMULQDQ Instruction", 2009).
//
//go:noescape
func fold(acc *[width]byte, p *byte, n int, by *[2]uint64)

// by contains the factors of fold: one for the first eight bytes of each 16 and one for the second. The product of
// two numbers in reversed bit order is one bit short, hence the -1.
var by = [2]uint64{power(8*width + 64 - 1), power(8*width - 1)}

// power returns the remainder of x^n as 64 bits in reversed bit order.
func power(n int) uint64 {
	r := bits.Reverse32(1) // the first bit is the highest power
	for range n {
		carry := r & 1
		if r >>= 1; carry != 0 {
			r ^= crc32.Castagnoli
		}
	}
	return uint64(r) << 32
}

func update(sum uint32, p []byte) uint32 {
	acc := [width]byte(p)
	binary.LittleEndian.PutUint32(acc[:], binary.LittleEndian.Uint32(acc[:])^^sum)
	n := len(p)/width - 1
	if n > 0 {
		fold(&acc, &p[width], n, &by)
	}
	sum = crc32.Update(^uint32(0), table, acc[:]) // crc32.Update inverts the bits of a sum before and after
	return crc32.Update(sum, table, p[(n+1)*width:])
}
