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

// greetProtocol is the first stream of a connection, opened by who dialed: both show
// their credentials, their capacity, and a digest of the revocations that they know. What
// one lacks, and addresses of other members, follow. It is repeated about once a minute,
// which keeps both up to date whatever gossip has lost.
//
//	dialer    greeting ->
//	          <- greeting, or a refusal
//	          extras ->
//	          <- extras
const handshakeProtocol protocol.ID = "/liftoff/handshake/1"

// greet greets a connected peer. A *RefusedError says that it does not want this one.
func (p *Peer) greet(ctx context.Context, id peer.ID) (err error) {
	ctx, cancel := context.WithTimeout(ctx, greetTimeout)
	defer cancel()
	defer func() {
		if err != nil {
			err = fmt.Errorf("greet %s: %w", id, err)
		}
	}()
	s, err := p.raw.NewStream(network.WithAllowLimitedConn(network.WithNoDial(ctx, "greet"), "greet"), id, handshakeProtocol)
	if err != nil {
		return err
	}
	defer func() {
		var refused *RefusedError
		if done(s, err); errors.As(err, &refused) || errors.Is(err, errNoPeer) {
			s.Conn().Close() // and not another, over which it may be joining
		}
	}()
	s.SetDeadline(time.Now().Add(greetTimeout))
	r := bufio.NewReader(s)
	if err := writeFrame(s, p.greeting()); err != nil {
		return err
	}
	items, err := readFrame(r, maxGreeting)
	if err != nil {
		return err
	}
	if why, ok := refusal(items); ok {
		p.door.change(id, func(c *caller) { c.refused = why })
		return &RefusedError{id, why}
	}
	credErr := p.heed(id, items)
	p.door.change(id, func(c *caller) { c.refused = "" })
	if !p.door.allows(id, StayConnected) {
		return fmt.Errorf("%w: %w", errNoPeer, cmp.Or[error](credErr, &DeniedError{ID: id, Relation: p.door.relation(id), Action: StayConnected}))
	}
	if err := writeFrame(s, p.extras(id, items)); err != nil {
		return err
	}
	return p.readExtras(id, r)
}

var errNoPeer = errors.New("it is no peer of ours")

// answerGreeting is the other end of greet.
func (p *Peer) answerGreeting(s network.Stream) error {
	id := s.Conn().RemotePeer()
	r := bufio.NewReader(s)
	items, err := readFrame(r, maxGreeting)
	if err != nil {
		return err
	}
	err = p.heed(id, items)
	if !p.door.allows(id, StayConnected) {
		p.logRefusal("refused a peer", id, err)
		defer s.Conn().Close() // and not another, over which it may be joining
		if err := writeFrame(s, []item{{itemRefusal, []byte(reason(err))}}); err != nil {
			return err
		}
		s.CloseWrite()
		_, err = io.Copy(io.Discard, io.LimitReader(s, maxGreeting)) // so that it reads the reason first
		return err
	}
	if err := writeFrame(s, p.greeting()); err != nil {
		return err
	}
	if err := p.readExtras(id, r); err != nil {
		return err
	}
	if err := writeFrame(s, p.extras(id, items)); err != nil {
		return err
	}
	if c := p.door.caller(id); c != nil {
		c.over()
	}
	p.welcomed(id)
	return nil
}

// reason makes an error a sentence that a peer may be told.
func reason(err error) string {
	if err == nil {
		return "it serves only those that its owner has listed"
	}
	return printable(err.Error()[:min(len(err.Error()), maxReason)])
}

// greeting is what this peer says of itself.
func (p *Peer) greeting() []item {
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

// heed takes in what a peer says of itself; of who is nobody, its credential alone. The
// error says why it is no member; what else it says is checked and dropped silently if it
// is wrong.
func (p *Peer) heed(id peer.ID, items []item) error {
	did, err := DIDOf(id)
	if err != nil {
		return err
	}
	now := p.cfg.Now()
	p.door.change(id, func(c *caller) { c.spoke = now })
	why := errNotMember
	switch own := p.cluster.ID(); {
	case own == "":
		why = nil
	case string(first(items, itemCluster)) == string(own):
		_, why = p.cluster.Admit(did, credential(items), now)
	}
	if env := first(items, itemCapacity); env != nil && p.door.allows(id, BeCounted) {
		p.table.capacity(did, env, now)
		p.table.hint(id, first(items, itemHint), now)
	}
	if r := first(items, itemAddrs); r != nil {
		if err := p.learnAddrs(r); err != nil {
			p.cfg.Log.Debug("addresses that are not taken", "peer", id, "err", err)
		}
	}
	p.changed()
	return why
}

var errNotMember = errors.New("it serves the members of its cluster, and shows no membership")

func credential(items []item) cluster.Credential {
	return cluster.Credential{Membership: first(items, itemMembership), Delegation: first(items, itemDelegation)}
}

// maxRecords is how many members' addresses are passed on at a greeting.
const maxRecords = 16

// extras is what a member gets after a greeting: the revocations, if it does not know the
// same, and addresses of members.
func (p *Peer) extras(id peer.ID, greeting []item) []item {
	if !p.door.allows(id, JoinGossip) {
		return nil
	}
	items := p.records(id, maxRecords)
	notices, digest := p.cluster.Notices()
	if string(first(greeting, itemDigest)) == string(digest[:]) {
		return items
	}
	// If there are more than a frame takes it is chance which: the next greeting has others.
	rand.Shuffle(len(notices), func(i, j int) { notices[i], notices[j] = notices[j], notices[i] })
	room := maxExtras - sizeOf(items)
	for _, n := range notices {
		both := []item{{itemRevocation, n.Revocation}, {itemDelegation, n.Delegation}}
		if room -= sizeOf(both); room < 0 || len(items)+2 > maxItems {
			break
		}
		items = append(items, both...)
	}
	return items
}

// readExtras reads what a peer says of others. Only a member is believed, and what it
// says is signed by those whom it is about.
func (p *Peer) readExtras(id peer.ID, r *bufio.Reader) error {
	limit := maxGreeting
	member := p.door.allows(id, JoinGossip)
	if member {
		limit = maxExtras
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
		p.cfg.Log.Debug("revocations that do not hold", "peer", id, "err", err)
	}
	if fresh {
		p.afterRevocation()
	}
	p.learnRecords(items)
	return nil
}

// measure takes the round trip to id.
func (p *Peer) measure(id peer.ID) {
	ctx, cancel := context.WithTimeout(network.WithAllowLimitedConn(network.WithNoDial(p.ctx, "ping"), "ping"), greetTimeout)
	pings := ping.Ping(ctx, p.raw, id) // notes it in the peerstore, too
	var best time.Duration
	for range 2 { // the first also negotiates
		if r := <-pings; r.Error == nil && (best == 0 || r.RTT < best) {
			best = r.RTT
		}
	}
	cancel()
	for range pings { // until its goroutine has ended
	}
	if best > 0 {
		p.door.change(id, func(c *caller) { c.rtt = best })
	}
}

// printable replaces what could confuse a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}
