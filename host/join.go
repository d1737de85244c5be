package host

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"syscall"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/ipfs-liftoff/liftoff/host/cluster"
	"github.com/ipfs-liftoff/liftoff/job"
)

// joinProtocol gives a credential: for the secret of an invitation to who is nobody yet,
// and for nothing to a member whose membership ends within thirty days.
//
//	dialer    secret, or an empty frame to renew ->
//	          <- membership (and delegation), or a refusal
const joinProtocol protocol.ID = "/liftoff/join/1"

// Invite makes an invitation and returns the token, one line, that lets a machine join by
// it. Only this peer can redeem it, so it must be up when that happens.
func (p *Peer) Invite(i cluster.Invitation) (cluster.Token, error) {
	addrs := texts(p.tellable())
	if len(addrs) == 0 {
		return cluster.Token{}, errors.New("invite: this peer listens nowhere, so nobody could join by it")
	}
	secret, err := p.cluster.Invite(i, p.cfg.Now())
	if err != nil {
		return cluster.Token{}, fmt.Errorf("invite: %w", err)
	}
	return cluster.Token{Cluster: p.cluster.ID(), Peer: p.DID(), Secret: secret, Addrs: addrs[:min(len(addrs), maxTokenAddrs)]}, nil
}

const maxTokenAddrs = 8

// Join redeems a token: it dials the token's addresses and no others, and this repo is a
// member of the cluster when it returns nil. One that is a member already only connects.
func (p *Peer) Join(ctx context.Context, t cluster.Token) error {
	id, err := IDOf(t.Peer)
	if err != nil {
		return fmt.Errorf("join: %w", err)
	}
	addrs, err := parseAddrs(t.Addrs)
	if err != nil {
		return fmt.Errorf("join: %w", err)
	}
	own := p.cluster.ID()
	if own != "" && own != t.Cluster {
		return fmt.Errorf("join: this repo belongs to the cluster %s already", own)
	}
	p.door.invited(id)
	defer p.door.tried(id)
	if _, err := p.cluster.Check(p.DID(), p.cfg.Now()); own == t.Cluster && err == nil {
		var refused *RefusedError // if it was revoked, and does not know it
		if err := p.dial(ctx, peer.AddrInfo{ID: id, Addrs: addrs}); !errors.As(err, &refused) {
			return err
		}
	}
	p.mu.Lock()
	p.joining[id]++ // so that the connection does not begin with a greeting
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.joining[id]--; p.joining[id] == 0 {
			delete(p.joining, id)
		}
	}()
	p.raw.Network().ClosePeer(id) // a connection from before it was a member begins anew
	if err := p.raw.Connect(ctx, peer.AddrInfo{ID: id, Addrs: addrs}); err != nil {
		return &UnreachableError{ID: id, Addrs: t.Addrs, Err: err}
	}
	c, err := p.askCredential(ctx, id, []item{{itemSecret, t.Secret[:]}})
	if err != nil {
		return fmt.Errorf("join: %w", err)
	}
	if err := p.cluster.Adopt(t.Cluster, c, p.cfg.Now()); err != nil {
		return err
	}
	p.book.retry() // who has refused a stranger will take a member
	p.wake()
	if err := p.meet(ctx, id); err != nil {
		return fmt.Errorf("join: %w", err)
	}
	return p.lookAround()
}

// UnreachedError says that nobody could be reached at the addresses of a token.
type UnreachableError struct {
	ID    peer.ID
	Addrs []string
	Err   error // libp2p's
}

func (e *UnreachableError) Error() string {
	why := "no answer"
	if errors.Is(e.Err, syscall.ECONNREFUSED) {
		why = "connection refused"
	}
	return fmt.Sprintf("join: %s, who made the token, cannot be reached at %s: %s", e.ID, strings.Join(e.Addrs, ", "), why)
}

func (e *UnreachableError) Unwrap() error { return e.Err }

// renew asks the admin id for a new membership.
func (p *Peer) renew(ctx context.Context, id peer.ID) error {
	c, err := p.askCredential(ctx, id, nil)
	if err != nil {
		return fmt.Errorf("renew the membership: %w", err)
	}
	return p.cluster.Adopt(p.cluster.ID(), c, p.cfg.Now())
}

func (p *Peer) askCredential(ctx context.Context, id peer.ID, ask []item) (_ cluster.Credential, err error) {
	ctx, cancel := context.WithTimeout(ctx, greetTimeout)
	defer cancel()
	s, err := p.raw.NewStream(network.WithAllowLimitedConn(ctx, "join"), id, joinProtocol)
	if err != nil {
		return cluster.Credential{}, err
	}
	defer func() { done(s, err) }()
	s.SetDeadline(time.Now().Add(greetTimeout))
	if err := writeFrame(s, ask); err != nil {
		return cluster.Credential{}, err
	}
	items, err := readFrame(bufio.NewReader(s), maxGreeting)
	if err != nil {
		return cluster.Credential{}, err
	}
	if why, ok := refusal(items); ok {
		return cluster.Credential{}, &RefusedError{id, why}
	}
	return credential(items), nil
}

// answerJoin is the other end. A secret has 128 bits: that attempts are bounded for each
// peer is enough, and nobody can use up those of others.
func (p *Peer) answerJoin(s network.Stream) error {
	id := s.Conn().RemotePeer()
	items, err := readFrame(bufio.NewReader(s), maxGreeting)
	if err != nil {
		return err
	}
	c, err := p.giveCredential(id, items)
	answer := []item{{itemMembership, c.Membership}, {itemDelegation, c.Delegation}}
	if err != nil {
		p.logRefusal("refused a membership", id, err)
		answer = []item{{itemRefusal, []byte(reason(err))}}
	} else {
		p.cfg.Log.Info("gave a membership", "peer", id)
	}
	return writeFrame(s, answer)
}

func (p *Peer) giveCredential(id peer.ID, items []item) (cluster.Credential, error) {
	did, err := DIDOf(id)
	if err != nil {
		return cluster.Credential{}, err
	}
	secret := first(items, itemSecret)
	if secret == nil {
		return p.cluster.Renew(did, p.cfg.Now())
	}
	if len(secret) != 16 {
		return cluster.Credential{}, cluster.ErrInvitation
	}
	return p.cluster.Redeem([16]byte(secret), did, p.cfg.Now())
}

// logRefusal logs that id was refused: for the owner, unless there are so many that
// somebody may want to fill the log.
func (p *Peer) logRefusal(what string, id peer.ID, why error) {
	level := slog.LevelInfo
	if !p.refusals.take(p.cfg.Now()) {
		level = slog.LevelDebug
	}
	p.cfg.Log.Log(p.ctx, level, what, "peer", id, "reason", why)
}

// Revoke ends a membership, tells the members that are connected, and cuts the one that
// is none any more.
func (p *Peer) Revoke(did job.DID) error {
	if _, err := p.cluster.Revoke(did, p.cfg.Now()); err != nil {
		return fmt.Errorf("revoke %s: %w", did, err)
	}
	p.afterRevocation()
	return nil
}

// afterRevocation cuts who is nobody any more and passes the news on.
func (p *Peer) afterRevocation() {
	p.cutNobodies(0)
	for id := range p.door.connected() {
		if p.door.allows(id, JoinGossip) {
			p.start(func() { p.greet(p.ctx, id) })
		}
	}
	p.changed()
}

// cutNobodies closes the connections to peers that may do nothing here and came longer
// ago than patience, and to those that were members: who may still do something, because
// the owner told this peer to connect to it, takes part in gossip no more.
func (p *Peer) cutNobodies(patience time.Duration) {
	now := p.cfg.Now()
	for id, c := range p.door.connected() {
		idle := now.Sub(c.since) >= patience && !p.door.allows(id, StayConnected)
		if idle || c.member && !p.door.allows(id, JoinGossip) {
			p.raw.Network().ClosePeer(id)
		}
	}
}

// Connect connects to a peer by its multiaddr, "/ip4/…/tcp/4017/p2p/12D3…", because the
// owner says so: the peer may answer this one, whatever the policy. The error is a
// *RefusedError if it wants nothing to do with this one.
func (p *Peer) Connect(ctx context.Context, addr string) (peer.ID, error) {
	info, err := ParsePeerAddr(addr)
	if err != nil {
		return "", fmt.Errorf("connect to %.80q: %w", addr, err)
	}
	if info.ID == p.id {
		return "", errors.New("connect: that is this very peer")
	}
	if err := p.door.hasKey(info.ID); err != nil {
		return "", fmt.Errorf("connect: %w", err)
	}
	p.door.toldTo(info.ID)
	return info.ID, p.dial(ctx, *info)
}

// dial connects and waits until the greeting is over.
func (p *Peer) dial(ctx context.Context, info peer.AddrInfo) error {
	if err := p.raw.Connect(ctx, info); err != nil {
		return fmt.Errorf("dial %s: %w", info.ID, err)
	}
	return p.await(ctx, info.ID)
}

// meet greets, for the first time on a connection, and does what follows.
func (p *Peer) meet(ctx context.Context, id peer.ID) error {
	err := p.greet(ctx, id)
	if c := p.door.caller(id); c != nil {
		c.over()
	}
	var refused *RefusedError
	if p.door.allows(id, StayConnected) && !errors.As(err, &refused) {
		p.welcomed(id)
	}
	return err
}

// welcomed is called when a greeting has gone well.
func (p *Peer) welcomed(id peer.ID) {
	if p.door.allows(id, JoinGossip) {
		p.door.change(id, func(c *caller) { c.member = true })
		p.raw.ConnManager().TagPeer(id, "liftoff", 50)
		p.book.seen(id, p.dialable(id), p.cfg.Now())
	}
	p.start(func() {
		p.measure(id)
		p.changed()
	})
}
