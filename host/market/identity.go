package market

import (
	"crypto/ed25519"
	"errors"
	"fmt"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/ipfs-liftoff/liftoff/job"
)

func peerOfKey(key ed25519.PublicKey) (peer.ID, error) {
	pub, err := crypto.UnmarshalEd25519PublicKey(key)
	if err != nil {
		return "", fmt.Errorf("peer id of a key: %w", err)
	}
	return peer.IDFromPublicKey(pub)
}

// DIDOf returns the DID of a peer, which must have an Ed25519 key.
func DIDOf(p peer.ID) (job.DID, error) {
	pub, err := p.ExtractPublicKey()
	if err != nil {
		return "", fmt.Errorf("peer %s: %w", p, err)
	}
	if pub.Type() != crypto.Ed25519 {
		return "", fmt.Errorf("peer %s: %w", p, errors.New("its key is not an Ed25519 key"))
	}
	raw, err := pub.Raw()
	if err != nil {
		return "", fmt.Errorf("peer %s: %w", p, err)
	}
	return job.DIDOf(ed25519.PublicKey(raw)), nil
}
