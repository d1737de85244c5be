package host

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/ipfs-liftoff/liftoff/host/cluster"
	"github.com/ipfs-liftoff/liftoff/job"
)

// Peer is a repo on the network. Its methods may be called from several goroutines.
type Peer struct {
	cfg     Config
	id      peer.ID
	cluster *cluster.Cluster // never nil: an empty one if the Config has none
	door    *gater
	raw     host.Host // libp2p's, for what is spoken before a peer is admitted
	host    host.Host // what others get: it waits at the door
	table   *table
	gossip  *gossip
	book    *addressBook

	ctx    context.Context // until Close
	cancel context.CancelCauseFunc
	tasks  sync.WaitGroup // every goroutine of the Peer
	kick   chan struct{}  // wakes the goroutine that keeps up connections
	news   chan struct{}  // wakes the one that calls Config.Changed

	refusals bucket // that are logged

	mu      sync.Mutex
	mdns    io.Closer // nil: it does not look around
	own     ownCapacity
	joining map[peer.ID]int // whom this peer wants a membership of
	renewal time.Time       // no admin is asked for one before
	closing bool
}

// PeerInfo is what is known of a peer.
type PeerInfo struct {
	ID            peer.ID
	DID           job.DID
	Addrs         []string // multiaddrs, without the peer id
	Connected     bool
	HandshakeDone bool          // connected, and each has told the other of whom it knows
	Relayed       bool          // all its connections run over a relay
	RTT           time.Duration // the last that was measured, about once a minute; 0: unknown
	Relation      Relation      // the closest
	Rights        Action        // what its relations allow together; see Allows
	Role          job.Role      // of a member
	Capacity      *job.Capacity // nil: unknown, or not counted; not to be changed
	Hint          *job.Hint     // nil: none in the last 100 s
	HintAge       time.Duration // since it was received
	LastSeen      time.Time     // when something came from it last
	Unreachable   error         // of the last try to dial it; nil: it was not tried, or reached
}

// Allows reports whether the peer could take part in action a when it was listed.
func (i PeerInfo) Allows(a Action) bool { return a != 0 && i.Rights&a == a }

// ErrClosed is the cause when a Peer was closed.
var ErrClosed = errors.New("the peer is closed")

// ID returns the libp2p peer id.
func (p *Peer) ID() peer.ID { return p.id }

// DID returns the repo's did:key.
func (p *Peer) DID() job.DID { return p.cfg.Identity.DID }

// Cluster returns what the repo knows of its cluster.
func (p *Peer) Cluster() *cluster.Cluster { return p.cluster }

// Libp2p returns the libp2p host for further protocols. It is libp2p's own, but that a
// new stream waits until the peer is admitted; a stream of a peer that is not, or not to
// that protocol, never reaches its handler.
func (p *Peer) Libp2p() host.Host { return p.host }

// connected reports whether there is a connection to id, be it over a relay.
func (p *Peer) connected(id peer.ID) bool {
	c := p.raw.Network().Connectedness(id)
	return c == network.Connected || c == network.Limited
}
