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
// named its protocol. A new connection may do the handshake, redeem an invitation, and run identify for
// handshakeTimeout; after that the peer is authorized or disconnected.
type gater struct {
	cluster    *cluster.Cluster
	self       peer.ID
	now        func() time.Time
	disconnect func(peer.ID) // closes the connections to a peer, asynchronously

	mu         sync.Mutex
	policy     Policy
	dids       map[job.DID]bool
	ids        map[peer.ID]bool
	providers  map[peer.ID]bool       // peers that the owner told this node to connect to
	candidates map[peer.ID]int        // candidates, with their number of attempts
	peers      map[peer.ID]*peerState // connected peers
}

// peerState is the state of a connected peer.
type peerState struct {
	since         time.Time
	conns         int           // number of connections
	handshakeDone chan struct{} // closed when the first handshake is over, with or without success
	once          sync.Once
	refused       string // the peer's reason for refusing this node; "": it does not
	lastHandshake time.Time
	rtt           time.Duration
	outbound      bool // this node dialed the peer on at least one connection
	wasMember     bool // the peer was a member at its handshake
	evicted       bool // it is being disconnected to make room for another unknown peer
	streams       bucket
}

func (c *peerState) finishHandshake() { c.once.Do(func() { close(c.handshakeDone) }) }

func (c *peerState) handshakeFinished() bool {
	select {
	case <-c.handshakeDone:
		return true
	default:
		return false
	}
}

// Limits of the gater.
const (
	handshakeTimeout = 10 * time.Second
	maxUnknown       = 64              // connected peers that are not authorized yet
	unknownGrace     = 2 * time.Second // time that such a peer has for its handshake while others wait for a place
	maxCandidates    = 8
)

func newGater(self peer.ID, f *cluster.Cluster, now func() time.Time, policy Policy) (*gater, error) {
	d := &gater{cluster: f, self: self, now: now, providers: map[peer.ID]bool{}, candidates: map[peer.ID]int{}, peers: map[peer.ID]*peerState{}}
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

// addProvider makes id a provider: the owner told this node to connect to it.
func (d *gater) addProvider(id peer.ID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.providers[id] = true
}

// addCandidate makes id a candidate until removeCandidate is called. It reports false if id is a candidate already or
// there are too many.
func (d *gater) addCandidate(id peer.ID) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.candidates[id] > 0 || len(d.candidates) >= maxCandidates {
		return false
	}
	d.candidates[id] = 1
	return true
}

// addIssuer makes id a candidate until removeCandidate is called: the owner has a token that id issued.
func (d *gater) addIssuer(id peer.ID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.candidates[id]++
}

func (d *gater) removeCandidate(id peer.ID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.candidates[id]--; d.candidates[id] <= 0 {
		delete(d.candidates, id)
	}
}

// addConn records a new connection.
func (d *gater) addConn(id peer.ID, outward bool) *peerState {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.peers[id]
	if c == nil {
		c = &peerState{since: d.now(), handshakeDone: make(chan struct{}), streams: bucket{rate: 5, burst: 40}}
		d.peers[id] = c
	}
	c.conns++
	c.outbound = c.outbound || outward
	return c
}

// removeConn records the end of a connection, and reports whether it was the last. Connections are counted because
// libp2p may report the end of one after it has made another.
func (d *gater) removeConn(id peer.ID) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.peers[id]
	if c == nil {
		return false
	}
	if c.conns--; c.conns > 0 {
		return false
	}
	c.finishHandshake()
	delete(d.peers, id)
	return true
}

func (d *gater) peer(id peer.ID) *peerState {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.peers[id]
}

// update runs f on the state of id, if it is connected, with the lock held.
func (d *gater) update(id peer.ID, f func(*peerState)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if c := d.peers[id]; c != nil {
		f(c)
	}
}

// refusal returns the reason for which c refuses this node, "" if it does not. The reason stays available after the
// connection has ended.
func (d *gater) refusal(c *peerState) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return c.refused
}

// takeStream reports whether id is within its rate limit for streams of this package's protocols.
func (d *gater) takeStream(id peer.ID) bool {
	c := d.peer(id)
	return c != nil && c.streams.take(d.now())
}

// connected returns the connected peers, with a copy of the state of each.
func (d *gater) connected() map[peer.ID]peerSnapshot {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := make(map[peer.ID]peerSnapshot, len(d.peers))
	for id, c := range d.peers {
		all[id] = peerSnapshot{c.since, c.lastHandshake, c.rtt, c.outbound, c.wasMember, c.evicted, c.handshakeFinished()}
	}
	return all
}

type peerSnapshot struct {
	since, lastHandshake                        time.Time
	rtt                                         time.Duration
	outbound, wasMember, evicted, handshakeDone bool
}

// checkKey returns an error when no connection with id is allowed in either direction: its key has no DID, and the
// owner has not listed the id. Libp2p itself accepts a key under which one signature is valid for any handshake.
func (d *gater) checkKey(id peer.ID) error {
	_, err := DIDOf(id)
	if err != nil && d.hasRelation(id, "", Content) {
		return nil
	}
	return err
}

// InterceptPeerDial allows dials only to peers that have that right: neither libp2p nor a message chooses which peers
// this node connects to.
func (d *gater) InterceptPeerDial(id peer.ID) bool {
	return d.checkKey(id) == nil && d.allows(id, BeDialed)
}

// InterceptAddrDial is part of connmgr.ConnectionGater.
func (d *gater) InterceptAddrDial(peer.ID, ma.Multiaddr) bool { return true }

// InterceptAccept is part of connmgr.ConnectionGater; the resource manager limits inbound connections.
func (d *gater) InterceptAccept(network.ConnMultiaddrs) bool { return true }

// InterceptSecured refuses a peer without a valid key, and limits peers that are not authorized to maxUnknown. At
// the limit the oldest of them is disconnected to make room for the next; while all are younger than unknownGrace, the
// next one is refused. Silent peers keep others out only by reconnecting that often. A revoked member counts as not
// authorized: it may have been invited again, and proves that in its handshake.
func (d *gater) InterceptSecured(dir network.Direction, id peer.ID, _ network.ConnMultiaddrs) bool {
	if d.checkKey(id) != nil {
		return false
	}
	if dir == network.DirOutbound || d.allows(id, StayConnected) {
		return true
	}
	var first peer.ID
	count, since := 0, d.now().Add(-unknownGrace)
	for other, c := range d.connected() {
		if c.evicted || d.allows(other, StayConnected) {
			continue
		}
		count++
		if c.since.Before(since) {
			first, since = other, c.since
		}
	}
	if count < maxUnknown {
		return true
	}
	if first == "" {
		return false
	}
	d.update(first, func(c *peerState) { c.evicted = true })
	d.disconnect(first)
	return true
}

// InterceptUpgraded is part of connmgr.ConnectionGater.
func (d *gater) InterceptUpgraded(network.Conn) (bool, control.DisconnectReason) { return true, 0 }

// gatedResources is a resource manager that asks the gater when an inbound stream has named its protocol, before the
// protocol's handler runs.
type gatedResources struct {
	network.ResourceManager
	gater *gater
}

func (r gatedResources) OpenStream(id peer.ID, dir network.Direction) (network.StreamManagementScope, error) {
	s, err := r.ResourceManager.OpenStream(id, dir)
	if err != nil || dir == network.DirOutbound {
		return s, err
	}
	return gatedStream{s, id, r.gater}, nil
}

type gatedStream struct {
	network.StreamManagementScope
	id    peer.ID
	gater *gater
}

func (s gatedStream) SetProtocol(proto protocol.ID) error {
	if err := s.gater.admits(s.id, proto, network.DirInbound); err != nil {
		return fmt.Errorf("accept stream %s from peer %s: %w", proto, s.id, err)
	}
	return s.StreamManagementScope.SetProtocol(proto)
}
