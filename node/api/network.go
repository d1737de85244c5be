package api

import (
	"context"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/job"
)

// Peers lists and connects other nodes. A node without a network answers every call of this
// interface with an *Error of CodeConflict that says so.
type Peers interface {
	// Self returns this node as other peers see it, with the addresses that it listens on.
	Self(ctx context.Context) (Peer, error)
	Peers(ctx context.Context) ([]Peer, error) // by DID: the connected peers, and those with a recent hint
	// Connect dials one multiaddr that ends in /p2p/PEER_ID.
	Connect(ctx context.Context, addr string) (Peer, error)
}

// Peer is another node as this node sees it.
type Peer struct {
	DID       string        `json:"did"`
	PeerID    string        `json:"peer_id"`
	Role      string        `json:"role"` // "admin", "member", "self", or its closest relation: "granted", "provider", "content", "open"
	Addrs     []string      `json:"addrs,omitempty"`
	Connected bool          `json:"connected"`
	Relayed   bool          `json:"relayed,omitempty"` // every connection uses a relay
	RTT       time.Duration `json:"rtt_ns,omitempty"`  // round-trip time; zero: not measured
	Seen      time.Time     `json:"seen,omitzero"`     // time of its last hint
	Capacity  *Capacity     `json:"capacity,omitempty"`
}

// Capacity is what a peer can run, and how much of it is free.
type Capacity struct {
	Engines    []string          `json:"engines,omitempty"` // the ABIs that it runs; empty for a peer that only stores
	Arch       string            `json:"arch,omitempty"`
	Version    string            `json:"version,omitempty"`   // of liftoff
	Labels     map[string]string `json:"labels,omitempty"`    // matched by --need and --prefer
	FuelRate   uint64            `json:"fuel_rate,omitempty"` // fuel per second of one slot, measured by the peer itself
	Slots      int               `json:"slots"`               // jobs that run at the same time
	FreeSlots  int               `json:"free_slots"`
	Memory     int64             `json:"memory"`             // bytes for guests
	FreeMemory int64             `json:"free_memory"`        // bytes
	Queue      time.Duration     `json:"queue_ns,omitempty"` // until a new job would start
	Limits     job.Limits        `json:"limits"`             // the maximum that a job may request
}

// Cluster manages the set of nodes that work for one another. A node is in at most one cluster.
type Cluster interface {
	Cluster(ctx context.Context) (ClusterInfo, error) // CodeMissing when this node is in no cluster
	// InitCluster creates a cluster with this node as its first admin.
	InitCluster(ctx context.Context) (ClusterInfo, error)
	// Invite returns a join token, one line of text. Only an admin can invite; others get
	// CodeDenied.
	Invite(ctx context.Context, i Invitation) (token string, err error)
	// JoinCluster redeems a join token at one of the peers that it names.
	JoinCluster(ctx context.Context, token string) (ClusterInfo, error)
	Members(ctx context.Context) ([]Member, error) // by DID
	// Revoke ends the membership of a node and closes its connections. Only an admin can revoke.
	Revoke(ctx context.Context, did string) error
}

// ClusterInfo describes a cluster and the role of this node in it.
type ClusterInfo struct {
	DID     string    `json:"did"` // of the cluster key
	Role    string    `json:"role"`
	Expires time.Time `json:"expires,omitzero"` // end of this node's membership
}

// Invitation describes a join token.
type Invitation struct {
	Uses  int           `json:"uses,omitempty"`  // how often it can be redeemed; zero: once
	Valid time.Duration `json:"valid_ns"`        // zero: 24 hours
	Role  string        `json:"role,omitempty"`  // RoleMember when empty, or RoleAdmin
	Addrs []string      `json:"addrs,omitempty"` // multiaddrs at which to redeem it; empty: the addresses that this node listens on
}

// Member is one node of a cluster.
type Member struct {
	DID     string    `json:"did"`
	Role    string    `json:"role"`
	Issued  time.Time `json:"issued"`
	Expires time.Time `json:"expires"`
	Revoked bool      `json:"revoked,omitempty"`
	Self    bool      `json:"self,omitempty"`
}

// The roles of cluster members.
const (
	RoleAdmin  = "admin" // invites, renews and revokes
	RoleMember = "member"
)

// Publishing controls which data is served to peers that are not members. Members of the cluster
// get any block except those of Tasks, Outcomes and Receipts. Non-members get only what is below a
// published root.
type Publishing interface {
	// Publish serves root and everything below it. CodeMissing when root is not in the repo.
	Publish(ctx context.Context, root cid.Cid) error
	Unpublish(ctx context.Context, root cid.Cid) error // CodeMissing when it is not published
	Published(ctx context.Context) ([]Publication, error)
}

// Publication is a published root.
type Publication struct {
	Root cid.Cid   `json:"cid"`
	At   time.Time `json:"published"` // when it was published
}
