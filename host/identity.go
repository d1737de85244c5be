// Package host runs a repo as a libp2p peer. A repo has one Ed25519 key. It signs receipts and gives the libp2p peer
// id, so the author of a statement and the peer on a connection have the same identity.
//
// Open starts the peer: a libp2p host on TCP and QUIC that joins no public network. It talks to the members of its
// cluster and to the peers that its owner has listed, and to no other peer: the connection gater decides that below
// every protocol. Peers do a handshake, gossip hints of their free capacity, and find each other inside the cluster;
// docs/protocol.md is the specification.
//
// The state of a peer in the repo is a few small text files. Only the process that owns the repo uses them.
package host

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/ipfs-liftoff/liftoff/host/smallfile"
	"github.com/ipfs-liftoff/liftoff/job"
)

// Identity is the key of a repo.
type Identity struct {
	Key    ed25519.PrivateKey
	DID    job.DID // "did:key:z6Mk…"
	PeerID string  // the libp2p peer id, "12D3KooW…"
}

// IdentityError reports a damaged identity file.
type IdentityError struct {
	File string
	Why  string
}

func (e *IdentityError) Error() string {
	return fmt.Sprintf("identity file %s is damaged: %s; restore it from a backup, or delete it to get a new identity", e.File, e.Why)
}

// The file is three lines: a header, the did:key, and the key's seed in base64. The second line is derived from the
// third, so a change of either is detected.
const (
	identityFile  = "identity"
	identityMagic = "liftoff identity 1"
	maxIdentity   = 1 << 10
)

// LoadIdentity returns the key of the repo in dir. It creates the key, durably, unless the file exists. The error is an
// *IdentityError when the file is damaged: a damaged file is never replaced.
func LoadIdentity(dir string) (Identity, error) {
	path := filepath.Join(dir, identityFile)
	id, err := readIdentity(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return id, err
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return Identity{}, fmt.Errorf("create identity: %w", err)
	}
	id = identityOf(key)
	content := fmt.Sprintf("%s\n%s\n%s\n", identityMagic, id.DID, base64.StdEncoding.EncodeToString(key.Seed()))
	if err := smallfile.Replace(path, []byte(content)); err != nil {
		return Identity{}, fmt.Errorf("write identity: %w", err)
	}
	return id, nil
}

func readIdentity(path string) (Identity, error) {
	b, err := smallfile.Read(path, maxIdentity)
	if err != nil {
		return Identity{}, fmt.Errorf("read identity: %w", err)
	}
	bad := func(why string) (Identity, error) { return Identity{}, &IdentityError{path, why} }
	lines := strings.Split(string(b), "\n")
	if len(lines) != 4 || lines[0] != identityMagic || lines[3] != "" {
		return bad("want three lines, the first one " + identityMagic)
	}
	seed, err := base64.StdEncoding.Strict().DecodeString(lines[2])
	if err != nil || len(seed) != ed25519.SeedSize {
		return bad("invalid private key")
	}
	id := identityOf(ed25519.NewKeyFromSeed(seed))
	if string(id.DID) != lines[1] {
		return bad("private key and did:key do not match")
	}
	return id, nil
}

func identityOf(key ed25519.PrivateKey) Identity {
	pub := key.Public().(ed25519.PublicKey)
	return Identity{Key: key, DID: job.DIDOf(pub), PeerID: PeerID(pub)}
}
