package host

import (
	"strings"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/host/autonat"
	"github.com/libp2p/go-libp2p/p2p/protocol/autonatv2"
	circuit "github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/proto"
	"github.com/libp2p/go-libp2p/p2p/protocol/holepunch"
	"github.com/libp2p/go-libp2p/p2p/protocol/identify"
	"github.com/libp2p/go-libp2p/p2p/protocol/ping"
)

// Protocols of the packages below this one.
const (
	marketProtocol protocol.ID = "/liftoff/market/1"
	blocksProtocol protocol.ID = "/liftoff/blocks/1"
)

// isHandshake reports whether a protocol is part of authorizing a peer. Every peer may speak it, for at most
// handshakeTimeout.
func isHandshake(proto protocol.ID) bool {
	switch proto {
	case handshakeProtocol, joinProtocol, identify.ID, identify.IDPush, autonatv2.DialBackProtocol:
		return true
	}
	return false
}

// needs returns the actions of which a peer must have the right to at least one to speak a protocol. An unlisted
// protocol is for members only.
func needs(proto protocol.ID, dir network.Direction) []Action {
	inbound := dir == network.DirInbound
	switch {
	case proto == ping.ID:
		return []Action{StayConnected}
	case proto == marketProtocol && inbound:
		return []Action{SendJobs}
	case proto == marketProtocol:
		return []Action{ReceiveJobs}
	case proto == blocksProtocol && inbound: // the peer fetches the inputs of a job that it runs
		return []Action{ReceiveBlocks, ReceivePublished, ReceiveJobs}
	case proto == blocksProtocol: // this node fetches the inputs of a job that the peer sent
		return []Action{BeAsked, SendJobs}
	case strings.HasPrefix(string(proto), "/ipfs/bitswap"): // one stream carries wants, the other their blocks
		return []Action{ReceiveBlocks, ReceivePublished, BeAsked}
	case proto == circuit.ProtoIDv2Hop, proto == circuit.ProtoIDv2Stop, proto == holepunch.Protocol,
		proto == autonat.AutoNATProto, proto == autonatv2.DialProtocol:
		return []Action{UseRelay}
	}
	return []Action{JoinGossip}
}

// admits returns an error if id may not speak a protocol with this node. dir says which of the two opened the stream.
func (d *gater) admits(id peer.ID, proto protocol.ID, dir network.Direction) error {
	if isHandshake(proto) {
		return nil
	}
	actions := needs(proto, dir)
	if d.allows(id, actions...) {
		return nil
	}
	return &DeniedError{ID: id, Relation: d.relation(id), Action: actions[0]}
}
