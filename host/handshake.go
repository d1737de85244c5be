package host

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"time"
	"unicode"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/protocol/ping"

	"github.com/ipfs-liftoff/liftoff/host/cluster"
)

// handshakeProtocol is the first stream of a connection, opened by the dialer. Both peers send their credentials,
// their capacity, and a digest of the revocations that they know. Missing revocations and addresses of other members
// follow as extras. The handshake is repeated about once a minute, which keeps both peers up to date when gossip is
// lost.
//
//	dialer    hello ->
//	          <- hello, or a refusal
//	          extras ->
//	          <- extras
const handshakeProtocol protocol.ID = "/liftoff/handshake/1"

// handshake runs the handshake protocol with a connected peer. The error is a *RefusedError if the peer refuses this
// node.
func (p *Peer) handshake(ctx context.Context, id peer.ID) (err error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	defer func() {
		if err != nil {
			err = fmt.Errorf("handshake with peer %s: %w", id, err)
		}
	}()
	s, err := p.raw.NewStream(network.WithAllowLimitedConn(network.WithNoDial(ctx, "handshake"), "handshake"), id, handshakeProtocol)
	if err != nil {
		return err
	}
	defer func() {
		var refused *RefusedError
		if closeStream(s, err); errors.As(err, &refused) || errors.Is(err, errNotAuthorized) {
			s.Conn().Close() // this connection only: the peer may be joining over another one
		}
	}()
	s.SetDeadline(time.Now().Add(handshakeTimeout))
	r := bufio.NewReader(s)
	if err := writeFrame(s, p.hello()); err != nil {
		return err
	}
	items, err := readFrame(r, maxUnknownFrame)
	if err != nil {
		return err
	}
	if why, ok := refusal(items); ok {
		p.gater.update(id, func(c *peerState) { c.refused = why })
		return &RefusedError{id, why}
	}
	credErr := p.applyHello(id, items)
	p.gater.update(id, func(c *peerState) { c.refused = "" })
	if !p.gater.allows(id, StayConnected) {
		return fmt.Errorf("%w: %w", errNotAuthorized, cmp.Or[error](credErr, &DeniedError{ID: id, Relation: p.gater.relation(id), Action: StayConnected}))
	}
	if err := writeFrame(s, p.extras(id, items)); err != nil {
		return err
	}
	return p.readExtras(id, r)
}

var errNotAuthorized = errors.New("this node does not accept the remote peer")

// answerHandshake is the listener's side of the handshake.
func (p *Peer) answerHandshake(s network.Stream) error {
	id := s.Conn().RemotePeer()
	r := bufio.NewReader(s)
	items, err := readFrame(r, maxUnknownFrame)
	if err != nil {
		return err
	}
	err = p.applyHello(id, items)
	if !p.gater.allows(id, StayConnected) {
		p.logRefusal("refuse peer", id, err)
		defer s.Conn().Close() // this connection only: the peer may be joining over another one
		if err := writeFrame(s, []item{{itemRefusal, []byte(reason(err))}}); err != nil {
			return err
		}
		s.CloseWrite()
		_, err = io.Copy(io.Discard, io.LimitReader(s, maxUnknownFrame)) // so that the peer reads the reason before the connection ends
		return err
	}
	if err := writeFrame(s, p.hello()); err != nil {
		return err
	}
	if err := p.readExtras(id, r); err != nil {
		return err
	}
	if err := writeFrame(s, p.extras(id, items)); err != nil {
		return err
	}
	if c := p.gater.peer(id); c != nil {
		c.finishHandshake()
	}
	p.handshakeSucceeded(id)
	return nil
}

// reason returns the text of an error, as it may be sent to a peer.
func reason(err error) string {
	if err == nil {
		return "not authorized: only peers that the owner of the refusing node has listed are accepted"
	}
	return printable(err.Error()[:min(len(err.Error()), maxReason)])
}

// hello returns this node's hello message: its credential, addresses and capacity.
func (p *Peer) hello() []item {
	items := []item{{itemVersion, []byte{1}}}
	if id := p.cluster.ID(); id != "" {
		c := p.cluster.Own()
		_, digest := p.cluster.Notices()
		items = append(items, item{itemCluster, []byte(id)}, item{itemMembership, c.Membership}, item{itemDelegation, c.Delegation},
			item{itemDigest, digest[:]})
	}
	if r := p.ownRecord(); r != nil {
		items = append(items, item{itemAddrs, r})
	}
	if env, hint := p.ownHint(); env != nil {
		items = append(items, item{itemCapacity, env}, item{itemHint, hint})
	}
	return items
}

// applyHello applies a peer's hello: the whole of an authorized peer, only the credential of any other. The error
// says why the peer is not a member; other invalid items are dropped without an error.
func (p *Peer) applyHello(id peer.ID, items []item) error {
	did, err := DIDOf(id)
	if err != nil {
		return err
	}
	now := p.cfg.Now()
	p.gater.update(id, func(c *peerState) { c.lastHandshake = now })
	why := errNotMember
	switch own := p.cluster.ID(); {
	case own == "":
		why = nil
	case string(first(items, itemCluster)) == string(own):
		_, why = p.cluster.Admit(did, credential(items), now)
	}
	if env := first(items, itemCapacity); env != nil && p.gater.allows(id, BeCounted) {
		p.table.capacity(did, env, now)
		p.table.hint(id, first(items, itemHint), now)
	}
	if r := first(items, itemAddrs); r != nil {
		if err := p.learnAddrs(r); err != nil {
			p.cfg.Log.Debug("reject addresses sent by peer", "peer", id, "err", err)
		}
	}
	p.notifyChanged()
	return why
}

var errNotMember = errors.New("not authorized: no membership of the refusing node's cluster")

func credential(items []item) cluster.Credential {
	return cluster.Credential{Membership: first(items, itemMembership), Delegation: first(items, itemDelegation)}
}

// maxRecords is the number of members whose addresses are sent in a handshake.
const maxRecords = 16

// extras returns what a member gets after the hello: the revocations, if its digest differs, and addresses of other
// members.
func (p *Peer) extras(id peer.ID, hello []item) []item {
	if !p.gater.allows(id, JoinGossip) {
		return nil
	}
	items := p.records(id, maxRecords)
	notices, digest := p.cluster.Notices()
	if string(first(hello, itemDigest)) == string(digest[:]) {
		return items
	}
	// If they exceed a frame, a random selection is sent: the next handshake sends others.
	rand.Shuffle(len(notices), func(i, j int) { notices[i], notices[j] = notices[j], notices[i] })
	room := maxMemberFrame - sizeOf(items)
	for _, n := range notices {
		both := []item{{itemRevocation, n.Revocation}, {itemDelegation, n.Delegation}}
		if room -= sizeOf(both); room < 0 || len(items)+2 > maxItems {
			break
		}
		items = append(items, both...)
	}
	return items
}

// readExtras reads what a peer sends about other peers. Only a member is accepted as a source, and each item is
// signed by the peer that it describes or by the cluster.
func (p *Peer) readExtras(id peer.ID, r *bufio.Reader) error {
	limit := maxUnknownFrame
	member := p.gater.allows(id, JoinGossip)
	if member {
		limit = maxMemberFrame
	}
	items, err := readFrame(r, limit)
	if err != nil || !member {
		return err
	}
	var notices []cluster.Notice
	for i, it := range items {
		if it.kind != itemRevocation {
			continue
		}
		n := cluster.Notice{Revocation: it.data}
		if i+1 < len(items) && items[i+1].kind == itemDelegation {
			n.Delegation = items[i+1].data
		}
		notices = append(notices, n)
	}
	fresh, err := p.cluster.ApplyNotices(notices, p.cfg.Now())
	if err != nil {
		p.cfg.Log.Debug("reject revocations sent by peer", "peer", id, "err", err)
	}
	if fresh {
		p.afterRevocation()
	}
	p.learnRecords(items)
	return nil
}

// measure measures the round-trip time to id.
func (p *Peer) measure(id peer.ID) {
	ctx, cancel := context.WithTimeout(network.WithAllowLimitedConn(network.WithNoDial(p.ctx, "ping"), "ping"), handshakeTimeout)
	pings := ping.Ping(ctx, p.raw, id) // also records it in the peerstore
	var best time.Duration
	for range 2 { // the first includes the protocol negotiation
		if r := <-pings; r.Error == nil && (best == 0 || r.RTT < best) {
			best = r.RTT
		}
	}
	cancel()
	for range pings { // until the goroutine of Ping has ended
	}
	if best > 0 {
		p.gater.update(id, func(c *peerState) { c.rtt = best })
	}
}

// printable replaces characters that could corrupt a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}
