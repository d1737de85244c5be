package host

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/multiformats/go-multihash"

	"github.com/ipfs-liftoff/liftoff/host/cluster"
	"github.com/ipfs-liftoff/liftoff/job"
)

var loopback = []string{"/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"}

// clock is a time.Now that tests can advance.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time          { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) advance(d time.Duration) { c.ahead.Add(int64(d)) }

// newPeer opens a peer on a new repo, on loopback.
func newPeer(t *testing.T, change func(*Config)) *Peer {
	t.Helper()
	return openPeer(t, t.TempDir(), change)
}

func openPeer(t *testing.T, dir string, change func(*Config)) *Peer {
	t.Helper()
	id, err := LoadIdentity(dir)
	if err != nil {
		t.Fatal(err)
	}
	f, err := cluster.Open(filepath.Join(dir, "cluster"), id.Key)
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Dir: dir, Identity: id, Cluster: f, Listen: loopback, Memory: 256 << 20}
	if change != nil {
		change(&cfg)
	}
	p, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.SetCapacity(capacityOf(2)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return p
}

// newCluster returns n peers of one cluster, which joined by invitations of the first.
func newCluster(t *testing.T, n int, change func(*Config)) []*Peer {
	t.Helper()
	admin := newPeer(t, change)
	if err := admin.cluster.Init(admin.cfg.Now()); err != nil {
		t.Fatal(err)
	}
	peers := []*Peer{admin}
	for range n - 1 {
		p := newPeer(t, change)
		joinBy(t, p, admin, cluster.Invitation{})
		peers = append(peers, p)
	}
	return peers
}

func joinBy(t *testing.T, p, admin *Peer, i cluster.Invitation) {
	t.Helper()
	token, err := admin.Invite(i)
	if err != nil {
		t.Fatal(err)
	}
	line, err := cluster.ParseToken(token.String())
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Join(limited(t), line); err != nil {
		t.Fatal(err)
	}
}

func limited(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// eventually waits until ok reports true; its timeout is far longer than a slow machine needs.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("timed out: %s", what)
}

func infoOf(p *Peer, of *Peer) PeerInfo {
	all := p.Peers()
	i := slices.IndexFunc(all, func(i PeerInfo) bool { return i.ID == of.id })
	if i < 0 {
		return PeerInfo{}
	}
	return all[i]
}

func capacityOf(slots int) job.Capacity {
	return job.Capacity{ABIs: []string{job.ABIWASI}, Arch: "amd64", Slots: slots, Memory: 1 << 30}
}

func TestJoin(t *testing.T) {
	t.Parallel()
	peers := newCluster(t, 3, nil)
	admin, a, b := peers[0], peers[1], peers[2]
	// a and b learn about each other from the admin, and connect.
	eventually(t, "every peer is connected to every other", func() bool {
		return infoOf(a, b).Connected && infoOf(b, a).Connected && infoOf(admin, a).Connected
	})
	eventually(t, "the round trip is measured", func() bool { return infoOf(a, admin).RTT > 0 && infoOf(admin, a).RTT > 0 })
	i := infoOf(a, admin)
	if i.Relation != Member || i.Role != job.RoleAdmin || i.DID != admin.DID() || i.RTT <= 0 || i.LastSeen.IsZero() {
		t.Errorf("%+v", i)
	}
	if i := infoOf(a, b); i.Relation != Member || i.Role != job.RoleMember {
		t.Errorf("%+v", i)
	}
	if a.Relation(a.id) != Owner {
		t.Error("got the wrong relation of itself")
	}
	eventually(t, "capacities arrive", func() bool {
		i := infoOf(a, b)
		return i.Capacity != nil && i.Hint != nil && i.Capacity.Slots == 2 && i.Hint.Slots == 2
	})
	b.SetState(1, 1<<20, time.Second)
	eventually(t, "the changed capacity arrives", func() bool {
		i := infoOf(a, b)
		return i.Hint != nil && i.Hint.Slots == 1 && i.Hint.Queue == job.Bucket(1000)
	})
}

// TestRestart closes a member and opens it again: it finds the other members without a token.
func TestRestart(t *testing.T) {
	t.Parallel()
	peers := newCluster(t, 2, nil)
	admin, p := peers[0], peers[1]
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	again := openPeer(t, p.cfg.Dir, nil)
	eventually(t, "it reconnects", func() bool { return infoOf(again, admin).Connected && infoOf(admin, again).Connected })
	if again.Cluster().ID() != admin.Cluster().ID() {
		t.Error("it is a member of another cluster")
	}
}

func TestInvitations(t *testing.T) {
	t.Parallel()
	var c clock
	admin := newCluster(t, 1, func(cfg *Config) { cfg.Now = c.now })[0]
	refused := func(token cluster.Token, why string) {
		t.Helper()
		p := newPeer(t, func(cfg *Config) { cfg.Now = c.now })
		err := p.Join(limited(t), token)
		if err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%v, want: %s", err, why)
		}
		if p.cluster.ID() != "" || admin.Relation(p.id) != Unknown {
			t.Errorf("got relation %s", admin.Relation(p.id))
		}
		if r := p.Relation(admin.id); r != Unknown {
			t.Errorf("got relation %q of the peer that refused it", r)
		}
		eventually(t, "it is disconnected", func() bool {
			admin.disconnectUnauthorized(0)
			return !admin.connected(p.id)
		})
	}
	token, err := admin.Invite(cluster.Invitation{Uses: 2, Expires: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := newPeer(t, func(cfg *Config) { cfg.Now = c.now }).Join(limited(t), token); err != nil {
			t.Fatal(err)
		}
	}
	refused(token, "used up") // a third use of two
	other := token
	other.Secret[0] ^= 1
	refused(other, "unknown")
	if token, err = admin.Invite(cluster.Invitation{Expires: time.Hour}); err != nil {
		t.Fatal(err)
	}
	c.advance(2 * time.Hour)
	refused(token, "expired")
}

// TestUnknownPeers checks what an unknown peer may do.
func TestUnknownPeers(t *testing.T) {
	t.Parallel()
	peers := newCluster(t, 2, nil)
	admin := peers[0]
	unknown := newPeer(t, nil)
	_, err := unknown.Connect(limited(t), admin.Addrs()[0])
	var refused *RefusedError
	if !errors.As(err, &refused) || !strings.Contains(refused.Why, "membership") {
		t.Errorf("connect: %v", err)
	}
	eventually(t, "it is disconnected", func() bool { return !admin.connected(unknown.id) })

	// A peer that skips the handshake may not use other protocols either.
	reached := make(chan struct{}, 1)
	admin.Libp2p().SetStreamHandler("/liftoff/test/1", func(s network.Stream) {
		reached <- struct{}{}
		s.Close()
	})
	unknown.joining[admin.id] = 1 // so that it skips the handshake
	if err := unknown.raw.Connect(limited(t), peer.AddrInfo{ID: admin.id, Addrs: admin.raw.Addrs()}); err != nil {
		t.Fatal(err)
	}
	for _, proto := range []string{"/liftoff/test/1", string(lookupProtocol), "/meshsub/1.1.0", "/ipfs/ping/1.0.0"} {
		s, err := unknown.raw.NewStream(limited(t), admin.id, protocol.ID(proto))
		if err == nil {
			s.Write([]byte("hello"))
			s.SetReadDeadline(time.Now().Add(10 * time.Second))
			if n, err := s.Read(make([]byte, 100)); err == nil {
				t.Errorf("%s: got %d bytes of answer", proto, n)
			}
			s.Reset()
		}
	}
	select {
	case <-reached:
		t.Error("the stream of an unknown peer reached the handler")
	default:
	}
	admin.disconnectUnauthorized(0)
	eventually(t, "it is disconnected again", func() bool { return !admin.connected(unknown.id) })
	// A member's stream reaches it.
	s, err := peers[1].Libp2p().NewStream(limited(t), admin.id, "/liftoff/test/1")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Reset()
	s.CloseWrite()
	select {
	case <-reached:
	case <-time.After(20 * time.Second):
		t.Error("a member's stream did not reach the handler")
	}
}

func TestPolicy(t *testing.T) {
	t.Parallel()
	user := newPeer(t, nil)
	for name, c := range map[string]struct {
		policy Policy
		want   Relation
	}{
		"granted": {Policy{AllowDIDs: []job.DID{user.DID()}}, Granted},
		"open":    {Policy{Open: true}, OpenPeer},
		"content": {Policy{AllowPeers: []string{user.id.String()}}, Content},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t, func(cfg *Config) { cfg.Policy = c.policy })
			id, err := user.Connect(limited(t), p.Addrs()[0])
			if c.want != Content && err != nil {
				t.Fatal(err)
			}
			if got := p.Relation(user.id); got != c.want || Allows(got, SendJobs) == (c.want == Content) {
				t.Errorf("got relation %q", got)
			}
			if got := user.Relation(id); got != Provider || Allows(got, SendJobs) {
				t.Errorf("dialed peer: got relation %q", got)
			}
			if err := p.SetPolicy(Policy{}); err != nil {
				t.Fatal(err)
			}
			eventually(t, "it is disconnected when it is not listed any more", func() bool { return !p.connected(user.id) })
		})
	}
	for _, bad := range []Policy{{AllowDIDs: []job.DID{"x"}}, {AllowPeers: []string{"x"}}} {
		if err := user.SetPolicy(bad); err == nil {
			t.Errorf("%+v: accepted", bad)
		}
	}
}

func TestRevoke(t *testing.T) {
	t.Parallel()
	peers := newCluster(t, 4, nil)
	admin, a, b, gone := peers[0], peers[1], peers[2], peers[3]
	eventually(t, "every peer has all memberships", func() bool {
		return infoOf(a, gone).Connected && infoOf(b, gone).Connected && infoOf(a, b).Connected
	})
	if err := a.Revoke(gone.DID()); err == nil {
		t.Error("a member can revoke")
	}
	if err := admin.Revoke(gone.DID()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "every member disconnects it", func() bool {
		for _, p := range []*Peer{admin, a, b} {
			if p.connected(gone.id) || p.Relation(gone.id) != Unknown {
				return false
			}
		}
		return true
	})
	var refused *RefusedError
	eventually(t, "it is refused when it reconnects", func() bool {
		_, err := gone.Connect(limited(t), b.Addrs()[0])
		return errors.As(err, &refused) && strings.Contains(refused.Why, "revoked")
	})
	for _, p := range []*Peer{a, b} { // it retries, with a longer pause each time
		for range 8 {
			gone.addrBook.recordFailure(p.id, time.Now(), ErrClosed)
		}
	}
	joinBy(t, gone, admin, cluster.Invitation{})
	eventually(t, "it is invited again", func() bool { return infoOf(a, gone).Connected && infoOf(a, gone).Relation == Member })
}

// TestRenew advances the clock into the last thirty days, and then past the end.
func TestRenew(t *testing.T) {
	t.Parallel()
	var c clock
	peers := newCluster(t, 2, func(cfg *Config) { cfg.Now = c.now })
	admin, p := peers[0], peers[1]
	expiry := func(p *Peer) time.Time {
		for _, m := range p.cluster.Members(c.now()) {
			if m.DID == p.DID() {
				return m.Expires
			}
		}
		return time.Time{}
	}
	first := expiry(p)
	for range 3 {
		c.advance(65 * 24 * time.Hour)
		before := expiry(p)
		eventually(t, "the membership is renewed", func() bool {
			admin.renewMembership() // as maintain does
			p.renewMembership()
			return expiry(p).After(before) && !admin.cluster.Due(c.now())
		})
	}
	if d := expiry(p).Sub(first); d < 100*24*time.Hour {
		t.Errorf("the membership lasts %s longer", d)
	}
	c.advance(cluster.MembershipLife + time.Hour)
	if r := admin.Relation(p.id); r != Unknown {
		t.Errorf("after its end: got relation %q", r)
	}
}

func cidOf(s string) cid.Cid {
	h, err := multihash.Sum([]byte(s), multihash.SHA2_256, -1)
	if err != nil {
		panic(err)
	}
	return cid.NewCidV1(cid.Raw, h)
}

func TestAnnounce(t *testing.T) {
	t.Parallel()
	asked := make(chan job.Announce, 10)
	peers := newCluster(t, 4, func(cfg *Config) {
		cfg.Bids = func(a job.Announce) bool {
			asked <- a
			return a.Need["no"] == ""
		}
	})
	requester, excluded := peers[1], peers[3]
	a := job.Announce{Task: cidOf("task"), ABI: job.ABIWASI, Window: 2000, Exclude: []job.DID{excluded.DID()}}
	var answered []peer.ID
	eventually(t, "two peers answer", func() bool {
		found := make(chan peer.ID, 10)
		if err := requester.Announce(limited(t), a, func(id peer.ID) { found <- id }); err != nil {
			t.Fatal(err)
		}
		close(found)
		answered = nil
		for id := range found {
			answered = append(answered, id)
		}
		return len(answered) == 2
	})
	if !slices.Contains(answered, peers[0].id) || !slices.Contains(answered, peers[2].id) {
		t.Errorf("%v", answered)
	}
	got := <-asked
	if got.Issuer != requester.DID() || !got.Task.Equals(a.Task) || len(got.Addrs) == 0 {
		t.Errorf("%+v", got)
	}
	a.Need = map[string]string{"no": "thing"}
	a.Window = 300
	if err := requester.Announce(limited(t), a, func(id peer.ID) { t.Errorf("%s answers", id) }); err != nil {
		t.Fatal(err)
	}
}
