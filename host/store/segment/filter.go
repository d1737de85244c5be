package segment

import "encoding/binary"

// filter tells most keys that a table does not have, without a look at the disk: a Bloom filter in blocks of 64 bytes,
// one of which a key belongs to. Ten bits for each key let about one absent key in a hundred through. Digests are as good
// as random, so their own bits say where. A nil filter lets all through.
type filter [][8]uint64

// maxFiltered is how many keys a table may have for a filter to be made: 5 MiB.
const maxFiltered = 4 << 20

func newFilter(keys uint64) filter {
	if keys > maxFiltered {
		return nil
	}
	return make(filter, keys*10/512+1)
}

// spot returns the block of k, and the bits from which its places in that are taken.
func (f filter) spot(k *key) (*[8]uint64, uint64) {
	block := uint64(binary.BigEndian.Uint32(k.digest[8:])) * uint64(len(f)) >> 32
	return &f[block], binary.BigEndian.Uint64(k.digest[16:])
}

// filterBits is how many bits a key sets: nine bits say where each is.
const filterBits = 6

func (f filter) add(k key) {
	if f == nil {
		return
	}
	block, at := f.spot(&k)
	for range filterBits {
		block[at>>6&7] |= 1 << (at & 63)
		at >>= 9
	}
}

// mayHave is false for a key that was not added.
func (f filter) mayHave(k key) bool {
	if f == nil {
		return true
	}
	block, at := f.spot(&k)
	for range filterBits {
		if block[at>>6&7]&(1<<(at&63)) == 0 {
			return false
		}
		at >>= 9
	}
	return true
}
