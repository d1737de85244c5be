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

// Peer is a repo on the network. Its methods may be called concurrently.
type Peer struct {
	cfg      Config
	id       peer.ID
	cluster  *cluster.Cluster // never nil: empty without a Config.Cluster
	gater    *gater
	raw      host.Host // the libp2p host, for the protocols that authorize a peer
	host     host.Host // for other protocols: it waits for the handshake and asks the gater
	table    *table
	gossip   *gossip
	addrBook *addressBook

	ctx     context.Context // until Close
	cancel  context.CancelCauseFunc
	tasks   sync.WaitGroup // counts every goroutine of the Peer
	dialNow chan struct{}  // wakes dialLoop
	changes chan struct{}  // wakes the goroutine that calls Config.Changed

	refusals bucket // limits the refusals that are logged

	mu      sync.Mutex
	mdns    io.Closer // nil: mDNS is not running
	own     ownCapacity
	joining map[peer.ID]int // admins that this node is requesting a membership from
	renewal time.Time       // no admin is asked for a membership before
	closing bool
}

// PeerInfo describes a known peer.
type PeerInfo struct {
	ID            peer.ID
	DID           job.DID
	Addrs         []string // multiaddrs, without the peer id
	Connected     bool
	HandshakeDone bool          // connected, and the first handshake is done
	Relayed       bool          // all its connections run over a relay
	RTT           time.Duration // last measured round-trip time, about once a minute; 0: unknown
	Relation      Relation      // the closest
	Rights        Action        // the rights of all its relations; see Allows
	Role          job.Role      // of a member
	Capacity      *job.Capacity // nil: unknown, or not counted; read-only
	Hint          *job.Hint     // nil: none in the last 100 s
	HintAge       time.Duration // time since the hint was received
	LastSeen      time.Time     // time of the last message from the peer
	Unreachable   error         // result of the last dial; nil: not tried, or connected
}

// Allows reports whether the peer had the right to every action in a when it was listed.
func (i PeerInfo) Allows(a Action) bool { return a != 0 && i.Rights&a == a }

// ErrClosed is the cause of contexts that end with Close.
var ErrClosed = errors.New("network of this node is closed")

// ID returns the libp2p peer id.
func (p *Peer) ID() peer.ID { return p.id }

// DID returns the did:key of the repo.
func (p *Peer) DID() job.DID { return p.cfg.Identity.DID }

// Cluster returns the repo's state of its cluster.
func (p *Peer) Cluster() *cluster.Cluster { return p.cluster }

// Libp2p returns the host on which other protocols run. It is libp2p's host with two changes: a new stream waits
// until the handshake is over, and an inbound stream that the gater does not allow never reaches its handler.
func (p *Peer) Libp2p() host.Host { return p.host }

// connected reports whether there is a connection to id, direct or relayed.
func (p *Peer) connected(id peer.ID) bool {
	c := p.raw.Network().Connectedness(id)
	return c == network.Connected || c == network.Limited
}
