package node

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ipfs-liftoff/liftoff/host"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

// offline is the error of calls that need a network on a node without one.
func offline() error {
	return &api.Error{
		Code: api.CodeConflict, Message: "not connected to other peers",
		Hint: "start `liftoff serve`",
	}
}

// Self implements api.Peers.
func (v *View) Self(ctx context.Context) (api.Peer, error) {
	w := v.node.net.Load()
	if w == nil {
		return api.Peer{}, offline()
	}
	l := w.queue.load(job.DefaultLimits.Pages * pageSize)
	p := api.Peer{
		DID: string(w.self.DID), PeerID: w.self.PeerID, Role: "self", Connected: true, Seen: v.node.clock().UTC(),
		Capacity: capacityOf(&w.capacity),
	}
	for _, a := range w.peer.Addrs() {
		p.Addrs = append(p.Addrs, strings.TrimSuffix(a, "/p2p/"+w.self.PeerID))
	}
	p.Capacity.FreeSlots, p.Capacity.FreeMemory, p.Capacity.Queue = l.Free, int64(min(l.Memory, 1<<62)), l.Queue
	return p, nil
}

// Peers implements api.Peers.
func (v *View) Peers(ctx context.Context) ([]api.Peer, error) {
	w := v.node.net.Load()
	if w == nil {
		return nil, offline()
	}
	var all []api.Peer
	for _, p := range w.peer.Peers() {
		if p.Connected || p.Hint != nil {
			all = append(all, peerOf(p))
		}
	}
	slices.SortFunc(all, func(a, b api.Peer) int { return strings.Compare(a.DID, b.DID) })
	return all, nil
}

// Connect implements api.Peers.
func (v *View) Connect(ctx context.Context, addr string) (api.Peer, error) {
	w := v.node.net.Load()
	if w == nil {
		return api.Peer{}, offline()
	}
	id, err := w.peer.Connect(ctx, addr)
	if err != nil {
		return api.Peer{}, apiError(ctx, err)
	}
	for _, p := range w.peer.Peers() {
		if p.ID == id {
			return peerOf(p), nil
		}
	}
	return api.Peer{}, api.Errorf(api.CodeFault, "%s disconnected right after the connection was made", addr)
}

// peerOf converts what the host has about a peer into the API's type.
func peerOf(p host.PeerInfo) api.Peer {
	a := api.Peer{
		DID: string(p.DID), PeerID: p.ID.String(), Role: roleOf(p), Addrs: p.Addrs,
		Connected: p.Connected, Relayed: p.Relayed, RTT: p.RTT, Seen: p.LastSeen.UTC(),
	}
	if p.LastSeen.IsZero() {
		a.Seen = time.Time{}
	}
	if p.Capacity == nil {
		return a
	}
	a.Capacity = capacityOf(p.Capacity)
	if h := p.Hint; h != nil {
		a.Capacity.FreeSlots = h.Slots
		a.Capacity.FreeMemory = int64(min(job.FromBucket(h.Memory), 1<<62))
		a.Capacity.Queue = millis(int64(min(job.FromBucket(h.Queue), 1<<40)))
	}
	return a
}

func roleOf(p host.PeerInfo) string {
	if p.Role != "" {
		return string(p.Role)
	}
	return string(p.Relation)
}

func capacityOf(c *job.Capacity) *api.Capacity {
	return &api.Capacity{
		Engines: c.ABIs, Arch: c.Arch, Version: c.Version, Labels: c.Labels, FuelRate: c.Rate,
		Slots: c.Slots, Memory: int64(min(c.Memory, 1<<62)), Limits: c.Ceiling,
	}
}

// clusterDir is the folder, in the repo, of the cluster's state.
func (n *Node) clusterDir() string { return filepath.Join(n.store.Dir(), "cluster") }
