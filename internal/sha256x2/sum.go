// Package sha256x2 hashes two messages of equal length at once on processors with the SHA extensions: one message
// alone leaves half of their throughput unused. On other processors it calls the standard library twice.
//
// One rule: the result equals that of crypto/sha256.
package sha256x2

import "crypto/sha256"

// Sum returns the SHA-256 digests of a and b.
func Sum(a, b []byte) (x, y [32]byte) {
	if !Fast || len(a) != len(b) {
		return sha256.Sum256(a), sha256.Sum256(b)
	}
	return sum(a, b)
}
