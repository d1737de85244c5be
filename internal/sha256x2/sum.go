// Package sha256x2 hashes two messages of one length at once, where the processor has the SHA extensions: one
// message alone leaves half of them idle. Elsewhere it is the standard library, one after the other.
//
// One rule: the answer is crypto/sha256's.
package sha256x2

import "crypto/sha256"

// Sum returns the SHA-256 of a and of b.
func Sum(a, b []byte) (x, y [32]byte) {
	if !Fast || len(a) != len(b) {
		return sha256.Sum256(a), sha256.Sum256(b)
	}
	return sum(a, b)
}
