package node_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	p2phost "github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	lpeer "github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/protocol/autonatv2"
	autonatpb "github.com/libp2p/go-libp2p/p2p/protocol/autonatv2/pb"
	"google.golang.org/protobuf/proto"

	"github.com/ipfs-liftoff/liftoff/host"
	"github.com/ipfs-liftoff/liftoff/host/cluster"
	"github.com/ipfs-liftoff/liftoff/host/exchange"
	"github.com/ipfs-liftoff/liftoff/host/market"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
)

// The protocol ids of the host.
const (
	handshakeProtocol protocol.ID = "/liftoff/handshake/1"
	joinProtocol      protocol.ID = "/liftoff/join/1"
	lookupProtocol    protocol.ID = "/liftoff/lookup/1"
)

// barePeer speaks the protocols on a plain libp2p host, without any of this project's checks. It records what it
// is asked.
type barePeer struct {
	h        p2phost.Host
	key      ed25519.PrivateKey
	did      job.DID
	blocks   *asked // its blocks, and the CIDs requested from it
	exchange *exchange.Exchange

	mu         sync.Mutex
	cluster    job.DID // the cluster it claims to belong to
	credential map[byte][]byte
	asks       []market.Request
	dialed     int // inbound connections
	joining    chan struct{}
}

// asked is a block set that records each requested CID.
type asked struct {
	dag.MemBlocks
	mu   sync.Mutex
	seen map[string]bool
}

func (a *asked) note(c cid.Cid) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.seen[string(c.Hash())] = true
}

func (a *asked) askedFor(c cid.Cid) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.seen[string(c.Hash())]
}

func (a *asked) Get(ctx context.Context, c cid.Cid) (dag.Block, error) {
	a.note(c)
	return a.MemBlocks.Get(ctx, c)
}

func (a *asked) Has(ctx context.Context, c cid.Cid) (bool, error) {
	a.note(c)
	return a.MemBlocks.Has(ctx, c)
}

// newBarePeer listens on loopback, and serves blocks and the market to every peer.
func newBarePeer(t *testing.T) *barePeer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := crypto.UnmarshalEd25519PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	h, err := libp2p.New(libp2p.Identity(secret), libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"), libp2p.DisableMetrics())
	if err != nil {
		t.Fatal(err)
	}
	b := &barePeer{
		h: h, key: key, did: job.DIDOf(key.Public().(ed25519.PublicKey)), blocks: &asked{seen: map[string]bool{}},
		joining: make(chan struct{}, 100), credential: map[byte][]byte{},
	}
	h.SetStreamHandler(handshakeProtocol, func(s network.Stream) { b.answerHandshake(s) })
	h.SetStreamHandler(joinProtocol, func(s network.Stream) { // never answers
		b.joining <- struct{}{}
		<-t.Context().Done()
		s.Reset()
	})
	h.Network().Notify(&network.NotifyBundle{ConnectedF: func(_ network.Network, c network.Conn) {
		b.mu.Lock()
		defer b.mu.Unlock()
		if c.Stat().Direction == network.DirInbound {
			b.dialed++
		}
	}})
	everything := func(lpeer.ID, host.Action) bool { return true }
	b.exchange, err = exchange.New(h, exchange.Config{
		Blocks: b.blocks, Access: exchange.NewAccess(exchange.AccessConfig{Blocks: b.blocks, Allows: everything}), Bitswap: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	server, err := market.Serve(h, b, quick)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		server.Close()
		b.exchange.Close()
		h.Close()
	})
	return b
}

func (b *barePeer) addrs() (all []string) {
	for _, a := range b.h.Addrs() {
		all = append(all, a.String())
	}
	return all
}

func (b *barePeer) has(t *testing.T, data string) cid.Cid {
	t.Helper()
	bl := dag.NewBlock(cid.Raw, []byte(data))
	if err := b.blocks.Put(t.Context(), bl); err != nil {
		t.Fatal(err)
	}
	return bl.CID()
}

// Admit, Ask, Award and Attach implement a provider that refuses every job.
func (b *barePeer) Admit(lpeer.ID) error { return nil }

func (b *barePeer) Ask(_ context.Context, _ lpeer.ID, r market.Request) job.Bid {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asks = append(b.asks, r)
	return job.Bid{Code: job.RefusePolicy, Refusal: "it only listens"}
}

func (b *barePeer) Award(context.Context, lpeer.ID, market.Request, market.Awarded) (*market.Run, time.Duration, error) {
	return nil, 0, &market.DeclinedError{Why: "it only listens"}
}

func (b *barePeer) Attach(context.Context, lpeer.ID, market.Attach) (*market.Run, error) {
	return nil, &market.FailedError{Code: "unknown", Why: "it only listens"}
}

// wasAsked returns the number of asks since the last call.
func (b *barePeer) wasAsked() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := len(b.asks)
	b.asks = nil
	return n
}

// frameOf encodes the items of a handshake frame, by kind.
func frameOf(items map[byte][]byte) []byte {
	var body []byte
	for _, kind := range []byte("vfmdgchsw") {
		if data, ok := items[kind]; ok {
			body = append(body, kind)
			body = binary.AppendUvarint(body, uint64(len(data)))
			body = append(body, data...)
		}
	}
	return append(binary.AppendUvarint(nil, uint64(len(body))), body...)
}

func readFrame(r *bufio.Reader) (map[byte][]byte, error) {
	n, err := binary.ReadUvarint(r)
	if err != nil {
		return nil, err
	}
	body := make([]byte, min(n, 1<<20))
	if _, err := io.ReadFull(r, body); err != nil {
		return nil, err
	}
	items := map[byte][]byte{}
	for rest := bufio.NewReader(bytes.NewReader(body)); ; {
		kind, err := rest.ReadByte()
		if err != nil {
			return items, nil
		}
		size, err := binary.ReadUvarint(rest)
		if err != nil {
			return nil, err
		}
		data := make([]byte, size)
		if _, err := io.ReadFull(rest, data); err != nil {
			return nil, err
		}
		items[kind] = data
	}
}

// hello is a handshake frame that claims a hundred slots.
func (b *barePeer) hello() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now().UnixMilli()
	capacity, err := job.Capacity{
		ABIs: []string{job.ABIWASI}, Arch: "amd64", Slots: 100, Memory: 1 << 40, Ceiling: job.DefaultLimits, Rate: 1e12, Seq: uint64(now), Issued: now,
	}.Sign(b.key)
	if err != nil {
		panic(err)
	}
	hint, err := job.Hint{Capacity: job.CIDOf(capacity), Seq: uint64(now), Slots: 100, Memory: job.Bucket(1 << 40)}.Encode()
	if err != nil {
		panic(err)
	}
	items := map[byte][]byte{'v': {1}, 'c': capacity, 'h': hint}
	if b.cluster != "" {
		items['f'] = []byte(b.cluster)
	}
	for kind, data := range b.credential {
		items[kind] = data
	}
	return frameOf(items)
}

// answerHandshake answers a handshake.
func (b *barePeer) answerHandshake(s network.Stream) {
	defer s.Close()
	r := bufio.NewReader(s)
	if _, err := readFrame(r); err != nil {
		return
	}
	s.Write(b.hello())
	if _, err := readFrame(r); err == nil {
		s.Write(frameOf(nil))
	}
}

// connect dials to and does the handshake; the error is the refusal.
func (b *barePeer) connect(ctx context.Context, to lpeer.AddrInfo) error {
	if err := b.h.Connect(ctx, to); err != nil {
		return err
	}
	s, err := b.h.NewStream(ctx, to.ID, handshakeProtocol)
	if err != nil {
		return err
	}
	defer s.Close()
	s.SetDeadline(time.Now().Add(20 * time.Second))
	r := bufio.NewReader(s)
	if _, err := s.Write(b.hello()); err != nil {
		return err
	}
	items, err := readFrame(r)
	if err != nil {
		return err
	}
	if why, ok := items['x']; ok {
		return fmt.Errorf("refused: %s", why)
	}
	if _, err := s.Write(frameOf(nil)); err != nil {
		return err
	}
	_, err = readFrame(r)
	return err
}

// join redeems a token and connects as a member.
func (b *barePeer) join(ctx context.Context, to lpeer.AddrInfo, line string) error {
	token, err := cluster.ParseToken(line)
	if err != nil {
		return err
	}
	if err := b.h.Connect(ctx, to); err != nil {
		return err
	}
	items, err := b.say(ctx, to.ID, joinProtocol, map[byte][]byte{'s': token.Secret[:]})
	if err != nil {
		return err
	}
	b.mu.Lock()
	b.cluster = token.Cluster
	for _, kind := range []byte("md") {
		b.credential[kind] = items[kind]
	}
	b.mu.Unlock()
	return b.connect(ctx, to)
}

// say opens a stream, sends one frame and returns the one that comes back.
func (b *barePeer) say(ctx context.Context, to lpeer.ID, proto protocol.ID, items map[byte][]byte) (map[byte][]byte, error) {
	s, err := b.h.NewStream(network.WithNoDial(ctx, "must be connected"), to, proto)
	if err != nil {
		return nil, err
	}
	defer s.Reset()
	s.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := s.Write(frameOf(items)); err != nil {
		return nil, err
	}
	return readFrame(bufio.NewReader(s))
}

// asksFor asks a node for a bid; a refusal is an error, too.
func (b *barePeer) asksFor(ctx context.Context, to lpeer.ID, tk job.Task, limits job.Limits) (*market.Conversation, job.Order, error) {
	body, err := tk.Encode()
	if err != nil {
		return nil, job.Order{}, err
	}
	now := time.Now().UnixMilli()
	j := job.Order{Task: job.CIDOf(body), Runs: 1, Limits: limits, Issued: now, Expires: now + 1e5}
	envelope, err := j.Sign(b.key)
	if err != nil {
		return nil, j, err
	}
	conv, bid, err := market.NewClient(b.h, quick).Ask(network.WithNoDial(ctx, "must be connected"), to, market.Ask{
		Order: envelope, Task: body, Engine: job.ABIWASI, Window: time.Second,
	})
	if err == nil && bid.Refuses() {
		err = fmt.Errorf("refused (%s): %s", bid.Code, bid.Refusal)
	}
	return conv, j, err
}

// testsReach reports whether a node answers a request to dial addresses of this peer.
func (b *barePeer) testsReach(ctx context.Context, to lpeer.ID) bool {
	s, err := b.h.NewStream(network.WithNoDial(ctx, "must be connected"), to, autonatv2.DialProtocol)
	if err != nil {
		return false
	}
	defer s.Reset()
	s.SetDeadline(time.Now().Add(20 * time.Second))
	request, err := proto.Marshal(&autonatpb.Message{Msg: &autonatpb.Message_DialRequest{DialRequest: &autonatpb.DialRequest{Nonce: 1}}})
	if err != nil {
		panic(err)
	}
	s.Write(append(binary.AppendUvarint(nil, uint64(len(request))), request...))
	n, _ := s.Read(make([]byte, 100))
	return n > 0
}

// gets asks a node for a block.
func (b *barePeer) gets(ctx context.Context, from lpeer.ID, c cid.Cid) (dag.Block, error) {
	s := b.exchange.Session(exchange.SessionConfig{Local: new(dag.MemBlocks), Sources: []lpeer.AddrInfo{{ID: from}}})
	defer s.Close()
	return s.Get(ctx, c)
}

// infoOf returns the address of a node.
func infoOf(t *testing.T, m *serving) lpeer.AddrInfo {
	t.Helper()
	self, err := m.Peers.Self(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	info, err := lpeer.AddrInfoFromString(strings.TrimSuffix(self.Addrs[0], "/") + "/p2p/" + self.PeerID)
	if err != nil {
		t.Fatal(err)
	}
	return *info
}
