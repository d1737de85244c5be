package segment

import "encoding/binary"

// filter is a blocked Bloom filter with blocks of 64 bytes: it excludes most keys that a table does not have without
// a disk access. With ten bits per key about one in a hundred absent keys passes. Digests are uniformly distributed,
// so their own bits serve as hashes. A nil filter passes every key.
type filter [][8]uint64

// maxFiltered is the largest number of keys for which a filter is made: 5 MiB.
const maxFiltered = 4 << 20

func newFilter(keys uint64) filter {
	if keys > maxFiltered {
		return nil
	}
	return make(filter, keys*10/512+1)
}

// locate returns the filter block of k and the digest bits that select its bit positions.
func (f filter) locate(k *key) (*[8]uint64, uint64) {
	block := uint64(binary.BigEndian.Uint32(k.digest[8:])) * uint64(len(f)) >> 32
	return &f[block], binary.BigEndian.Uint64(k.digest[16:])
}

// filterBits is how many bits a key sets; nine digest bits select each.
const filterBits = 6

func (f filter) add(k key) {
	if f == nil {
		return
	}
	block, at := f.locate(&k)
	for range filterBits {
		block[at>>6&7] |= 1 << (at & 63)
		at >>= 9
	}
}

// mayHave returns false only for a key that was not added.
func (f filter) mayHave(k key) bool {
	if f == nil {
		return true
	}
	block, at := f.locate(&k)
	for range filterBits {
		if block[at>>6&7]&(1<<(at&63)) == 0 {
			return false
		}
		at >>= 9
	}
	return true
}
