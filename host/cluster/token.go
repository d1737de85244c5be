package cluster

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/ipfs-liftoff/liftoff/job"
)

// Token is a join token: the peer to dial, its cluster, and the secret of an invitation. Any holder of a token can
// redeem it.
type Token struct {
	Cluster job.DID
	Peer    job.DID // the issuer, which alone can redeem it
	Secret  [16]byte
	Addrs   []string // multiaddrs of Peer, without its peer id; at least one
}

const (
	tokenMagic    = "liftoff-join-1"
	maxToken      = 2 << 10
	maxTokenAddrs = 8
	didPrefix     = "did:key:"
)

// String returns t as one line without spaces, its parts joined by dots: the magic, the two keys as in their
// did:keys, the secret in base64url, a checksum, and the addresses, joined by commas.
func (t Token) String() string {
	addrs := strings.Join(t.Addrs, ",")
	head := strings.Join([]string{
		tokenMagic, strings.TrimPrefix(string(t.Cluster), didPrefix), strings.TrimPrefix(string(t.Peer), didPrefix),
		base64.RawURLEncoding.EncodeToString(t.Secret[:]),
	}, ".")
	return head + "." + checkOf(head, addrs) + "." + addrs
}

// checkOf returns a checksum that detects a token that was not copied completely.
func checkOf(head, addrs string) string {
	h := sha256.Sum256([]byte(head + "." + addrs))
	return hex.EncodeToString(h[:3])
}

// ParseToken parses the output of String. The error never quotes the secret.
func ParseToken(s string) (Token, error) {
	bad := func(why string) (Token, error) { return Token{}, errors.New(why) }
	if len(s) > maxToken {
		return bad(fmt.Sprintf("join token: got %d bytes, want at most %d", len(s), maxToken))
	}
	parts := strings.SplitN(strings.TrimSpace(s), ".", 6)
	if parts[0] != tokenMagic || len(parts) != 6 {
		return bad("join token: want a line like " + tokenMagic + ".…: copy the whole line")
	}
	if parts[4] != checkOf(strings.Join(parts[:4], "."), parts[5]) {
		return bad("join token: wrong checksum: copy the whole line")
	}
	t := Token{Cluster: didPrefix + job.DID(parts[1]), Peer: didPrefix + job.DID(parts[2])}
	for _, d := range []job.DID{t.Cluster, t.Peer} {
		if _, err := d.Key(); err != nil {
			return Token{}, fmt.Errorf("join token: %w", err)
		}
	}
	secret, err := base64.RawURLEncoding.Strict().DecodeString(parts[3])
	if err != nil || len(secret) != len(t.Secret) {
		return bad("join token: invalid secret")
	}
	copy(t.Secret[:], secret)
	t.Addrs = strings.Split(parts[5], ",")
	if len(t.Addrs) > maxTokenAddrs {
		return bad(fmt.Sprintf("join token: got %d addresses, want at most %d", len(t.Addrs), maxTokenAddrs))
	}
	for _, a := range t.Addrs {
		if !strings.HasPrefix(a, "/") || strings.ContainsAny(a, " \t\r\n") {
			return bad(fmt.Sprintf("join token: %.40q is not a multiaddr", a))
		}
	}
	return t, nil
}

func newSecret() (s [16]byte, err error) {
	_, err = rand.Read(s[:])
	return s, err
}

// hashOf returns the form in which the issuer stores a secret.
func hashOf(secret [16]byte) string {
	h := sha256.Sum256(secret[:])
	return hex.EncodeToString(h[:])
}

// ErrNoCluster reports that the repo belongs to no cluster.
var ErrNoCluster = errors.New("this repo is not a member of a cluster")
