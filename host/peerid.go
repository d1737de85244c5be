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

// idPrefix is the prefix of the peer id of an Ed25519 key, whose 32 bytes follow it: an identity multihash of
// libp2p's protobuf PublicKey{Type: Ed25519, Data: key}. See
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

// DIDOf returns the did:key of a libp2p peer id. Only the canonical peer id of a key that job.CheckKey accepts has a
// DID: libp2p itself accepts other encodings, which would give one peer several ids.
func DIDOf(id peer.ID) (job.DID, error) {
	key, ok := strings.CutPrefix(string(id), idPrefix)
	if !ok || len(key) != ed25519.PublicKeySize {
		return "", fmt.Errorf("peer %s: not the id of an Ed25519 key", id)
	}
	if err := job.CheckKey(ed25519.PublicKey(key)); err != nil {
		return "", fmt.Errorf("key of peer %s: %w", id, err)
	}
	return job.DIDOf(ed25519.PublicKey(key)), nil
}

// ParsePeer parses the text form of a peer id. An Ed25519 key in it must have a DID. An id with a key of another
// type, or with a hash of one, is left to libp2p, which compares it with the key that the peer proves.
func ParsePeer(s string) (peer.ID, error) {
	id, err := peer.Decode(s)
	if err != nil {
		return "", err
	}
	return id, checkID(id)
}

// ParsePeerAddr parses a multiaddr that ends in a peer id, with the checks of ParsePeer.
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
		return nil // the id is a hash of the key
	}
	if err != nil {
		return fmt.Errorf("key of peer %s: %w", id, err)
	}
	if !id.MatchesPublicKey(key) {
		return fmt.Errorf("peer %s: not the canonical id of its key", id)
	}
	if strings.HasPrefix(string(id), idPrefix) {
		_, err = DIDOf(id)
	}
	return err
}
