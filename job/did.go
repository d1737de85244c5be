package job

import (
	"crypto/ed25519"
	"fmt"
	"strings"

	"github.com/multiformats/go-multibase"
)

// DID is the did:key of an Ed25519 key: "did:key:z6Mk…". See
// https://w3c-ccg.github.io/did-key-spec/.
type DID string

const (
	didPrefix = "did:key:"
	maxDID    = 128
)

// ed25519Multicodec is the varint of ed25519-pub, 0xed.
const ed25519Multicodec = "\xed\x01"

// DIDOf returns the did:key of a public key.
func DIDOf(key ed25519.PublicKey) DID {
	s, err := multibase.Encode(multibase.Base58BTC, append([]byte(ed25519Multicodec), key...))
	if err != nil {
		panic(err) // base58btc is built in
	}
	return DID(didPrefix + s)
}

// Key returns the public key that d names. d must be the canonical encoding of the key, and the key
// must pass CheckKey.
func (d DID) Key() (ed25519.PublicKey, error) {
	pub, err := d.decode()
	if err != nil {
		return nil, err
	}
	if err := CheckKey(pub); err != nil {
		return nil, fmt.Errorf("%s: %w", d, err)
	}
	return pub, nil
}

// decode is Key without CheckKey.
func (d DID) decode() (ed25519.PublicKey, error) {
	s, ok := strings.CutPrefix(string(d), didPrefix)
	if !ok || len(d) > maxDID {
		return nil, fmt.Errorf("%.40q is not a did:key", string(d))
	}
	_, b, err := multibase.Decode(s)
	if err != nil {
		return nil, fmt.Errorf("%.40q is not a did:key: invalid encoding", string(d))
	}
	key, ok := strings.CutPrefix(string(b), ed25519Multicodec)
	if !ok || len(key) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("%s is not the did:key of an Ed25519 key", d)
	}
	pub := ed25519.PublicKey(key)
	if DIDOf(pub) != d {
		return nil, fmt.Errorf("%s is not the canonical form of this did:key", d)
	}
	return pub, nil
}
