package host

import (
	"fmt"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/ipfs-liftoff/liftoff/job"
)

// hasRelation reports whether id has relation r, by the current cluster and policy. did is the DID of id, "" if its
// key is not an Ed25519 key.
func (d *gater) hasRelation(id peer.ID, did job.DID, r Relation) bool {
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
		return d.providers[id]
	case Content:
		return d.ids[id]
	case OpenPeer:
		return d.policy.Open && did != "" && id != d.self
	case Candidate:
		return d.candidates[id] > 0
	}
	return false
}

// relations returns the relations of id, the closest first.
func (d *gater) relations(id peer.ID) (all []Relation) {
	did, _ := DIDOf(id) // a peer without an Ed25519 key can only be a content peer
	for _, r := range relations {
		if d.hasRelation(id, did, r) {
			all = append(all, r)
		}
	}
	return all
}

// relation returns the closest relation of id.
func (d *gater) relation(id peer.ID) Relation {
	did, _ := DIDOf(id)
	for _, r := range relations {
		if d.hasRelation(id, did, r) {
			return r
		}
	}
	return Unknown
}

// rights returns the closest relation of id, and the rights of all its relations.
func (d *gater) rights(id peer.ID) (closest Relation, all Action) {
	for _, r := range d.relations(id) {
		if closest == Unknown {
			closest = r
		}
		all |= r.rights()
	}
	return closest, all
}

// allows reports whether a relation of id gives the right to one of the actions.
func (d *gater) allows(id peer.ID, anyOf ...Action) bool {
	did, _ := DIDOf(id)
	for _, r := range relations {
		for _, a := range anyOf {
			if Allows(r, a) && d.hasRelation(id, did, r) {
				return true
			}
		}
	}
	return false
}

// Relation returns the current closest relation of the peer id.
func (p *Peer) Relation(id peer.ID) Relation { return p.gater.relation(id) }

// RelationFor returns the closest relation of the peer id that gives the right to a, or Unknown.
func (p *Peer) RelationFor(id peer.ID, a Action) Relation {
	for _, r := range p.gater.relations(id) {
		if Allows(r, a) {
			return r
		}
	}
	return Unknown
}

// Allows reports whether the peer id currently has the right to action a.
func (p *Peer) Allows(id peer.ID, a Action) bool { return p.gater.allows(id, a) }

// AnyConnected reports whether a connected peer has the right to action a.
func (p *Peer) AnyConnected(a Action) bool {
	for _, id := range p.raw.Network().Peers() {
		if p.gater.allows(id, a) {
			return true
		}
	}
	return false
}

// DeniedError reports that a peer has no relation that allows an action.
type DeniedError struct {
	ID       peer.ID
	Relation Relation // its closest relation
	Action   Action
}

func (e *DeniedError) Error() string {
	if e.Relation == Unknown {
		return fmt.Sprintf("unknown peer %s is not authorized to %s", e.ID, e.Action)
	}
	return fmt.Sprintf("peer %s (%s) is not authorized to %s", e.ID, e.Relation, e.Action)
}
