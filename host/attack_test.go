package host

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/core/record"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/ipfs-liftoff/liftoff/job"
)

// dialRaw connects from to p without a handshake.
func dialRaw(t *testing.T, from, p *Peer) {
	t.Helper()
	from.mu.Lock()
	from.joining[p.id]++
	from.mu.Unlock()
	from.gater.addProvider(p.id)
	if err := from.raw.Connect(limited(t), peer.AddrInfo{ID: p.id, Addrs: p.raw.Addrs()}); err != nil {
		t.Fatal(err)
	}
}

// say opens a stream, writes b and returns the data that arrives until it ends.
func say(t *testing.T, from, p *Peer, proto protocol.ID, b []byte) ([]byte, error) {
	t.Helper()
	s, err := from.raw.NewStream(limited(t), p.id, proto)
	if err != nil {
		return nil, err
	}
	defer s.Reset()
	s.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := s.Write(b); err != nil {
		return nil, err
	}
	s.CloseWrite()
	return io.ReadAll(io.LimitReader(s, 1<<20))
}

func frame(items ...item) []byte {
	var b bytes.Buffer
	if err := writeFrame(&b, items); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// TestBadHandshakes sends invalid handshakes as an unknown peer: none gives it a right, and none harms the node.
func TestBadHandshakes(t *testing.T) {
	t.Parallel()
	peers := newCluster(t, 2, nil)
	admin, member := peers[0], peers[1]
	c := member.cluster.Own()
	garbage := make([]byte, 1000)
	rand.Read(garbage)
	clusterItem := item{itemCluster, []byte(admin.cluster.ID())}
	for name, b := range map[string][]byte{
		"nothing":                     nil,
		"garbage":                     garbage,
		"a huge frame":                binary.AppendUvarint(nil, 1<<62),
		"a frame over the size":       append(binary.AppendUvarint(nil, maxUnknownFrame+1), make([]byte, maxUnknownFrame+1)...),
		"a frame cut short":           binary.AppendUvarint(nil, 100),
		"an item cut short":           {2, itemCluster, 100},
		"too many items":              append(binary.AppendUvarint(nil, 2*(maxItems+1)), bytes.Repeat([]byte{'?', 0}, maxItems+1)...),
		"no credential":               frame(clusterItem),
		"another member's credential": frame(clusterItem, item{itemMembership, c.Membership}, item{itemDelegation, c.Delegation}),
		"a malformed credential":      frame(clusterItem, item{itemMembership, garbage}),
	} {
		t.Run(name, func(t *testing.T) {
			unknown := newPeer(t, nil)
			dialRaw(t, unknown, admin)
			answer, err := say(t, unknown, admin, handshakeProtocol, b)
			if err == nil && len(answer) > 0 {
				items, err := readFrame(bufio.NewReader(bytes.NewReader(answer)), maxUnknownFrame)
				if _, ok := refusal(items); !ok || err != nil {
					t.Errorf("got %d items in answer, %v", len(items), err)
				}
			}
			if r := admin.Relation(unknown.id); r != Unknown {
				t.Errorf("unknown peer: got relation %q", r)
			}
		})
	}
	if admin.Relation(member.id) != Member || !admin.connected(member.id) {
		t.Error("the member lost its connection or relation")
	}
}

// TestTooManyStreams opens handshakes without end: those above the rate are dropped unread.
func TestTooManyStreams(t *testing.T) {
	t.Parallel()
	admin := newCluster(t, 1, nil)[0]
	unknown := newPeer(t, nil)
	dialRaw(t, unknown, admin)
	dropped := 0
	for range 60 {
		s, err := unknown.raw.NewStream(limited(t), admin.id, joinProtocol)
		if err != nil {
			dropped++
			continue
		}
		s.SetDeadline(time.Now().Add(20 * time.Second))
		s.Write(frame())
		if b, err := io.ReadAll(s); err != nil || len(b) == 0 {
			dropped++
		}
		s.Reset()
	}
	if dropped == 0 {
		t.Error("all sixty streams were answered")
	}
}

// TestBadGossip lets a member send invalid gossip: none of it is accepted, and after a few messages the member is
// ignored.
func TestBadGossip(t *testing.T) {
	t.Parallel()
	peers := newCluster(t, 3, nil)
	victim, attacker, other := peers[0], peers[1], peers[2]
	eventually(t, "hints arrive", func() bool {
		return infoOf(victim, attacker).Hint != nil && infoOf(victim, other).Hint != nil && len(attacker.gossip.jobs.ListPeers()) == 2
	})
	// A hint in the name of another member, which did not sign it.
	forged := job.Hint{Capacity: job.CIDOf([]byte("x")), Seq: uint64(time.Now().Add(time.Minute).UnixMilli()), Slots: 999}
	b, err := forged.Encode()
	if err != nil {
		t.Fatal(err)
	}
	key, err := crypto.UnmarshalEd25519PrivateKey(attacker.cfg.Identity.Key)
	if err != nil {
		t.Fatal(err)
	}
	attacker.gossip.capacity.Publish(t.Context(), b, pubsub.WithSecretKeyAndPeerId(key, other.id))
	// An announcement that another member has signed.
	theirs, err := job.Announce{Task: cidOf("t"), ABI: job.ABIWASI, Window: 100, Issued: time.Now().UnixMilli()}.Sign(other.cfg.Identity.Key)
	if err != nil {
		t.Fatal(err)
	}
	// Before it has a mesh its messages may not reach the victim: then it repeats them, but not so often that its
	// hints exceed their rate limit.
	listening := true
	for round := 0; listening && round < 3; round++ {
		for _, m := range [][]byte{theirs, []byte("garbage"), make([]byte, job.MaxAnnounce+1)} {
			attacker.gossip.jobs.Publish(t.Context(), m)
		}
		for _, m := range [][]byte{[]byte("garbage"), make([]byte, job.MaxHint+1), theirs} {
			attacker.gossip.capacity.Publish(t.Context(), m)
		}
		time.Sleep(300 * time.Millisecond) // so that the valid hints arrive later, if at all
		before := infoOf(victim, attacker).Hint
		valid := job.Hint{Capacity: before.Capacity, Seq: before.Seq + 60_000, Slots: 777 + round}
		if b, err = valid.Encode(); err != nil {
			t.Fatal(err)
		}
		attacker.gossip.capacity.Publish(t.Context(), b)
		time.Sleep(500 * time.Millisecond)
		if i := infoOf(victim, other); i.Hint == nil || i.Hint.Slots == 999 {
			t.Errorf("the forged hint was accepted: %+v", i.Hint)
		}
		now := infoOf(victim, attacker).Hint
		listening = now != nil && now.Slots == valid.Slots
	}
	if listening {
		t.Error("the member that sends invalid messages is not ignored")
	}
	// The other members still receive each other's hints.
	other.SetState(0, 0, 0)
	eventually(t, "the other members receive each other's hints", func() bool {
		i := infoOf(victim, other)
		return i.Hint != nil && i.Hint.Slots == 0
	})
}

// TestHintFlood sends valid hints above the rate limit: few are accepted.
func TestHintFlood(t *testing.T) {
	t.Parallel()
	peers := newCluster(t, 2, nil)
	victim, attacker := peers[0], peers[1]
	eventually(t, "the first hint arrives", func() bool {
		return infoOf(victim, attacker).Hint != nil && len(attacker.gossip.capacity.ListPeers()) == 1
	})
	base := uint64(time.Now().UnixMilli()) + 1000
	const flood = 200
	for i := range flood {
		h := job.Hint{Capacity: infoOf(victim, attacker).Hint.Capacity, Seq: base + uint64(i), Slots: i}
		b, err := h.Encode()
		if err != nil {
			t.Fatal(err)
		}
		attacker.gossip.capacity.Publish(t.Context(), b)
	}
	time.Sleep(500 * time.Millisecond)
	if got := infoOf(victim, attacker).Hint; got == nil || got.Slots == flood-1 {
		t.Errorf("the last hint of the flood was accepted: %+v", got)
	}
}

// TestReplays sends valid messages a second time.
func TestReplays(t *testing.T) {
	t.Parallel()
	p := newCluster(t, 1, nil)[0]
	author, err := peer.Decode(newPeer(t, nil).cfg.Identity.PeerID)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	h := job.Hint{Capacity: cidOf("c"), Seq: 5}
	if !p.table.hintOf(author, h, now) || p.table.hintOf(author, h, now) {
		t.Error("a replayed hint counts as new")
	}
	h.Seq--
	if p.table.hintOf(author, h, now) {
		t.Error("an older hint counts as new")
	}
	var a authors
	seq := func(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }
	if !a.announce(author, seq(7), now) || a.announce(author, seq(7), now) || a.announce(author, seq(6), now) || a.announce(author, nil, now) || !a.announce(author, seq(8), now) {
		t.Error("replayed announcements were accepted")
	}
	for i := range uint64(100) {
		a.announce(author, seq(9+i), now)
	}
	if a.announce(author, seq(1000), now) {
		t.Error("a flood of announcements was accepted")
	}
	if !a.announce(author, seq(1001), now.Add(time.Minute)) {
		t.Error("no announcement was accepted after the flood")
	}
	// The memory of authors is limited.
	for i := range 3 * maxAuthors {
		a.hint(peer.ID(seq(uint64(i))), now)
	}
	if n := len(a.new) + len(a.old); n > 2*maxAuthors {
		t.Errorf("got %d authors in memory", n)
	}
}

// TestRecordsOfOthers checks that no peer can publish the address or the capacity of another one.
func TestRecordsOfOthers(t *testing.T) {
	t.Parallel()
	peers := newCluster(t, 3, nil)
	victim, rogue, other := peers[0], peers[1], peers[2]
	eventually(t, "addresses are known", func() bool { return victim.addrBook.record(other.id) != nil && victim.addrBook.record(rogue.id) != nil })
	good := addrsIn(victim.addrBook, other.id)
	rec := peer.PeerRecordFromAddrInfo(peer.AddrInfo{ID: other.id, Addrs: []ma.Multiaddr{ma.StringCast("/ip4/192.0.2.1/tcp/1")}})
	env, err := record.Seal(rec, rogue.raw.Peerstore().PrivKey(rogue.id))
	if err != nil {
		t.Fatal(err)
	}
	b, err := env.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if err := victim.learnAddrs(b); err == nil || !strings.Contains(err.Error(), "signed by another") {
		t.Errorf("%v", err)
	}
	if err := victim.learnAddrs(make([]byte, maxRecord+1)); err == nil {
		t.Error("a large record was accepted")
	}
	if got := addrsIn(victim.addrBook, other.id); strings.Join(got, " ") != strings.Join(good, " ") {
		t.Errorf("got addresses %v, want %v", got, good)
	}
	capacity, err := capacityOf(9).Sign(rogue.cfg.Identity.Key)
	if err != nil {
		t.Fatal(err)
	}
	victim.table.capacity(other.DID(), capacity, time.Now())
	if i := infoOf(victim, other); i.Capacity != nil && i.Capacity.Slots == 9 {
		t.Errorf("%+v", i.Capacity)
	}
	// A peer outside the cluster is rejected too, although it has signed its addresses itself.
	unknown := newPeer(t, nil)
	if err := victim.learnAddrs(unknown.ownRecord()); err != nil {
		t.Error(err)
	}
	if victim.addrBook.record(unknown.id) != nil {
		t.Error("an unknown peer is in the address book")
	}
	if err := victim.raw.Connect(limited(t), peer.AddrInfo{ID: unknown.id, Addrs: unknown.raw.Addrs()}); err == nil {
		t.Error("an unknown peer may be dialed")
	}
}

// TestStreamToRefuser opens a stream of another protocol to a peer that refuses this node.
func TestStreamToRefuser(t *testing.T) {
	t.Parallel()
	admin := newCluster(t, 1, nil)[0]
	user := newPeer(t, nil)
	user.gater.addProvider(admin.id)
	user.raw.Peerstore().AddAddrs(admin.id, admin.raw.Addrs(), time.Hour)
	_, err := user.Libp2p().NewStream(limited(t), admin.id, "/liftoff/test/1")
	var refused *RefusedError
	if !errors.As(err, &refused) {
		t.Errorf("%v", err)
	}
	unknown := newPeer(t, nil)
	if _, err := user.Libp2p().NewStream(network.WithNoDial(limited(t), ""), unknown.id, "/liftoff/test/1"); !errors.Is(err, network.ErrNoConn) {
		t.Errorf("%v", err)
	}
}

func FuzzReadFrame(f *testing.F) {
	f.Add(frame())
	f.Add(frame(item{itemCluster, []byte("did:key:z")}, item{itemDelegation, nil}))
	f.Fuzz(func(t *testing.T, b []byte) {
		items, err := readFrame(bufio.NewReader(bytes.NewReader(b)), maxUnknownFrame)
		if err != nil {
			return
		}
		again, err := readFrame(bufio.NewReader(bytes.NewReader(frame(items...))), maxMemberFrame)
		if err != nil || len(again) != len(items) {
			t.Errorf("%d items, then %d, %v", len(items), len(again), err)
		}
	})
}
