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

// joinProtocol issues a credential: to an unknown peer that shows the secret of an invitation, and,
// without a secret, to a member whose membership ends within thirty days.
//
//	dialer    secret, or an empty frame to renew ->
//	          <- membership (and delegation), or a refusal
const joinProtocol protocol.ID = "/liftoff/join/1"

// Invite creates an invitation and returns its join token, one line of text. Only this node can redeem the token, so
// it must be running at that time.
func (p *Peer) Invite(i cluster.Invitation) (cluster.Token, error) {
	addrs := texts(p.advertisedAddrs())
	if len(addrs) == 0 {
		return cluster.Token{}, errors.New("invite: this node has no listen address, so no peer could use the token")
	}
	secret, err := p.cluster.Invite(i, p.cfg.Now())
	if err != nil {
		return cluster.Token{}, fmt.Errorf("invite to cluster: %w", err)
	}
	return cluster.Token{Cluster: p.cluster.ID(), Peer: p.DID(), Secret: secret, Addrs: addrs[:min(len(addrs), maxTokenAddrs)]}, nil
}

const maxTokenAddrs = 8

// Join redeems a token: it dials only the addresses of the token. When it returns nil, this repo is a member of the
// cluster. A repo that is a member already only connects.
func (p *Peer) Join(ctx context.Context, t cluster.Token) error {
	id, err := IDOf(t.Peer)
	if err != nil {
		return fmt.Errorf("join cluster: %w", err)
	}
	addrs, err := parseAddrs(t.Addrs)
	if err != nil {
		return fmt.Errorf("join cluster: %w", err)
	}
	own := p.cluster.ID()
	if own != "" && own != t.Cluster {
		return fmt.Errorf("join cluster: this repo already belongs to the cluster %s; use a new repo (LIFTOFF_PATH) for another one", own)
	}
	p.gater.addIssuer(id)
	defer p.gater.removeCandidate(id)
	if _, err := p.cluster.Check(p.DID(), p.cfg.Now()); own == t.Cluster && err == nil {
		var refused *RefusedError // the membership may have been revoked without this node knowing it
		if err := p.dial(ctx, peer.AddrInfo{ID: id, Addrs: addrs}); !errors.As(err, &refused) {
			return err
		}
	}
	p.mu.Lock()
	p.joining[id]++ // so that the connection does not start with a handshake
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.joining[id]--; p.joining[id] == 0 {
			delete(p.joining, id)
		}
	}()
	p.raw.Network().ClosePeer(id) // a connection from before the membership is replaced
	if err := p.raw.Connect(ctx, peer.AddrInfo{ID: id, Addrs: addrs}); err != nil {
		return &UnreachableError{ID: id, Addrs: t.Addrs, Err: err}
	}
	c, err := p.askCredential(ctx, id, []item{{itemSecret, t.Secret[:]}})
	if err != nil {
		return fmt.Errorf("join cluster: %w", err)
	}
	if err := p.cluster.Adopt(t.Cluster, c, p.cfg.Now()); err != nil {
		return fmt.Errorf("join cluster: %w", err)
	}
	p.addrBook.resetBackoff() // peers that refused this node as unknown accept it as a member
	p.wakeDialer()
	if err := p.firstHandshake(ctx, id); err != nil {
		return fmt.Errorf("join cluster: %w", err)
	}
	return p.discover()
}

// UnreachableError reports that the peer that issued a token could not be reached at the token's addresses.
type UnreachableError struct {
	ID    peer.ID
	Addrs []string
	Err   error // from libp2p
}

func (e *UnreachableError) Error() string {
	why := "no answer"
	if errors.Is(e.Err, syscall.ECONNREFUSED) {
		why = "connection refused"
	}
	return fmt.Sprintf("join cluster: peer %s, the issuer of the token, is unreachable at %s: %s", e.ID, strings.Join(e.Addrs, ", "), why)
}

func (e *UnreachableError) Unwrap() error { return e.Err }

// renew requests a new membership from the admin id.
func (p *Peer) renew(ctx context.Context, id peer.ID) error {
	c, err := p.askCredential(ctx, id, nil)
	if err != nil {
		return fmt.Errorf("renew membership: %w", err)
	}
	if err := p.cluster.Adopt(p.cluster.ID(), c, p.cfg.Now()); err != nil {
		return fmt.Errorf("renew membership: %w", err)
	}
	return nil
}

func (p *Peer) askCredential(ctx context.Context, id peer.ID, ask []item) (_ cluster.Credential, err error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	s, err := p.raw.NewStream(network.WithAllowLimitedConn(ctx, "join"), id, joinProtocol)
	if err != nil {
		return cluster.Credential{}, err
	}
	defer func() { closeStream(s, err) }()
	s.SetDeadline(time.Now().Add(handshakeTimeout))
	if err := writeFrame(s, ask); err != nil {
		return cluster.Credential{}, err
	}
	items, err := readFrame(bufio.NewReader(s), maxUnknownFrame)
	if err != nil {
		return cluster.Credential{}, err
	}
	if why, ok := refusal(items); ok {
		return cluster.Credential{}, &RefusedError{id, why}
	}
	return credential(items), nil
}

// answerJoin is the listener's side. A secret has 128 bits: a limit of attempts per peer is enough, and no peer can
// use up the attempts of others.
func (p *Peer) answerJoin(s network.Stream) error {
	id := s.Conn().RemotePeer()
	items, err := readFrame(bufio.NewReader(s), maxUnknownFrame)
	if err != nil {
		return err
	}
	c, err := p.giveCredential(id, items)
	answer := []item{{itemMembership, c.Membership}, {itemDelegation, c.Delegation}}
	if err != nil {
		p.logRefusal("refuse membership to peer", id, err)
		answer = []item{{itemRefusal, []byte(reason(err))}}
	} else {
		p.cfg.Log.Info("issued a membership to peer", "peer", id)
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

// logRefusal logs that id was refused, at level info for the owner; at level debug above a rate that could fill the
// log.
func (p *Peer) logRefusal(what string, id peer.ID, why error) {
	level := slog.LevelInfo
	if !p.refusals.take(p.cfg.Now()) {
		level = slog.LevelDebug
	}
	p.cfg.Log.Log(p.ctx, level, what, "peer", id, "reason", why)
}

// Revoke ends a membership, sends the revocation to the connected members, and disconnects the former member.
func (p *Peer) Revoke(did job.DID) error {
	if _, err := p.cluster.Revoke(did, p.cfg.Now()); err != nil {
		return fmt.Errorf("revoke %s: %w", did, err)
	}
	p.afterRevocation()
	return nil
}

// afterRevocation disconnects peers that have lost their rights and sends the revocations to the connected members.
func (p *Peer) afterRevocation() {
	p.disconnectUnauthorized(0)
	for id := range p.gater.connected() {
		if p.gater.allows(id, JoinGossip) {
			p.start(func() { p.handshake(p.ctx, id) })
		}
	}
	p.notifyChanged()
}

// disconnectUnauthorized disconnects peers without the right to stay that connected longer ago than patience. It also
// disconnects former members: such a peer may keep other rights, because the owner told this node to connect to it,
// but it takes no part in gossip any more.
func (p *Peer) disconnectUnauthorized(patience time.Duration) {
	now := p.cfg.Now()
	for id, c := range p.gater.connected() {
		idle := now.Sub(c.since) >= patience && !p.gater.allows(id, StayConnected)
		if idle || c.wasMember && !p.gater.allows(id, JoinGossip) {
			p.raw.Network().ClosePeer(id)
		}
	}
}

// Connect connects to a peer by its multiaddr, "/ip4/…/tcp/4017/p2p/12D3…", on the owner's request. The peer becomes
// a provider, whatever the policy. The error is a *RefusedError if the peer refuses this node.
func (p *Peer) Connect(ctx context.Context, addr string) (peer.ID, error) {
	info, err := ParsePeerAddr(addr)
	if err != nil {
		return "", fmt.Errorf("connect to %.80q: %w", addr, err)
	}
	if info.ID == p.id {
		return "", fmt.Errorf("connect: the address %.80q is this node's own", addr)
	}
	if err := p.gater.checkKey(info.ID); err != nil {
		return "", fmt.Errorf("connect to peer: %w", err)
	}
	p.gater.addProvider(info.ID)
	return info.ID, p.dial(ctx, *info)
}

// dial connects and waits until the first handshake is over.
func (p *Peer) dial(ctx context.Context, info peer.AddrInfo) error {
	if err := p.raw.Connect(ctx, info); err != nil {
		return fmt.Errorf("dial peer %s: %w", info.ID, err)
	}
	return p.awaitHandshake(ctx, info.ID)
}

// firstHandshake does the first handshake of a connection and applies its result.
func (p *Peer) firstHandshake(ctx context.Context, id peer.ID) error {
	err := p.handshake(ctx, id)
	if c := p.gater.peer(id); c != nil {
		c.finishHandshake()
	}
	var refused *RefusedError
	if p.gater.allows(id, StayConnected) && !errors.As(err, &refused) {
		p.handshakeSucceeded(id)
	}
	return err
}

// handshakeSucceeded is called after a successful handshake.
func (p *Peer) handshakeSucceeded(id peer.ID) {
	if p.gater.allows(id, JoinGossip) {
		p.gater.update(id, func(c *peerState) { c.wasMember = true })
		p.raw.ConnManager().TagPeer(id, "liftoff", 50)
		p.addrBook.recordSeen(id, p.dialable(id), p.cfg.Now())
	}
	p.start(func() {
		p.measure(id)
		p.notifyChanged()
	})
}
