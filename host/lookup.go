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

// lookupProtocol answers with what is known of a peer: its credential, its capacity, its addresses. Each is signed by
// the peer that it describes or by the cluster. The author of a gossiped hint is looked up at the neighbor that
// forwarded it.
//
//	requester did:key ->
//	          <- membership (and delegation), capacity, addresses: what is known
const lookupProtocol protocol.ID = "/liftoff/lookup/1"

const (
	addrTTL       = 15 * time.Minute // of addresses received from other peers
	maxRecord     = 4 << 10          // bytes of a signed peer record
	maxLookups    = 256              // queued
	lookupTimeout = 3 * time.Second
)

// lookupRequest is a queued lookup: of the peer author and its capacity record want.
type lookupRequest struct {
	author peer.ID
	want   cid.Cid
	via    peer.ID // the neighbor to query first: it forwarded the hint
}

// lookup queries a neighbor, and then the author itself if it is connected. One lookup runs at a time: a slow peer is
// skipped for most of them.
func (p *Peer) lookup(ctx context.Context, l lookupRequest) {
	for _, via := range []peer.ID{l.via, l.author} {
		begun := p.cfg.Now()
		if !p.connected(via) || p.table.has(l.author, l.want) && !p.unreachable(l.author) || !p.gossip.authors.mayQuery(via, begun) {
			continue
		}
		if err := p.queryLookup(ctx, via, l.author); err != nil {
			p.cfg.Log.Debug("look up author of gossip message", "author", l.author, "at", via, "err", err)
		}
		end := p.cfg.Now()
		p.gossip.authors.chargeWait(via, end.Sub(begun), end)
	}
}

func (p *Peer) queryLookup(ctx context.Context, via, about peer.ID) (err error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	did, err := DIDOf(about)
	if err != nil {
		return err
	}
	s, err := p.host.NewStream(network.WithNoDial(ctx, "lookup"), via, lookupProtocol)
	if err != nil {
		return err
	}
	defer func() { closeStream(s, err) }()
	s.SetDeadline(time.Now().Add(lookupTimeout))
	if err := writeFrame(s, []item{{itemDID, []byte(did)}}); err != nil {
		return err
	}
	items, err := readFrame(bufio.NewReader(s), maxUnknownFrame)
	if err != nil {
		return err
	}
	p.learnRecords(items)
	if env := first(items, itemCapacity); env != nil && p.gater.allows(about, BeCounted) {
		p.table.capacity(did, env, p.cfg.Now())
	}
	p.notifyChanged()
	return nil
}

func (p *Peer) answerLookup(s network.Stream) error {
	items, err := readFrame(bufio.NewReader(s), maxUnknownFrame)
	if err != nil {
		return err
	}
	id, err := IDOf(job.DID(first(items, itemDID)))
	if err != nil {
		return err
	}
	answer := p.record(id)
	if id == p.id {
		answer = p.hello()
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
	} else if !p.gater.allows(id, JoinGossip) {
		return nil
	}
	if r := p.addrBook.record(id); r != nil {
		items = append(items, item{itemAddrs, r})
	}
	return items
}

// ownRecord returns this node's signed addresses, or nil without a listen address.
func (p *Peer) ownRecord() []byte {
	addrs := p.advertisedAddrs()
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

// records returns up to n records of members other than id, in random order.
func (p *Peer) records(id peer.ID, n int) []item {
	var others []peer.ID
	for other := range p.gater.connected() {
		if other != id && p.gater.allows(other, JoinGossip) {
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

// learnRecords stores records: a membership, with its delegation, then the addresses of that member. Each is signed
// by the peer that it describes or by the cluster.
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
				p.cfg.Log.Debug("reject addresses in lookup answer", "err", err)
			}
		}
	}
}

func (p *Peer) learnAddrs(b []byte) error {
	if len(b) > maxRecord {
		return fmt.Errorf("address record of peer: got %d bytes, want at most %d", len(b), maxRecord)
	}
	var rec peer.PeerRecord
	env, err := record.ConsumeTypedEnvelope(b, &rec)
	if err != nil {
		return err
	}
	if !rec.PeerID.MatchesPublicKey(env.PublicKey) {
		return fmt.Errorf("address record of peer: addresses of %s are signed by another key", rec.PeerID)
	}
	if rec.PeerID == p.id || !p.gater.allows(rec.PeerID, JoinGossip) {
		return nil
	}
	rec.Addrs = rec.Addrs[:min(len(rec.Addrs), maxKnownAddrs)]
	if p.addrBook.recordSigned(rec.PeerID, texts(rec.Addrs), b, rec.Seq) {
		p.raw.Peerstore().AddAddrs(rec.PeerID, rec.Addrs, addrTTL)
		p.wakeDialer()
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
