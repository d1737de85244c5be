// Package crc32c is hash/crc32 with the Castagnoli polynomial, but faster on processors with carry-less
// multiplication in 64-byte registers: there a block's checksum costs little compared with reading it.
//
// One rule: the result equals that of hash/crc32.
package crc32c

import "hash/crc32"

var table = crc32.MakeTable(crc32.Castagnoli)

// Checksum returns the CRC-32C of p.
func Checksum(p []byte) uint32 { return Update(0, p) }

// Update returns the CRC-32C of the concatenation of p and the data with checksum sum before it.
func Update(sum uint32, p []byte) uint32 {
	if fast && len(p) >= worthFolding {
		return update(sum, p)
	}
	return crc32.Update(sum, table, p)
}

// worthFolding is the length in bytes above which folding is faster.
const worthFolding = 16 << 10
