package host

import "slices"

// Relation is what a peer is to this node. A peer can have several relations, and has the rights of each.
type Relation string

// The relations. standing.go decides which of them a peer has.
const (
	Unknown   Relation = ""          // the zero value: every other peer
	Candidate Relation = "candidate" // may turn out to be a member: found by mDNS, or the issuer of a token that is being redeemed
	Content   Relation = "content"   // in Policy.AllowPeers: an IPFS node to exchange blocks with
	Provider  Relation = "provider"  // the owner told this node to connect to it
	OpenPeer  Relation = "open"      // any peer, under Policy.Open
	Granted   Relation = "granted"   // in Policy.AllowDIDs
	Member    Relation = "member"    // a member of the same cluster
	Owner     Relation = "owner"     // this node
)

// relations lists every relation but Unknown, the closest first.
var relations = [...]Relation{Owner, Member, Granted, Provider, Content, OpenPeer, Candidate}

// Relations returns every relation but Unknown, the closest first.
func Relations() []Relation { return slices.Clone(relations[:]) }

// Action is something that a peer does at this node, or that this node does with a peer. Each is one bit; no peer has
// the right to the zero Action.
type Action uint16

// The actions.
const (
	StayConnected    Action = 1 << iota // keep a connection after the handshake, and be listed as a peer
	SendJobs                            // have jobs run here; then this node fetches the inputs of those jobs from it, and no other blocks
	ReceiveJobs                         // be asked for bids for this node's own jobs, and run them; then it may fetch the inputs of those jobs
	BeAsked                             // be asked for blocks, which reveals their CIDs to it
	ReceivePublished                    // fetch blocks below published roots, by exchange or as inputs of its jobs
	ReceiveBlocks                       // fetch all blocks except private records, likewise
	BeCounted                           // have its capacity stored and listed
	BeDialed                            // be dialed, at addresses that it may have chosen itself
	JoinGossip                          // exchange what the cluster tells its members: hints, announcements, addresses, revocations
	UseRelay                            // relay connections, be relayed, and have its reachability tested
	FullLimits                          // the limits --max-* instead of --open-*, and the reserved share of streams
)

// Actions lists every action.
func Actions() []Action {
	return []Action{
		StayConnected, SendJobs, ReceiveJobs, BeAsked, ReceivePublished, ReceiveBlocks, BeCounted, BeDialed, JoinGossip, UseRelay, FullLimits,
	}
}

var actionNames = map[Action]string{
	StayConnected: "stay connected", SendJobs: "send jobs", ReceiveJobs: "receive jobs", BeAsked: "be asked for blocks",
	ReceivePublished: "receive published blocks", ReceiveBlocks: "receive other blocks", BeCounted: "be counted",
	BeDialed: "be dialed", JoinGossip: "join gossip", UseRelay: "use relays", FullLimits: "use full limits",
}

func (a Action) String() string { return actionNames[a] }

// rights returns the rights of r: its row in the table of docs/protocol.md, which has the reason for each cell. A
// relation without a row here has no rights.
func (r Relation) rights() Action {
	switch r {
	case Candidate:
		return BeDialed
	case Content:
		return StayConnected | BeAsked | ReceivePublished
	case Provider:
		return StayConnected | ReceiveJobs | BeAsked | BeCounted | BeDialed
	case OpenPeer, Granted:
		return StayConnected | SendJobs | ReceivePublished
	case Member:
		return StayConnected | SendJobs | ReceiveJobs | BeAsked | ReceivePublished | ReceiveBlocks |
			BeCounted | BeDialed | JoinGossip | UseRelay | FullLimits
	case Owner:
		return SendJobs | ReceiveJobs | ReceivePublished | ReceiveBlocks | FullLimits
	}
	return 0
}

// Allows reports whether a peer of relation r has the right to every action in a. Rights are decided only here.
func Allows(r Relation, a Action) bool { return a != 0 && r.rights()&a == a }
