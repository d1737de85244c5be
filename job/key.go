package job

import (
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"

	"filippo.io/edwards25519"
)

// Reasons of CheckKey.
var (
	errNoPoint    = errors.New("not a point of the curve")
	errSpelling   = errors.New("not the canonical encoding of a point")
	errSmallOrder = errors.New("a point of small order: one signature would fit any message")
)

// CheckKey reports why pub is not a key that can name an issuer, a member or a peer. It is
// the one place that decides this: whatever decodes a public key calls it, most through
// DID.Key.
//
// A key is the canonical encoding of a point of Ed25519 (RFC 8032, 5.1.3) that is not one
// of the eight points whose order divides 8. With those, a signature that is made without
// a private key is valid for every message, or for one of eight.
//
// A point with a component of small order beside its large one is a key: to sign with it
// takes the discrete logarithm of the large component, and no signature is valid for two
// messages. Finding such points would cost a scalar multiplication for each key.
func CheckKey(pub ed25519.PublicKey) error {
	if len(pub) != ed25519.PublicKeySize {
		return fmt.Errorf("Ed25519 key: got %d bytes, want %d", len(pub), ed25519.PublicKeySize)
	}
	if err := checkPoint([32]byte(pub)); err != nil {
		return fmt.Errorf("Ed25519 key: %w", err)
	}
	return nil
}

func checkPoint(b [32]byte) error {
	if !isReduced(b) {
		return errSpelling
	}
	var p edwards25519.Point
	if _, err := p.SetBytes(b[:]); err != nil {
		return errNoPoint
	}
	// The points with x = 0, of which two encodings would differ in the sign of x alone, are
	// of small order: what is left has one encoding.
	if p.MultByCofactor(&p).Equal(edwards25519.NewIdentityPoint()) == 1 {
		return errSmallOrder
	}
	return nil
}

// isReduced reports whether the y coordinate in b, 255 bits in little endian below the
// sign of x, is smaller than p = 2^255 - 19.
func isReduced(b [32]byte) bool {
	return binary.LittleEndian.Uint64(b[24:])&(1<<63-1) != 1<<63-1 ||
		binary.LittleEndian.Uint64(b[16:]) != 1<<64-1 ||
		binary.LittleEndian.Uint64(b[8:]) != 1<<64-1 ||
		binary.LittleEndian.Uint64(b[:]) < 1<<64-19
}
