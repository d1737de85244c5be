package host

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/ipfs-liftoff/liftoff/host/cluster"
	"github.com/ipfs-liftoff/liftoff/job"
)

// TestUnknownPeersSayNothing lets an unknown peer send a capacity: it is not stored, since unknown peers could fill the
// table and keep members out of it.
func TestUnknownPeersSayNothing(t *testing.T) {
	t.Parallel()
	admin := newCluster(t, 1, nil)[0]
	unknown := newPeer(t, nil)
	dialRaw(t, unknown, admin)
	envelope, hint := unknown.ownHint()
	say(t, unknown, admin, handshakeProtocol, frame(item{itemCluster, []byte(admin.cluster.ID())},
		item{itemCapacity, envelope}, item{itemHint, hint}, item{itemAddrs, unknown.ownRecord()}))
	eventually(t, "it is disconnected", func() bool { return !unknown.connected(admin.id) })
	if slices.Contains(admin.table.ids(), unknown.id) || admin.addrBook.record(unknown.id) != nil {
		t.Error("the capacity of an unknown peer is stored")
	}
}

// TestSilentUnknownPeers fills the places for unknown peers: a new one is accepted once the others have had their time,
// and replaces the oldest.
func TestSilentUnknownPeers(t *testing.T) {
	t.Parallel()
	admin, now := newCluster(t, 1, nil)[0], time.Now()
	var cut []peer.ID
	d, err := newGater(admin.id, admin.cluster, func() time.Time { return now }, Policy{})
	if err != nil {
		t.Fatal(err)
	}
	d.disconnect = func(id peer.ID) { cut = append(cut, id) }
	connect := func(i int) bool {
		id := idOfSeed(t, byte(i))
		in := d.InterceptSecured(network.DirInbound, id, nil)
		if in {
			d.addConn(id, false)
		}
		return in
	}
	for i := range maxUnknown {
		now = now.Add(time.Millisecond)
		if !connect(i) {
			t.Fatalf("unknown peer %d: refused", i)
		}
	}
	if connect(100) || len(cut) > 0 {
		t.Errorf("accepted one too many, or disconnected one at once: %v", cut)
	}
	now = now.Add(unknownGrace)
	if !connect(101) || !connect(102) || !slices.Equal(cut, []peer.ID{idOfSeed(t, 0), idOfSeed(t, 1)}) {
		t.Errorf("got disconnected %q", cut)
	}
	if !d.InterceptSecured(network.DirInbound, admin.id, nil) {
		t.Error("an authorized peer was refused")
	}
}

// TestClockSetBack starts a peer whose clock is wrong, and corrects it: the others reject the sequence numbers of the
// wrong clock, and accept later ones.
func TestClockSetBack(t *testing.T) {
	t.Parallel()
	for name, wrong := range map[string]time.Duration{"ahead": 2 * time.Hour, "behind": -50 * 365 * 24 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			var c clock
			p := newPeer(t, func(cfg *Config) { cfg.Now = c.now })
			others, now := newTable(), time.Now()
			tell := func() bool {
				envelope, hint := p.ownHint()
				others.capacity(p.DID(), envelope, now)
				return others.hint(p.id, hint, now) && others.has(p.id, job.CIDOf(envelope))
			}
			tell() // what it announced before, when its clock was right
			c.advance(wrong)
			if err := p.SetCapacity(capacityOf(1)); err != nil {
				t.Fatal(err)
			}
			tell()
			c.advance(-wrong + time.Second)
			if !tell() {
				t.Error("its hints are not accepted any more")
			}
		})
	}
}

// TestSlowNeighbor has a member that forwards hints of many unknown authors and never answers lookups of them: it
// does not keep this node from lookups at others.
func TestSlowNeighbor(t *testing.T) {
	t.Parallel()
	peers := newCluster(t, 4, nil)
	admin, victim, slow, author := peers[0], peers[1], peers[2], peers[3]
	eventually(t, "they are connected", func() bool {
		return infoOf(victim, slow).Connected && infoOf(admin, author).Capacity != nil
	})
	slow.raw.SetStreamHandler(lookupProtocol, func(s network.Stream) {
		<-t.Context().Done()
		s.Reset()
	})
	if err := author.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is disconnected", func() bool { return !victim.connected(author.id) })
	want := job.CIDOf(admin.table.envelope(author.id))
	victim.table.mu.Lock()
	delete(victim.table.rows, author.id)
	victim.table.mu.Unlock()
	var seed [ed25519.SeedSize]byte
	for range 2 * maxLookups {
		rand.Read(seed[:])
		id, err := peer.Decode(PeerID(ed25519.NewKeyFromSeed(seed[:]).Public().(ed25519.PublicKey)))
		if err != nil {
			t.Fatal(err)
		}
		victim.gossip.requestLookup(id, cidOf("unknown"), slow.id)
	}
	eventually(t, "an author that another peer forwarded is found", func() bool {
		victim.gossip.requestLookup(author.id, want, admin.id) // as its next hint does
		return victim.table.has(author.id, want)
	})
}

// TestGuesses lets unknown peers guess secrets: a peer with a valid one still joins at once.
func TestGuesses(t *testing.T) {
	t.Parallel()
	admin := newCluster(t, 1, nil)[0]
	for range 3 {
		unknown := newPeer(t, nil)
		dialRaw(t, unknown, admin)
		for range 15 {
			var secret [16]byte
			rand.Read(secret[:])
			answer, err := say(t, unknown, admin, joinProtocol, frame(item{itemSecret, secret[:]}))
			if err != nil {
				t.Fatal(err)
			}
			items, err := readFrame(bufio.NewReader(bytes.NewReader(answer)), maxUnknownFrame)
			if why, ok := refusal(items); !ok || err != nil || !strings.Contains(why, "invitation") {
				t.Fatalf("%q, %v", why, err)
			}
		}
	}
	joinBy(t, newPeer(t, nil), admin, cluster.Invitation{})
}

// TestRenewalRefused has an admin in its last thirty days that is connected only to an admin that cannot renew it: it
// does not repeat its request at once.
func TestRenewalRefused(t *testing.T) {
	t.Parallel()
	var c clock
	peers := newCluster(t, 1, func(cfg *Config) { cfg.Now = c.now })
	founder := peers[0]
	var admins []*Peer
	for range 2 {
		p := newPeer(t, func(cfg *Config) { cfg.Now = c.now })
		joinBy(t, p, founder, cluster.Invitation{Role: job.RoleAdmin})
		admins = append(admins, p)
	}
	a, b := admins[0], admins[1]
	eventually(t, "the admins are connected", func() bool { return infoOf(a, b).Connected && infoOf(b, a).Role == job.RoleAdmin })
	if err := founder.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the founder is disconnected", func() bool { return !a.connected(founder.id) && !b.connected(founder.id) })
	var asked atomic.Int64
	a.raw.SetStreamHandler(joinProtocol, func(s network.Stream) {
		asked.Add(1)
		a.streamHandler(a.answerJoin)(s)
	})
	c.advance(65 * 24 * time.Hour)
	for range 20 {
		b.renewMembership() // as maintain does
	}
	if n := asked.Load(); n < 1 || n > 2 { // maintain may call it at the same time
		t.Errorf("got %d requests", n)
	}
	c.advance(renewInterval)
	b.renewMembership()
	if n := asked.Load(); n < 2 || n > 3 {
		t.Errorf("got %d requests a minute later", n)
	}
}

// TestGoesAwayAtOnce has a member that ends the connection after each handshake: it is not dialed over and over.
func TestGoesAwayAtOnce(t *testing.T) {
	t.Parallel()
	peers := newCluster(t, 2, nil)
	rude, victim := peers[0], peers[1]
	var dialed atomic.Int64
	rude.raw.Network().Notify(&network.NotifyBundle{ConnectedF: func(_ network.Network, c network.Conn) {
		if c.RemotePeer() != victim.id || c.Stat().Direction != network.DirInbound {
			return
		}
		dialed.Add(1)
		rude.start(func() {
			if call := rude.gater.peer(victim.id); call != nil {
				<-call.handshakeDone
			}
			sleep(rude.ctx, 50*time.Millisecond) // so that the other end has received everything
			rude.raw.Network().ClosePeer(victim.id)
		})
	}})
	rude.raw.Network().ClosePeer(victim.id)
	time.Sleep(2 * time.Second)
	if n := dialed.Load(); n > 2 {
		t.Errorf("got %d dials in two seconds", n)
	}
}

// TestManyRevocations has more revocations than fit one frame: each handshake sends some, and a few handshakes send
// all.
func TestManyRevocations(t *testing.T) {
	t.Parallel()
	peers := newCluster(t, 2, nil)
	admin, member := peers[0], peers[1]
	content, err := os.ReadFile(filepath.Join(admin.cfg.Dir, "cluster", "key"))
	if err != nil {
		t.Fatal(err)
	}
	seed, err := base64.StdEncoding.DecodeString(strings.Split(string(content), "\n")[2])
	if err != nil {
		t.Fatal(err)
	}
	key := ed25519.NewKeyFromSeed(seed)
	var many []cluster.Notice
	for range maxItems/2 + 100 {
		pub, _, err := ed25519.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		b, err := job.Revocation{Cluster: admin.cluster.ID(), Member: job.DIDOf(pub), Seq: 1, Issued: time.Now().UnixMilli()}.Sign(key)
		if err != nil {
			t.Fatal(err)
		}
		many = append(many, cluster.Notice{Revocation: b})
	}
	if fresh, err := admin.cluster.ApplyNotices(many, time.Now()); !fresh || err != nil {
		t.Fatal(fresh, err)
	}
	heard := map[string]bool{}
	for range 10 {
		var b bytes.Buffer
		if err := writeFrame(&b, admin.extras(member.id, nil)); err != nil {
			t.Fatal(err)
		}
		items, err := readFrame(bufio.NewReader(&b), maxMemberFrame)
		if err != nil {
			t.Fatal(err)
		}
		for _, it := range items {
			if it.kind == itemRevocation {
				heard[string(it.data)] = true
			}
		}
		if n := len(heard); n < maxItems/2-2*maxRecords {
			t.Fatalf("got %d revocations in a frame", n)
		}
	}
	if len(heard) != len(many) {
		t.Errorf("%d of %d revocations were sent", len(heard), len(many))
	}
}

// TestRevokedButDialed revokes a member that the owner has told another one to connect to: they stay connected, but
// it gets no gossip.
func TestRevokedButDialed(t *testing.T) {
	t.Parallel()
	peers := newCluster(t, 3, nil)
	admin, p, gone := peers[0], peers[1], peers[2]
	if _, err := p.Connect(limited(t), gone.Addrs()[0]); err != nil {
		t.Fatal(err)
	}
	subscribed := func() bool { return slices.Contains(p.gossip.capacity.ListPeers(), gone.id) }
	eventually(t, "it gets gossip", subscribed)
	if err := admin.Revoke(gone.DID()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it gets no gossip", func() bool { return p.Relation(gone.id) == Provider && !subscribed() })
}
