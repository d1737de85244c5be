package host

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/crypto/pb"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/multiformats/go-multihash"

	"github.com/ipfs-liftoff/liftoff/job"
)

// noKeys returns the invalid key encodings of job/testdata/keys.txt.
func noKeys(t *testing.T) []ed25519.PublicKey {
	t.Helper()
	b, err := os.ReadFile("../job/testdata/keys.txt")
	if err != nil {
		t.Fatal(err)
	}
	var keys []ed25519.PublicKey
	for line := range strings.Lines(string(b)) {
		kind, text, _ := strings.Cut(strings.TrimSpace(line), " ")
		if kind == "#" || kind == "key" {
			continue
		}
		key, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	if len(keys) < 50 {
		t.Fatalf("got %d encodings in testdata, want more", len(keys))
	}
	return keys
}

// identityKey is the encoding of the neutral element.
var identityKey = ed25519.PublicKey(append([]byte{1}, make([]byte, 31)...))

// constant is a crypto.PrivKey without a private key: its one signature, R the neutral element and S zero, is valid for
// any message under the public key identityKey.
type constant struct{ pub crypto.PubKey }

func newConstant(t *testing.T) (constant, peer.ID) {
	t.Helper()
	pub, err := crypto.UnmarshalEd25519PublicKey(identityKey)
	if err != nil {
		t.Fatal(err)
	}
	id, err := peer.IDFromPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	return constant{pub}, id
}

func (c constant) Equals(o crypto.Key) bool    { return c == o }
func (c constant) Raw() ([]byte, error)        { return make([]byte, ed25519.PrivateKeySize), nil }
func (c constant) Type() pb.KeyType            { return pb.KeyType_Ed25519 }
func (c constant) GetPublic() crypto.PubKey    { return c.pub }
func (c constant) Sign([]byte) ([]byte, error) { return append([]byte{1}, make([]byte, 63)...), nil }

// TestConstantSignature connects a libp2p host without a private key: libp2p accepts it, with each of its security
// protocols, and a peer that is open to all refuses it.
func TestConstantSignature(t *testing.T) {
	t.Parallel()
	key, id := newConstant(t)
	stock, err := libp2p.New(libp2p.ListenAddrStrings(loopback...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stock.Close() })
	p := newPeer(t, func(cfg *Config) { cfg.Policy = Policy{Open: true} })
	for name, c := range map[string]struct {
		transport string
		security  libp2p.Option
	}{
		"noise": {"/tcp/", libp2p.Security(noise.ID, noise.New)},
		"tls":   {"/tcp/", libp2p.Security(libp2ptls.ID, libp2ptls.New)},
		"quic":  {"/quic-v1", libp2p.DefaultSecurity},
	} {
		t.Run(name, func(t *testing.T) {
			h, err := libp2p.New(libp2p.Identity(key), libp2p.NoListenAddrs, c.security)
			if err != nil {
				t.Fatal(err)
			}
			defer h.Close()
			over := func(addrs []ma.Multiaddr) (some []ma.Multiaddr) {
				for _, a := range addrs {
					if strings.Contains(a.String(), c.transport) {
						some = append(some, a)
					}
				}
				return some
			}
			if err := h.Connect(limited(t), peer.AddrInfo{ID: stock.ID(), Addrs: over(stock.Addrs())}); err != nil {
				t.Fatalf("libp2p refused the key: %v", err)
			}
			err = h.Connect(limited(t), peer.AddrInfo{ID: p.id, Addrs: over(p.raw.Addrs())})
			if err == nil { // over QUIC the error comes later
				_, err = h.NewStream(limited(t), p.id, handshakeProtocol)
			}
			if err == nil {
				t.Error("a peer without a private key opened a stream")
			}
		})
	}
	if p.connected(id) || p.gater.peer(id) != nil || p.Relation(id) != Unknown {
		t.Errorf("connected, or got relation %q", p.Relation(id))
	}
}

// TestKeysOfPeers passes each invalid key encoding to every function that decodes a peer id.
func TestKeysOfPeers(t *testing.T) {
	t.Parallel()
	p := newPeer(t, func(cfg *Config) { cfg.Policy = Policy{Open: true} })
	for _, key := range noKeys(t) {
		text := PeerID(key)
		id, err := peer.Decode(text)
		if err != nil {
			t.Fatal(err)
		}
		if did, err := DIDOf(id); err == nil {
			t.Errorf("%s: got DID %s", id, did)
		}
		if _, err := IDOf(job.DIDOf(key)); err == nil {
			t.Errorf("%s: got a peer id", job.DIDOf(key))
		}
		if _, err := ParsePeer(text); err == nil {
			t.Errorf("%s: accepted as a peer id", text)
		}
		addr := "/ip4/127.0.0.1/tcp/4017/p2p/" + text
		if _, err := ParsePeerAddr(addr); err == nil {
			t.Errorf("%s: accepted as a peer address", addr)
		}
		if _, err := p.Connect(limited(t), addr); err == nil || p.gater.providers[id] {
			t.Errorf("connect to %s: %v", addr, err)
		}
		for _, policy := range []Policy{{AllowPeers: []string{text}}, {AllowDIDs: []job.DID{job.DIDOf(key)}}} {
			if err := p.SetPolicy(policy); err == nil {
				t.Errorf("%+v: accepted", policy)
			}
		}
		for _, dir := range []network.Direction{network.DirInbound, network.DirOutbound} {
			if p.gater.InterceptSecured(dir, id, nil) {
				t.Errorf("%s: connection accepted, direction %v", id, dir)
			}
		}
		if p.gater.addCandidate(id); p.gater.InterceptPeerDial(id) {
			t.Errorf("%s: may be dialed", id)
		}
		p.gater.removeCandidate(id)
		if r := p.Relation(id); r != Unknown {
			t.Errorf("%s: got relation %q", id, r)
		}
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, addressFile), []byte(`[{"peer":"`+text+`","addrs":[],"seen":"2030-01-01T00:00:00Z"}]`), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := openAddressBook(dir); err == nil {
			t.Errorf("%s: accepted in the address book", text)
		}
	}
}

// TestKeysOfOtherTypes checks peers with keys of other types. If their ids are listed they may connect, and fetch
// published blocks: they have no DID. Unlisted ones are refused.
func TestKeysOfOtherTypes(t *testing.T) {
	t.Parallel()
	p := newPeer(t, func(cfg *Config) { cfg.Policy = Policy{Open: true} })
	for name, kind := range map[string]int{"RSA": crypto.RSA, "secp256k1": crypto.Secp256k1, "ECDSA": crypto.ECDSA} {
		_, pub, err := crypto.GenerateKeyPairWithReader(kind, 2048, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		id, err := peer.IDFromPublicKey(pub)
		if err != nil {
			t.Fatal(err)
		}
		if did, err := DIDOf(id); err == nil {
			t.Errorf("%s: %s: got DID %s", name, id, did)
		}
		if _, err := p.Connect(limited(t), "/ip4/127.0.0.1/tcp/4017/p2p/"+id.String()); err == nil || p.Relation(id) != Unknown {
			t.Errorf("%s: connect: %v, %q", name, err, p.Relation(id))
		}
		if p.gater.InterceptSecured(network.DirInbound, id, nil) {
			t.Errorf("%s: connection accepted", name)
		}
		if err := p.SetPolicy(Policy{Open: true, AllowPeers: []string{id.String()}}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if r := p.Relation(id); r != Content || !p.gater.InterceptSecured(network.DirInbound, id, nil) {
			t.Errorf("%s: listed peer: refused, or got relation %q", name, r)
		}
	}
}

// TestPeerIDHasOneSpelling encodes the id of a member in other ways that libp2p accepts. If each were the member, its
// messages could use as many ids as it likes, each with a row of the table and a share of the rates.
func TestPeerIDHasOneSpelling(t *testing.T) {
	t.Parallel()
	admin := newCluster(t, 1, nil)[0]
	pub := admin.cfg.Identity.Key.Public().(ed25519.PublicKey)
	typed, data := []byte{0x08, 0x01}, append([]byte{0x12, ed25519.PublicKeySize}, pub...)
	for name, b := range map[string][]byte{
		"order":     append(bytes.Clone(data), typed...),
		"unknown":   append(append(bytes.Clone(typed), data...), 0x18, 0x01),
		"long":      append([]byte{0x08, 0x81, 0x00}, data...),
		"twice":     append(append(bytes.Clone(typed), typed...), data...),
		"canonical": append(bytes.Clone(typed), data...),
	} {
		h, err := multihash.Sum(b, multihash.IDENTITY, -1)
		if err != nil {
			t.Fatal(err)
		}
		id, err := peer.IDFromBytes(h)
		if err != nil {
			t.Fatal(err)
		}
		if key, err := id.ExtractPublicKey(); err != nil || key.Type() != crypto.Ed25519 {
			t.Fatalf("%s: libp2p refused the id: %v", name, err)
		}
		_, err = DIDOf(id)
		if good := name == "canonical"; (err == nil) != good || (admin.Relation(id) == Owner) != good || !good && admin.Relation(id) != Unknown {
			t.Errorf("%s: %q, %v", name, admin.Relation(id), err)
		}
		if _, err := ParsePeer(id.String()); (err == nil) != (name == "canonical") {
			t.Errorf("%s: parse: %v", name, err)
		}
	}
}
