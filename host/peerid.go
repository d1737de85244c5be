package host

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multibase"

	"github.com/ipfs-liftoff/liftoff/job"
)

// idPrefix begins the peer id of an Ed25519 key, whose 32 bytes follow it: an identity
// multihash of libp2p's protobuf PublicKey{Type: Ed25519, Data: key}. See
// https://github.com/libp2p/specs/blob/master/peer-ids/peer-ids.md.
const idPrefix = "\x00\x24\x08\x01\x12\x20"

// PeerID returns the libp2p peer id of a key, in base58.
func PeerID(key ed25519.PublicKey) string {
	s, err := multibase.Encode(multibase.Base58BTC, append([]byte(idPrefix), key...))
	if err != nil {
		panic(err) // base58btc is built in
	}
	return s[1:] // without the multibase prefix
}

// IDOf returns the libp2p peer id of a did:key.
func IDOf(d job.DID) (peer.ID, error) {
	pub, err := d.Key()
	if err != nil {
		return "", err
	}
	return peer.ID(idPrefix + string(pub)), nil
}

// DIDOf returns the did:key of a libp2p peer id. Only the one spelling of the id of a key
// that job.CheckKey takes has a DID: libp2p itself reads others, under which a peer would
// have several ids.
func DIDOf(id peer.ID) (job.DID, error) {
	key, ok := strings.CutPrefix(string(id), idPrefix)
	if !ok || len(key) != ed25519.PublicKeySize {
		return "", fmt.Errorf("peer %s: not the id of an Ed25519 key", id)
	}
	if err := job.CheckKey(ed25519.PublicKey(key)); err != nil {
		return "", fmt.Errorf("peer %s: %w", id, err)
	}
	return job.DIDOf(ed25519.PublicKey(key)), nil
}

// ParsePeer reads a peer id as people write it. An Ed25519 key in it must be one that has a
// DID; an id that holds or hashes a key of another type is left to libp2p, which compares it
// with the key that a peer proves.
func ParsePeer(s string) (peer.ID, error) {
	id, err := peer.Decode(s)
	if err != nil {
		return "", err
	}
	return id, checkID(id)
}

// ParsePeerAddr reads a multiaddr that ends in a peer id, which it reads as ParsePeer does.
func ParsePeerAddr(s string) (*peer.AddrInfo, error) {
	info, err := peer.AddrInfoFromString(s)
	if err != nil {
		return nil, err
	}
	return info, checkID(info.ID)
}

func checkID(id peer.ID) error {
	key, err := id.ExtractPublicKey()
	if errors.Is(err, peer.ErrNoPublicKey) {
		return nil // a hash of it
	}
	if err != nil {
		return fmt.Errorf("peer %s: %w", id, err)
	}
	if !id.MatchesPublicKey(key) {
		return fmt.Errorf("peer %s: not the canonical id of its key", id)
	}
	if strings.HasPrefix(string(id), idPrefix) {
		_, err = DIDOf(id)
	}
	return err
}
