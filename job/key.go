package job

import (
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"

	"filippo.io/edwards25519"
)

// Errors of CheckKey.
var (
	errNoPoint    = errors.New("Ed25519 key is not a point on the curve")
	errSpelling   = errors.New("Ed25519 key is not the canonical encoding of a point")
	errSmallOrder = errors.New("Ed25519 key is a point of small order: one signature would be valid for any message")
)

// CheckKey returns an error if pub cannot be the key of an issuer, a member or a peer. It is the
// only place that decides this: all code that decodes a public key calls it, most through DID.Key.
//
// A key is the canonical encoding of a point of Ed25519 (RFC 8032, 5.1.3) that is not one of the
// eight points whose order divides 8. With those, a signature made without a private key is valid
// for every message, or for one in eight.
//
// A point with a component of small order in addition to its large one is accepted: to sign with it
// takes the discrete logarithm of the large component, and no signature is valid for two messages.
// Detecting such points would cost a scalar multiplication for each key.
func CheckKey(pub ed25519.PublicKey) error {
	if len(pub) != ed25519.PublicKeySize {
		return fmt.Errorf("Ed25519 key: got %d bytes, want %d", len(pub), ed25519.PublicKeySize)
	}
	return checkPoint([32]byte(pub))
}

func checkPoint(b [32]byte) error {
	if !isReduced(b) {
		return errSpelling
	}
	var p edwards25519.Point
	if _, err := p.SetBytes(b[:]); err != nil {
		return errNoPoint
	}
	// The points with x = 0, for which two encodings would differ only in the sign of x, are of
	// small order. So every remaining point has one encoding.
	if p.MultByCofactor(&p).Equal(edwards25519.NewIdentityPoint()) == 1 {
		return errSmallOrder
	}
	return nil
}

// isReduced reports whether the y coordinate in b, 255 bits in little endian below the sign of x,
// is smaller than p = 2^255 - 19.
func isReduced(b [32]byte) bool {
	return binary.LittleEndian.Uint64(b[24:])&(1<<63-1) != 1<<63-1 ||
		binary.LittleEndian.Uint64(b[16:]) != 1<<64-1 ||
		binary.LittleEndian.Uint64(b[8:]) != 1<<64-1 ||
		binary.LittleEndian.Uint64(b[:]) < 1<<64-19
}
