package host

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/ipfs-liftoff/liftoff/host/cluster"
)

// TestRelay connects to a member that cannot be dialed through a member that is a relay; an unknown peer cannot use
// the relay.
func TestRelay(t *testing.T) {
	t.Parallel()
	relay := newPeer(t, func(c *Config) { c.Relay = true })
	if err := relay.cluster.Init(relay.cfg.Now()); err != nil {
		t.Fatal(err)
	}
	hidden := newPeer(t, func(c *Config) {
		c.Reachability = "private"
		c.Announce = []string{"/ip4/127.0.0.1/tcp/1"} // no process listens there
	})
	joinBy(t, hidden, relay, cluster.Invitation{})
	far, unknown := newPeer(t, nil), newPeer(t, nil)
	joinBy(t, far, relay, cluster.Invitation{})
	// Libp2p announces only circuits over public addresses; here there are no public addresses.
	circuit := relay.Addrs()[0] + "/p2p-circuit/p2p/" + hidden.id.String()
	eventually(t, "it is connected over the relay", func() bool {
		_, err := far.Connect(limited(t), circuit)
		return err == nil
	})
	if i := infoOf(far, hidden); !i.Connected || !i.Relayed || i.Relation != Member {
		t.Errorf("%+v", i)
	}
	said := make(chan string, 1)
	hidden.Libp2p().SetStreamHandler("/liftoff/test/1", func(s network.Stream) {
		b, _ := io.ReadAll(s)
		said <- string(b)
	})
	s, err := far.Libp2p().NewStream(limited(t), hidden.id, "/liftoff/test/1")
	if err != nil {
		t.Fatal(err)
	}
	s.Write([]byte("hello"))
	s.Close()
	select {
	case got := <-said:
		if got != "hello" {
			t.Errorf("%q", got)
		}
	case <-time.After(20 * time.Second):
		t.Error("no data arrived over the relay")
	}
	if _, err := unknown.Connect(limited(t), circuit); err == nil {
		t.Error("an unknown peer connected over the relay")
	}
}

// TestMoved adds an address to a peer: the connected members receive it at once.
func TestMoved(t *testing.T) {
	t.Parallel()
	peers := newCluster(t, 2, nil)
	eventually(t, "they are connected", func() bool { return infoOf(peers[1], peers[0]).Connected })
	before := len(addrsIn(peers[1].addrBook, peers[0].id))
	more, err := parseAddrs([]string{"/ip4/127.0.0.1/tcp/0"})
	if err != nil {
		t.Fatal(err)
	}
	if err := listenOn(peers[0].raw.Network(), more); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the new address is known", func() bool { return len(addrsIn(peers[1].addrBook, peers[0].id)) == before+1 })
}

// TestMDNS lets two members find each other on the local network, without configured addresses.
func TestMDNS(t *testing.T) {
	t.Parallel()
	interfaces, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	able := false
	for _, i := range interfaces {
		able = able || i.Flags&net.FlagMulticast != 0 && i.Flags&net.FlagUp != 0
	}
	if !able {
		t.Skip("no network interface supports multicast")
	}
	peers := newCluster(t, 2, nil)
	dirs := []string{peers[0].cfg.Dir, peers[1].cfg.Dir}
	for i, p := range peers {
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(filepath.Join(dirs[i], addressFile)); err != nil {
			t.Fatal(err)
		}
	}
	withMDNS := func(c *Config) { c.MDNS = true }
	a, b := openPeer(t, dirs[0], withMDNS), openPeer(t, dirs[1], withMDNS)
	unknown := newPeer(t, withMDNS)
	eventually(t, "they find each other", func() bool { return infoOf(a, b).Connected && infoOf(b, a).Connected })
	if n := len(unknown.raw.Network().Peers()); n != 0 {
		t.Errorf("a peer without a cluster found %d peers", n)
	}
}
