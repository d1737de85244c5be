package host

import (
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ipfs-liftoff/liftoff/host/cluster"
	"github.com/ipfs-liftoff/liftoff/job"
)

// Config says how a repo is a peer. The zero value of each field is its default; only
// Dir and Identity have none.
type Config struct {
	Dir      string           // the repo: known addresses are kept in it
	Identity Identity         // from LoadIdentity
	Cluster  *cluster.Cluster // from cluster.Open; nil: none, and none can be joined

	Listen   []string // multiaddrs; nil: DefaultListen
	NoListen bool     // a peer for the time of one job: it dials and is not dialed
	// Announce replaces the addresses that others are told: of a machine behind a port
	// forwarding, its outer ones.
	Announce []string
	MDNS     bool // look for members of the cluster on the local network
	Relay    bool // carry connections between members that cannot reach each other
	// Reachability, "public" or "private", replaces what AutoNAT finds out. A relay is
	// always public.
	Reachability string

	Policy   Policy
	MaxPeers int   // connections are trimmed to it; 0: 128
	Memory   int64 // bytes that connections may take; 0: half of the machine's

	// Bids reports whether this peer would bid for what was announced: only then it
	// answers. It is called from one goroutine and takes under a millisecond. nil: never.
	Bids func(job.Announce) bool
	// Changed is called, at most once per 100 ms and from one goroutine, after peers came,
	// went, or said something new. nil: nobody listens.
	Changed func()

	Log        *slog.Logger          // nil: nothing is logged
	Registerer prometheus.Registerer // of libp2p's own figures; nil: none
	Now        func() time.Time      // nil: time.Now
}

// Policy says which peers besides the members of its cluster stand in which Relation.
type Policy struct {
	AllowDIDs  []job.DID // granted peers
	AllowPeers []string  // libp2p peer ids of content peers
	Open       bool      // every peer is an open one
}

// DefaultPort is the one port, of TCP and of UDP, that a peer listens on.
const DefaultPort = 4017

// DefaultListen is what a Config without Listen listens on.
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
