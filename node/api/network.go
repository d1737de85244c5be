package api

import (
	"context"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/job"
)

// Peers knows the other nodes. A node without a network answers every call of this
// interface with an *Error of CodeUsage that says so.
type Peers interface {
	// Self returns this node as others see it, with the addresses that it listens on.
	Self(ctx context.Context) (Peer, error)
	Peers(ctx context.Context) ([]Peer, error) // by DID; those connected, and those of whom a fresh hint is known
	// Connect dials one multiaddr that ends in /p2p/ID.
	Connect(ctx context.Context, addr string) (Peer, error)
}

// Peer is a node as this one knows it.
type Peer struct {
	DID       string        `json:"did"`
	PeerID    string        `json:"peer_id"`
	Role      string        `json:"role"` // "admin", "member", "self", or its closest relation: "granted", "provider", "content", "open"
	Addrs     []string      `json:"addrs,omitempty"`
	Connected bool          `json:"connected"`
	Relayed   bool          `json:"relayed,omitempty"` // every connection goes through a relay
	RTT       time.Duration `json:"rtt_ns,omitempty"`  // zero: not measured
	Seen      time.Time     `json:"seen,omitzero"`     // when its last hint came
	Capacity  *Capacity     `json:"capacity,omitempty"`
}

// Capacity is what a peer can run, and how much of it is free.
type Capacity struct {
	Engines    []string          `json:"engines,omitempty"` // the ABIs that it runs; none for a store alone
	Arch       string            `json:"arch,omitempty"`
	Version    string            `json:"version,omitempty"`   // of liftoff
	Labels     map[string]string `json:"labels,omitempty"`    // what --need and --prefer match
	FuelRate   uint64            `json:"fuel_rate,omitempty"` // a second, measured by itself
	Slots      int               `json:"slots"`
	FreeSlots  int               `json:"free_slots"`
	Memory     int64             `json:"memory"` // bytes for guests
	FreeMemory int64             `json:"free_memory"`
	Queue      time.Duration     `json:"queue_ns,omitempty"` // until a job that comes now would start
	Limits     job.Limits        `json:"limits"`             // the most that a job may ask for
}

// Cluster is the circle of nodes that work for one another. A node is in one at most.
type Cluster interface {
	Cluster(ctx context.Context) (ClusterInfo, error) // CodeMissing when this node is in none
	// InitCluster makes a new one, of which this node is the first admin.
	InitCluster(ctx context.Context) (ClusterInfo, error)
	// Invite returns a token, one line of text, with which others join. Only an admin can.
	Invite(ctx context.Context, i Invitation) (token string, err error)
	// JoinCluster redeems a token at one of the peers that it names.
	JoinCluster(ctx context.Context, token string) (ClusterInfo, error)
	Members(ctx context.Context) ([]Member, error) // by DID
	// Revoke puts a member out and cuts its connections. Only an admin can.
	Revoke(ctx context.Context, did string) error
}

// ClusterInfo is a cluster and this node's part in it.
type ClusterInfo struct {
	DID     string    `json:"did"` // of the cluster's key
	Role    string    `json:"role"`
	Expires time.Time `json:"expires,omitzero"` // of this node's membership
}

// Invitation says what a token is good for.
type Invitation struct {
	Uses  int           `json:"uses,omitempty"`  // how often it can be redeemed; zero: once
	Valid time.Duration `json:"valid_ns"`        // zero: 24 hours
	Role  string        `json:"role,omitempty"`  // RoleMember when empty, or RoleAdmin
	Addrs []string      `json:"addrs,omitempty"` // where to redeem it; none: where this node listens
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

// The roles of a cluster's members.
const (
	RoleAdmin  = "admin" // invites, renews and revokes
	RoleMember = "member"
)

// Publishing says which data goes to peers that are listed and are no members. Members
// of the cluster get any block but those of Tasks, Outcomes and Receipts; all else is
// below a published root.
type Publishing interface {
	// Publish serves root and all below it. CodeMissing when root is not here.
	Publish(ctx context.Context, root cid.Cid) error
	Unpublish(ctx context.Context, root cid.Cid) error // CodeMissing when it is not published
	Published(ctx context.Context) ([]Publication, error)
}

// Publication is a root that is served.
type Publication struct {
	Root cid.Cid   `json:"cid"`
	At   time.Time `json:"published"`
}
