// Package crc32c is hash/crc32 with Castagnoli's polynomial, and faster where the processor multiplies without carry in
// registers of 64 bytes: a block's checksum then costs little beside reading it.
//
// One rule: the answer is hash/crc32's.
package crc32c

import "hash/crc32"

var table = crc32.MakeTable(crc32.Castagnoli)

// Checksum returns the CRC-32C of p.
func Checksum(p []byte) uint32 { return Update(0, p) }

// Update returns the CRC-32C of what has sum and p together.
func Update(sum uint32, p []byte) uint32 {
	if fast && len(p) >= worthFolding {
		return update(sum, p)
	}
	return crc32.Update(sum, table, p)
}

// worthFolding is the length in bytes from which folding is faster.
const worthFolding = 16 << 10
