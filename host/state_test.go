package host

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/ipfs-liftoff/liftoff/host/cluster"
	"github.com/ipfs-liftoff/liftoff/job"
)

// TestRevokedWhileAway closes a member, revokes another one, and opens the first one again: it learns the revocation
// from the first peer that it connects to.
func TestRevokedWhileAway(t *testing.T) {
	t.Parallel()
	peers := newCluster(t, 3, nil)
	admin, away, gone := peers[0], peers[1], peers[2]
	eventually(t, "each has the other's membership", func() bool { return away.Relation(gone.id) == Member })
	if err := away.Close(); err != nil {
		t.Fatal(err)
	}
	if err := admin.Revoke(gone.DID()); err != nil {
		t.Fatal(err)
	}
	back := openPeer(t, away.cfg.Dir, nil)
	eventually(t, "it has the revocation", func() bool { return back.Relation(gone.id) == Unknown && !back.connected(gone.id) })
	if back.Relation(admin.id) != Member {
		t.Error("the other memberships were lost")
	}
}

// TestLookup looks up a member at a neighbor that this peer has never connected to.
func TestLookup(t *testing.T) {
	t.Parallel()
	peers := newCluster(t, 3, nil)
	admin, asker, author := peers[0], peers[1], peers[2]
	eventually(t, "the neighbor has the capacity", func() bool { return infoOf(admin, author).Capacity != nil })
	if err := author.Close(); err != nil { // so that only the neighbor can answer
		t.Fatal(err)
	}
	eventually(t, "it is disconnected", func() bool { return !asker.connected(author.id) })
	want := job.CIDOf(admin.table.envelope(author.id))
	asker.table.mu.Lock()
	delete(asker.table.rows, author.id)
	asker.table.mu.Unlock()
	asker.lookup(limited(t), lookupRequest{author.id, want, admin.id})
	if !asker.table.has(author.id, want) {
		t.Error("the record was not fetched")
	}
	if err := asker.queryLookup(limited(t), admin.id, newPeer(t, nil).id); err != nil {
		t.Errorf("lookup of an unknown peer: %v", err)
	}
}

func TestHintsEnd(t *testing.T) {
	now := time.Now()
	tab := newTable()
	did := newPeer(t, nil).DID()
	id, err := IDOf(did)
	if err != nil {
		t.Fatal(err)
	}
	h := job.Hint{Capacity: cidOf("another record"), Seq: 1, Slots: 3}
	tab.hintOf(id, h, now)
	info := PeerInfo{ID: id}
	if tab.fill(&info, now); info.Hint != nil {
		t.Error("a hint is valid without the record that it names")
	}
	if tab.fresh(now) != 1 || tab.fresh(now.Add(hintTTL+1)) != 0 {
		t.Error("a hint does not expire")
	}
	tab.sweep(now.Add(recordTTL+1), func(peer.ID) bool { return true })
	if len(tab.rows) != 1 {
		t.Error("a connected peer was removed")
	}
	tab.sweep(now.Add(recordTTL+1), func(peer.ID) bool { return false })
	if len(tab.rows) != 0 {
		t.Error("a silent peer was not removed")
	}
	for i := range maxRows + 10 {
		tab.hintOf(peer.ID(fmt.Sprint(i)), h, now.Add(time.Duration(i)))
	}
	if len(tab.rows) != maxRows {
		t.Errorf("got %d rows", len(tab.rows))
	}
	if tab.rows[peer.ID("0")] != nil || tab.rows[peer.ID(fmt.Sprint(maxRows+9))] == nil {
		t.Error("a full table did not evict the peer that was silent longest")
	}
}

func TestBook(t *testing.T) {
	dir := t.TempDir()
	b, err := openAddressBook(dir)
	if err != nil {
		t.Fatal(err)
	}
	id, now := idOfSeed(t, 1), time.Unix(1000, 0)
	b.recordSeen(id, []string{"/ip4/192.0.2.1/tcp/1"}, now)
	due := func(now time.Time) int { return len(b.due(10, now, func(peer.ID) bool { return false })) }
	if due(now.Add(firstBackoff-1)) != 0 || due(now.Add(firstBackoff)) != 1 {
		t.Error("not due after the backoff")
	}
	for wait := firstBackoff; wait < lastBackoff; wait *= 2 {
		b.recordFailure(id, now, ErrClosed)
		if due(now.Add(wait-1)) != 0 || due(now.Add(wait)) != 1 {
			t.Errorf("due again within %s", wait)
		}
	}
	if !b.recordSigned(id, []string{"/ip4/192.0.2.2/tcp/1"}, []byte("signed"), 5) || b.recordSigned(id, []string{"/ip4/192.0.2.3/tcp/1"}, []byte("old"), 4) {
		t.Error("an older record was accepted")
	}
	if due(now) != 1 {
		t.Error("not due at its new address")
	}
	if err := b.save(); err != nil {
		t.Fatal(err)
	}
	if b, err = openAddressBook(dir); err != nil {
		t.Fatal(err)
	}
	if got := addrsIn(b, id); len(got) != 1 || got[0] != "/ip4/192.0.2.2/tcp/1" {
		t.Errorf("%v", got)
	}
	for i := range maxKnown + 10 {
		b.recordSeen(peer.ID(fmt.Sprint(i)), []string{"/ip4/192.0.2.1/tcp/1"}, now.Add(time.Hour))
	}
	if len(b.known) != maxKnown || b.known[id] != nil {
		t.Errorf("got %d known peers", len(b.known))
	}
	for _, bad := range []string{"", "{}", "[", `[{"peer":"x"}]`, `[] []`, `[{"peer":"` + id.String() + `","addrs":["x"]}]`, `[{"peer":"` + id.String() + `","why":1}]`} {
		if err := os.WriteFile(filepath.Join(dir, addressFile), []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := openAddressBook(dir); err == nil {
			t.Errorf("%q: accepted", bad)
		}
	}
}

// idOfSeed returns the peer id of a fixed key.
func idOfSeed(t *testing.T, b byte) peer.ID {
	t.Helper()
	id, err := IDOf(didOf(b))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// TestInviteNowhere refuses an invitation whose token no peer could use.
func TestInviteNowhere(t *testing.T) {
	p := newPeer(t, func(c *Config) { c.NoListen = true })
	if _, err := p.Invite(cluster.Invitation{}); err == nil {
		t.Error("a peer without a listen address can invite")
	}
	q := newPeer(t, nil)
	if _, err := q.Invite(cluster.Invitation{}); err == nil {
		t.Error("a peer without a cluster can invite")
	}
}

func TestOpenRefuses(t *testing.T) {
	id, err := LoadIdentity(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	// TCP ports are shared by SO_REUSEPORT, which hole punching needs; UDP ports are not.
	all := texts(newPeer(t, nil).raw.Network().ListenAddresses())
	taken := all[slices.IndexFunc(all, func(a string) bool { return strings.Contains(a, "/udp/") })]
	for name, cfg := range map[string]Config{
		"a port is taken":     {Dir: t.TempDir(), Identity: id, Listen: []string{loopback[0], taken}},
		"all ports are taken": {Dir: t.TempDir(), Identity: id, Listen: []string{taken}},
		"no identity":         {Dir: t.TempDir()},
		"bad listen":          {Dir: t.TempDir(), Identity: id, Listen: []string{"127.0.0.1:4017"}},
		"bad announce":        {Dir: t.TempDir(), Identity: id, Listen: loopback, Announce: []string{"example.com"}},
		"bad reachability":    {Dir: t.TempDir(), Identity: id, Listen: loopback, Reachability: "maybe"},
		"bad policy":          {Dir: t.TempDir(), Identity: id, Listen: loopback, Policy: Policy{AllowDIDs: []job.DID{"x"}}},
	} {
		if p, err := Open(cfg); err == nil {
			p.Close()
			t.Errorf("%s: opened", name)
		}
	}
}

// addrsIn returns the addresses of a member in b.
func addrsIn(b *addressBook, id peer.ID) []string {
	addrs, _ := b.lookup(id)
	return addrs
}
