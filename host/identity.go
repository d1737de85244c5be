// Package host is what makes a repo a peer. A repo has one Ed25519 key; it signs receipts
// and makes the libp2p peer id, so that who says something and who is spoken to are the
// same.
//
// Open starts the peer: a libp2p host on TCP and QUIC that knows no public network. It
// speaks to the members of its cluster, to whom its owner has listed, and to nobody else: the
// door says who is who, below every protocol. Peers greet each other, gossip hints of what
// they have, and find each other inside the cluster; docs/protocol.md is the specification.
//
// What a repo keeps of this are small files that people can read. They are used by the
// process that owns the repo.
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

// Identity is a repo's key.
type Identity struct {
	Key    ed25519.PrivateKey
	DID    job.DID // "did:key:z6Mk…"
	PeerID string  // of libp2p, "12D3KooW…"
}

// IdentityError says that the file of a key is not one.
type IdentityError struct {
	File string
	Why  string
}

func (e *IdentityError) Error() string {
	return fmt.Sprintf("the identity in %s is damaged: %s; put the right file back, or remove it to become somebody new", e.File, e.Why)
}

// The file is three lines: what it is, the did:key, and the key's seed in base64. The
// second follows from the third, so that a change of either is seen.
const (
	identityFile  = "identity"
	identityMagic = "liftoff identity 1"
	maxIdentity   = 1 << 10
)

// LoadIdentity returns the key of the repo in dir, made and kept durably if there is
// none. The error is an *IdentityError when the file is damaged: it is never replaced.
func LoadIdentity(dir string) (Identity, error) {
	path := filepath.Join(dir, identityFile)
	id, err := readIdentity(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return id, err
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return Identity{}, fmt.Errorf("make an identity: %w", err)
	}
	id = identityOf(key)
	content := fmt.Sprintf("%s\n%s\n%s\n", identityMagic, id.DID, base64.StdEncoding.EncodeToString(key.Seed()))
	if err := smallfile.Replace(path, []byte(content)); err != nil {
		return Identity{}, fmt.Errorf("keep the identity: %w", err)
	}
	return id, nil
}

func readIdentity(path string) (Identity, error) {
	b, err := smallfile.Read(path, maxIdentity)
	if err != nil {
		return Identity{}, fmt.Errorf("read the identity: %w", err)
	}
	bad := func(why string) (Identity, error) { return Identity{}, &IdentityError{path, why} }
	lines := strings.Split(string(b), "\n")
	if len(lines) != 4 || lines[0] != identityMagic || lines[3] != "" {
		return bad("it is not three lines that begin with " + identityMagic)
	}
	seed, err := base64.StdEncoding.Strict().DecodeString(lines[2])
	if err != nil || len(seed) != ed25519.SeedSize {
		return bad("it holds no key")
	}
	id := identityOf(ed25519.NewKeyFromSeed(seed))
	if string(id.DID) != lines[1] {
		return bad("its key is not that of the did:key in it")
	}
	return id, nil
}

func identityOf(key ed25519.PrivateKey) Identity {
	pub := key.Public().(ed25519.PublicKey)
	return Identity{Key: key, DID: job.DIDOf(pub), PeerID: PeerID(pub)}
}
