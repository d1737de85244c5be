package host

import (
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ipfs-liftoff/liftoff/host/cluster"
	"github.com/ipfs-liftoff/liftoff/job"
)

// Config configures a Peer. The zero value of each field is its default; only Dir and Identity have no default.
type Config struct {
	Dir      string           // the repo, which holds the address book
	Identity Identity         // from LoadIdentity
	Cluster  *cluster.Cluster // from cluster.Open; nil: no cluster, and none can be joined

	Listen   []string // multiaddrs; nil: DefaultListen
	NoListen bool     // an ephemeral peer: it dials and does not listen
	// Announce replaces the addresses that are announced to other peers: the public addresses of a machine behind
	// port forwarding.
	Announce []string
	MDNS     bool // discover members of the cluster on the local network
	Relay    bool // relay connections between members that cannot reach each other
	// Reachability, "public" or "private", overrides what AutoNAT detects. A relay is always public.
	Reachability string

	Policy   Policy
	MaxPeers int   // the connection manager trims connections to it; 0: 128
	Memory   int64 // limit in bytes for libp2p; 0: half of the machine's memory

	// Bids reports whether this node would bid for the announced job: only then it answers. It is called from one
	// goroutine and takes under a millisecond. nil: this node never answers.
	Bids func(job.Announce) bool
	// Changed is called, at most once per 100 ms and from one goroutine, after peers connected, disconnected or sent
	// something new. nil: no callback.
	Changed func()

	Log        *slog.Logger          // nil: nothing is logged
	Registerer prometheus.Registerer // for libp2p's own metrics; nil: none
	Now        func() time.Time      // nil: time.Now
}

// Policy says which peers outside the cluster have which Relation.
type Policy struct {
	AllowDIDs  []job.DID // granted peers
	AllowPeers []string  // libp2p peer ids of content peers
	Open       bool      // every peer is an open peer
}

// DefaultPort is the TCP and UDP port that a peer listens on.
const DefaultPort = 4017

// DefaultListen is the default of Config.Listen.
var DefaultListen = []string{
	"/ip4/0.0.0.0/tcp/4017", "/ip4/0.0.0.0/udp/4017/quic-v1",
	"/ip6/::/tcp/4017", "/ip6/::/udp/4017/quic-v1",
}

const defaultMaxPeers = 128

func (c Config) withDefaults() Config {
	if c.Listen == nil {
		c.Listen = DefaultListen
	}
	if c.NoListen {
		c.Listen = nil
	}
	if c.MaxPeers == 0 {
		c.MaxPeers = defaultMaxPeers
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}
