package host

import (
	"fmt"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/ipfs-liftoff/liftoff/job"
)

// stands reports whether id stands in relation r, by the cluster and the policy as they are
// now. did is the key of id, "" if it is not of Ed25519.
func (d *gater) stands(id peer.ID, did job.DID, r Relation) bool {
	switch r {
	case Owner:
		return id == d.self
	case Member:
		if did == "" || id == d.self {
			return false
		}
		_, err := d.cluster.Check(did, d.now())
		return err == nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	switch r {
	case Granted:
		return did != "" && d.dids[did]
	case Provider:
		return d.dialed[id]
	case Content:
		return d.ids[id]
	case OpenPeer:
		return d.policy.Open && did != "" && id != d.self
	case Candidate:
		return d.trying[id] > 0
	}
	return false
}

// relations returns the relations that id stands in, the closest first.
func (d *gater) relations(id peer.ID) (all []Relation) {
	did, _ := DIDOf(id) // one without an Ed25519 key can be a content peer alone
	for _, r := range relations {
		if d.stands(id, did, r) {
			all = append(all, r)
		}
	}
	return all
}

// relation returns the closest relation that id stands in.
func (d *gater) relation(id peer.ID) Relation {
	did, _ := DIDOf(id)
	for _, r := range relations {
		if d.stands(id, did, r) {
			return r
		}
	}
	return Unknown
}

// rights returns the closest relation that id stands in, and what all of them allow.
func (d *gater) rights(id peer.ID) (closest Relation, all Action) {
	for _, r := range d.relations(id) {
		if closest == Unknown {
			closest = r
		}
		all |= r.rights()
	}
	return closest, all
}

// allows reports whether a relation that id stands in allows one of the actions.
func (d *gater) allows(id peer.ID, anyOf ...Action) bool {
	did, _ := DIDOf(id)
	for _, r := range relations {
		for _, a := range anyOf {
			if Allows(r, a) && d.stands(id, did, r) {
				return true
			}
		}
	}
	return false
}

// Relation returns the closest relation that the peer id stands in, now.
func (p *Peer) Relation(id peer.ID) Relation { return p.door.relation(id) }

// RelationFor returns the closest relation of the peer id that allows a; Unknown if none
// does.
func (p *Peer) RelationFor(id peer.ID, a Action) Relation {
	for _, r := range p.door.relations(id) {
		if Allows(r, a) {
			return r
		}
	}
	return Unknown
}

// Allows reports whether the peer id may take part in action a, now.
func (p *Peer) Allows(id peer.ID, a Action) bool { return p.door.allows(id, a) }

// AnyConnected reports whether a connected peer may take part in action a.
func (p *Peer) AnyConnected(a Action) bool {
	for _, id := range p.raw.Network().Peers() {
		if p.door.allows(id, a) {
			return true
		}
	}
	return false
}

// DeniedError says that a peer's relation does not allow an action.
type DeniedError struct {
	ID       peer.ID
	Relation Relation // its closest
	Action   Action
}

func (e *DeniedError) Error() string {
	if e.Relation == Unknown {
		return fmt.Sprintf("%s is unknown here: it may not %s", e.ID, e.Action)
	}
	return fmt.Sprintf("%s is %s here: it may not %s", e.ID, e.Relation, e.Action)
}
