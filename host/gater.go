package host

import (
	"fmt"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/control"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/ipfs-liftoff/liftoff/host/cluster"
	"github.com/ipfs-liftoff/liftoff/job"
)

// gater is the libp2p connection gater: it decides which peers may connect and which protocols they may use. Libp2p
// calls it at three points: before it dials a peer, when a peer has proven its key, and when a peer's stream has
// named its protocol. A new connection may do the handshake, redeem an invitation, and run identify for greetTimeout;
// after that the peer is authorized or disconnected.
type gater struct {
	cluster *cluster.Cluster
	self    peer.ID
	now     func() time.Time
	cut     func(peer.ID) // closes the connections to a peer, asynchronously

	mu      sync.Mutex
	policy  Policy
	dids    map[job.DID]bool
	ids     map[peer.ID]bool
	dialed  map[peer.ID]bool    // peers that the owner told this node to connect to
	trying  map[peer.ID]int     // candidates, with their number of attempts
	callers map[peer.ID]*caller // connected peers
}

// caller is the state of a connected peer.
type caller struct {
	since   time.Time
	conns   int           // number of connections
	greeted chan struct{} // closed when the first handshake is over, with or without success
	once    sync.Once
	refused string // the peer's reason for refusing this node; "": it does not
	spoke   time.Time
	rtt     time.Duration
	outward bool // this node dialed the peer on at least one connection
	member  bool // the peer was a member at its handshake
	leaving bool // it is being disconnected to make room for another unknown peer
	streams bucket
}

func (c *caller) over() { c.once.Do(func() { close(c.greeted) }) }

func (c *caller) isOver() bool {
	select {
	case <-c.greeted:
		return true
	default:
		return false
	}
}

// Limits of the gater.
const (
	greetTimeout = 10 * time.Second
	maxNobodies  = 64              // connected peers that are not authorized yet
	nobodysTime  = 2 * time.Second // time that such a peer has for its handshake while others wait for a place
	maxTrying    = 8
)

func newDoor(self peer.ID, f *cluster.Cluster, now func() time.Time, policy Policy) (*gater, error) {
	d := &gater{cluster: f, self: self, now: now, dialed: map[peer.ID]bool{}, trying: map[peer.ID]int{}, callers: map[peer.ID]*caller{}}
	return d, d.setPolicy(policy)
}

func (d *gater) setPolicy(p Policy) error {
	dids, ids := map[job.DID]bool{}, map[peer.ID]bool{}
	for _, did := range p.AllowDIDs {
		if _, err := did.Key(); err != nil {
			return fmt.Errorf("policy: allowed did:key: %w", err)
		}
		dids[did] = true
	}
	for _, s := range p.AllowPeers {
		id, err := ParsePeer(s)
		if err != nil {
			return fmt.Errorf("policy: allowed peer %.60q: %w", s, err)
		}
		ids[id] = true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.policy, d.dids, d.ids = p, dids, ids
	return nil
}

// toldTo makes id a provider: the owner told this node to connect to it.
func (d *gater) toldTo(id peer.ID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dialed[id] = true
}

// try makes id a candidate until tried is called. It reports false if id is a candidate already or there are too
// many.
func (d *gater) try(id peer.ID) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.trying[id] > 0 || len(d.trying) >= maxTrying {
		return false
	}
	d.trying[id] = 1
	return true
}

// invited makes id a candidate until tried is called: the owner has a token that id issued.
func (d *gater) invited(id peer.ID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.trying[id]++
}

func (d *gater) tried(id peer.ID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.trying[id]--; d.trying[id] <= 0 {
		delete(d.trying, id)
	}
}

// arrived records a new connection.
func (d *gater) arrived(id peer.ID, outward bool) *caller {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.callers[id]
	if c == nil {
		c = &caller{since: d.now(), greeted: make(chan struct{}), streams: bucket{rate: 5, burst: 40}}
		d.callers[id] = c
	}
	c.conns++
	c.outward = c.outward || outward
	return c
}

// left records the end of a connection, and reports whether it was the last. Connections are counted because libp2p
// may report the end of one after it has made another.
func (d *gater) left(id peer.ID) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.callers[id]
	if c == nil {
		return false
	}
	if c.conns--; c.conns > 0 {
		return false
	}
	c.over()
	delete(d.callers, id)
	return true
}

func (d *gater) caller(id peer.ID) *caller {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.callers[id]
}

// change runs f on the state of id, if it is connected, with the lock held.
func (d *gater) change(id peer.ID, f func(*caller)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if c := d.callers[id]; c != nil {
		f(c)
	}
}

// refusal returns the reason for which c refuses this node, "" if it does not. The reason stays available after the
// connection has ended.
func (d *gater) refusal(c *caller) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return c.refused
}

// within reports whether id is within its rate limit for streams of this package's protocols.
func (d *gater) within(id peer.ID) bool {
	c := d.caller(id)
	return c != nil && c.streams.take(d.now())
}

// connected returns the connected peers, with a copy of the state of each.
func (d *gater) connected() map[peer.ID]callerInfo {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := make(map[peer.ID]callerInfo, len(d.callers))
	for id, c := range d.callers {
		all[id] = callerInfo{c.since, c.spoke, c.rtt, c.outward, c.member, c.leaving, c.isOver()}
	}
	return all
}

type callerInfo struct {
	since, spoke                      time.Time
	rtt                               time.Duration
	outward, member, leaving, greeted bool
}

// hasKey returns an error when no connection with id is allowed in either direction: its key has no DID, and the
// owner has not listed the id. Libp2p itself accepts a key under which one signature is valid for any handshake.
func (d *gater) hasKey(id peer.ID) error {
	_, err := DIDOf(id)
	if err != nil && d.stands(id, "", Content) {
		return nil
	}
	return err
}

// InterceptPeerDial allows dials only to peers that have that right: neither libp2p nor a message chooses which peers
// this node connects to.
func (d *gater) InterceptPeerDial(id peer.ID) bool {
	return d.hasKey(id) == nil && d.allows(id, BeDialed)
}

// InterceptAddrDial is part of connmgr.ConnectionGater.
func (d *gater) InterceptAddrDial(peer.ID, ma.Multiaddr) bool { return true }

// InterceptAccept is part of connmgr.ConnectionGater; the resource manager limits inbound connections.
func (d *gater) InterceptAccept(network.ConnMultiaddrs) bool { return true }

// InterceptSecured refuses a peer without a valid key, and limits peers that are not authorized to maxNobodies. At
// the limit the oldest of them is disconnected to make room for the next; while all are younger than nobodysTime, the
// next one is refused. Silent peers keep others out only by reconnecting that often. A revoked member counts as not
// authorized: it may have been invited again, and proves that in its handshake.
func (d *gater) InterceptSecured(dir network.Direction, id peer.ID, _ network.ConnMultiaddrs) bool {
	if d.hasKey(id) != nil {
		return false
	}
	if dir == network.DirOutbound || d.allows(id, StayConnected) {
		return true
	}
	var first peer.ID
	nobodies, since := 0, d.now().Add(-nobodysTime)
	for other, c := range d.connected() {
		if c.leaving || d.allows(other, StayConnected) {
			continue
		}
		nobodies++
		if c.since.Before(since) {
			first, since = other, c.since
		}
	}
	if nobodies < maxNobodies {
		return true
	}
	if first == "" {
		return false
	}
	d.change(first, func(c *caller) { c.leaving = true })
	d.cut(first)
	return true
}

// InterceptUpgraded is part of connmgr.ConnectionGater.
func (d *gater) InterceptUpgraded(network.Conn) (bool, control.DisconnectReason) { return true, 0 }

// resources is a resource manager that asks the gater when an inbound stream has named its protocol, before the
// protocol's handler runs.
type resources struct {
	network.ResourceManager
	door *gater
}

func (r resources) OpenStream(id peer.ID, dir network.Direction) (network.StreamManagementScope, error) {
	s, err := r.ResourceManager.OpenStream(id, dir)
	if err != nil || dir == network.DirOutbound {
		return s, err
	}
	return stream{s, id, r.door}, nil
}

type stream struct {
	network.StreamManagementScope
	id   peer.ID
	door *gater
}

func (s stream) SetProtocol(proto protocol.ID) error {
	if err := s.door.admits(s.id, proto, network.DirInbound); err != nil {
		return fmt.Errorf("%s to %s: %w", proto, s.id, err)
	}
	return s.StreamManagementScope.SetProtocol(proto)
}
