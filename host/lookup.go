package host

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/core/record"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/ipfs-liftoff/liftoff/job"
)

// whoProtocol answers what is known of a peer: its credential, its capacity, its
// addresses, each signed by whom it is about or by its cluster. A peer that gossip has
// brought a hint of is asked for at the neighbor that passed it on.
//
//	asker     did:key ->
//	          <- membership (and delegation), capacity, addresses: what there is
const lookupProtocol protocol.ID = "/liftoff/lookup/1"

const (
	recordLife = 15 * time.Minute // of addresses that others told
	maxRecord  = 4 << 10          // bytes of a signed peer record
	maxLookups = 256              // waiting
	whoTimeout = 3 * time.Second
)

// lookup is a question to ask: who is author, whose capacity is want?
type lookup struct {
	author peer.ID
	want   cid.Cid
	asked  peer.ID // first asked: who passed its hint on
}

// lookUp asks a neighbor, and then the peer itself if it is connected. There is one lookup
// at a time: who answers slowly is not asked for most of it.
func (p *Peer) lookUp(ctx context.Context, l lookup) {
	for _, whom := range []peer.ID{l.asked, l.author} {
		begun := p.cfg.Now()
		if !p.connected(whom) || p.table.has(l.author, l.want) && !p.lost(l.author) || !p.gossip.authors.patient(whom, begun) {
			continue
		}
		if err := p.ask(ctx, whom, l.author); err != nil {
			p.cfg.Log.Debug("look up a peer", "author", l.author, "at", whom, "err", err)
		}
		end := p.cfg.Now()
		p.gossip.authors.waited(whom, end.Sub(begun), end)
	}
}

func (p *Peer) ask(ctx context.Context, whom, about peer.ID) (err error) {
	ctx, cancel := context.WithTimeout(ctx, whoTimeout)
	defer cancel()
	did, err := DIDOf(about)
	if err != nil {
		return err
	}
	s, err := p.host.NewStream(network.WithNoDial(ctx, "who"), whom, lookupProtocol)
	if err != nil {
		return err
	}
	defer func() { done(s, err) }()
	s.SetDeadline(time.Now().Add(whoTimeout))
	if err := writeFrame(s, []item{{itemDID, []byte(did)}}); err != nil {
		return err
	}
	items, err := readFrame(bufio.NewReader(s), maxGreeting)
	if err != nil {
		return err
	}
	p.learnRecords(items)
	if env := first(items, itemCapacity); env != nil && p.door.allows(about, BeCounted) {
		p.table.capacity(did, env, p.cfg.Now())
	}
	p.changed()
	return nil
}

func (p *Peer) answerWho(s network.Stream) error {
	items, err := readFrame(bufio.NewReader(s), maxGreeting)
	if err != nil {
		return err
	}
	id, err := IDOf(job.DID(first(items, itemDID)))
	if err != nil {
		return err
	}
	answer := p.record(id)
	if id == p.id {
		answer = p.greeting()
	} else if env := p.table.envelope(id); env != nil {
		answer = append(answer, item{itemCapacity, env})
	}
	return writeFrame(s, answer)
}

// record returns the credential and the signed addresses of a member.
func (p *Peer) record(id peer.ID) []item {
	did, err := DIDOf(id)
	if err != nil {
		return nil
	}
	var items []item
	if c, ok := p.cluster.Credential(did, p.cfg.Now()); ok {
		items = append(items, item{itemMembership, c.Membership}, item{itemDelegation, c.Delegation})
	} else if !p.door.allows(id, JoinGossip) {
		return nil
	}
	if r := p.book.record(id); r != nil {
		items = append(items, item{itemAddrs, r})
	}
	return items
}

// ownRecord returns this peer's addresses, signed; nil if it listens nowhere.
func (p *Peer) ownRecord() []byte {
	addrs := p.tellable()
	if len(addrs) == 0 {
		return nil
	}
	rec := peer.PeerRecordFromAddrInfo(peer.AddrInfo{ID: p.id, Addrs: addrs[:min(len(addrs), maxKnownAddrs)]})
	env, err := record.Seal(rec, p.raw.Peerstore().PrivKey(p.id))
	if err != nil {
		p.cfg.Log.Error("sign own addresses", "err", err)
		return nil
	}
	b, err := env.Marshal()
	if err != nil {
		p.cfg.Log.Error("sign own addresses", "err", err)
		return nil
	}
	return b
}

// records returns up to n records of members other than id, taken at random.
func (p *Peer) records(id peer.ID, n int) []item {
	var others []peer.ID
	for other := range p.door.connected() {
		if other != id && p.door.allows(other, JoinGossip) {
			others = append(others, other)
		}
	}
	rand.Shuffle(len(others), func(i, j int) { others[i], others[j] = others[j], others[i] })
	var items []item
	for _, other := range others[:min(n, len(others))] {
		if r := p.record(other); first(r, itemAddrs) != nil {
			items = append(items, r...)
		}
	}
	return items
}

// learnRecords takes in records: a membership, with its delegation, and the addresses of
// that member after it. Each is signed by whom it is about or by its cluster.
func (p *Peer) learnRecords(items []item) {
	for i, it := range items {
		switch it.kind {
		case itemMembership:
			m, err := job.DecodeMembership(it.data)
			if err != nil || p.cluster.ID() == "" {
				continue
			}
			c := credential(items[i : i+1])
			if i+1 < len(items) && items[i+1].kind == itemDelegation {
				c.Delegation = items[i+1].data
			}
			p.cluster.Admit(m.Member, c, p.cfg.Now())
		case itemAddrs:
			if err := p.learnAddrs(it.data); err != nil {
				p.cfg.Log.Debug("addresses that are not taken", "err", err)
			}
		}
	}
}

func (p *Peer) learnAddrs(b []byte) error {
	if len(b) > maxRecord {
		return fmt.Errorf("%d bytes, at most %d", len(b), maxRecord)
	}
	var rec peer.PeerRecord
	env, err := record.ConsumeTypedEnvelope(b, &rec)
	if err != nil {
		return err
	}
	if !rec.PeerID.MatchesPublicKey(env.PublicKey) {
		return fmt.Errorf("the addresses of %s are signed by another", rec.PeerID)
	}
	if rec.PeerID == p.id || !p.door.allows(rec.PeerID, JoinGossip) {
		return nil
	}
	rec.Addrs = rec.Addrs[:min(len(rec.Addrs), maxKnownAddrs)]
	if p.book.learn(rec.PeerID, texts(rec.Addrs), b, rec.Seq) {
		p.raw.Peerstore().AddAddrs(rec.PeerID, rec.Addrs, recordLife)
		p.wake()
	}
	return nil
}

func texts(addrs []ma.Multiaddr) []string {
	list := make([]string, 0, len(addrs))
	for _, a := range addrs {
		list = append(list, a.String())
	}
	return list
}
