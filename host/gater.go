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

// door decides who may speak to this peer, and of what. Libp2p asks it at three places:
// before a peer is dialed, when one has proven its key, and when a stream of one has
// named its protocol. Who has just come may greet, redeem an invitation, and be
// identified, for as long as a greeting may take; then it is somebody or it is cut.
type gater struct {
	cluster *cluster.Cluster
	self    peer.ID
	now     func() time.Time
	cut     func(peer.ID) // ends the connections to a peer, soon

	mu      sync.Mutex
	policy  Policy
	dids    map[job.DID]bool
	ids     map[peer.ID]bool
	dialed  map[peer.ID]bool    // whom the owner told this peer to connect to
	trying  map[peer.ID]int     // candidates, and by how many attempts
	callers map[peer.ID]*caller // who is connected
}

// caller is a connected peer.
type caller struct {
	since   time.Time
	conns   int           // connections to it
	greeted chan struct{} // closed when the first greeting is over, however it ended
	once    sync.Once
	refused string // why it refuses this peer; "": it does not
	spoke   time.Time
	rtt     time.Duration
	outward bool // this peer dialed it, be it as well
	member  bool // it was a member when it was greeted
	leaving bool // it was cut for another stranger
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

// Bounds of the door.
const (
	greetTimeout = 10 * time.Second
	maxNobodies  = 64              // connected at once without being anybody yet
	nobodysTime  = 2 * time.Second // that one has for itself when others wait for a place
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
			return fmt.Errorf("allow a did: %w", err)
		}
		dids[did] = true
	}
	for _, s := range p.AllowPeers {
		id, err := ParsePeer(s)
		if err != nil {
			return fmt.Errorf("allow the peer %.60q: %w", s, err)
		}
		ids[id] = true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.policy, d.dids, d.ids = p, dids, ids
	return nil
}

// toldTo makes id one that the owner told this peer to connect to.
func (d *gater) toldTo(id peer.ID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dialed[id] = true
}

// try makes id a candidate until tried is called, and reports whether that is new and not
// too much.
func (d *gater) try(id peer.ID) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.trying[id] > 0 || len(d.trying) >= maxTrying {
		return false
	}
	d.trying[id] = 1
	return true
}

// invited makes id a candidate until tried is called: the owner has a token of it.
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

// arrived notes a connection.
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

// left notes the end of a connection, and reports whether it was the last. They are
// counted: libp2p may tell of the end of one after another was made.
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

// change runs f on the caller id, if it is connected, with the door locked.
func (d *gater) change(id peer.ID, f func(*caller)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if c := d.callers[id]; c != nil {
		f(c)
	}
}

// refusal returns why c refuses this peer, "" if it does not. It is known even when the
// connection is gone.
func (d *gater) refusal(c *caller) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return c.refused
}

// within reports whether id has not yet opened too many streams of this package's
// protocols.
func (d *gater) within(id peer.ID) bool {
	c := d.caller(id)
	return c != nil && c.streams.take(d.now())
}

// connected returns who is, with a copy of what is known of each.
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

// hasKey reports why there can be no connection to id, or from it: its key names no DID, and
// the owner has not listed the id. Libp2p itself takes a key under which one signature fits
// any handshake.
func (d *gater) hasKey(id peer.ID) error {
	_, err := DIDOf(id)
	if err != nil && d.stands(id, "", Content) {
		return nil
	}
	return err
}

// InterceptPeerDial lets only a peer be dialed that may be: neither libp2p nor a message
// chooses which peer this node speaks to.
func (d *gater) InterceptPeerDial(id peer.ID) bool {
	return d.hasKey(id) == nil && d.allows(id, BeDialed)
}

// InterceptAddrDial is part of connmgr.ConnectionGater.
func (d *gater) InterceptAddrDial(peer.ID, ma.Multiaddr) bool { return true }

// InterceptAccept is part of connmgr.ConnectionGater; the resource manager bounds what
// is accepted.
func (d *gater) InterceptAccept(network.ConnMultiaddrs) bool { return true }

// InterceptSecured refuses a peer without a valid key, and bounds strangers to maxNobodies: the one that came first gives way to the
// next, or that one is cut while all are new. So who holds places and says nothing keeps
// others out only by coming again as often as that. A member that was revoked is a stranger:
// it may have been invited anew, and shows that when it greets.
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

// resources is a resource manager that asks the door when a stream of a peer has named
// its protocol, before the protocol's handler sees it.
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
