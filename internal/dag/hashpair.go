package dag

import (
	"bytes"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"github.com/ipfs-liftoff/liftoff/internal/sha256x2"
)

// newBlockPair is NewBlock for two blocks.
func newBlockPair(codec uint64, a, b []byte) (Block, Block) {
	x, y := sha256x2.Sum(a, b)
	return Block{cid.NewCidV1(codec, encodeMultihash(hashSHA256, x[:])), a},
		Block{cid.NewCidV1(codec, encodeMultihash(hashSHA256, y[:])), b}
}

// checkPair is CheckBlock for two blocks. ok is false if they cannot be hashed as a pair, or if one does not match:
// then check each by itself.
func checkPair(c, d cid.Cid, a, b []byte) (x, y Block, ok bool) {
	if !sha256x2.Fast || len(a) != len(b) || len(a) > MaxBlock || !isSHA256(c) || !isSHA256(d) {
		return Block{}, Block{}, false
	}
	s, t := sha256x2.Sum(a, b)
	if !bytes.Equal(c.Hash()[2:], s[:]) || !bytes.Equal(d.Hash()[2:], t[:]) {
		return Block{}, Block{}, false
	}
	return Block{c, a}, Block{d, b}, true
}

// isSHA256 reports whether c has a full sha2-256 digest.
func isSHA256(c cid.Cid) bool {
	if !c.Defined() {
		return false
	}
	h := c.Hash()
	return len(h) == 34 && h[0] == multihash.SHA2_256 && h[1] == 32
}
