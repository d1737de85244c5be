package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ipfs-liftoff/liftoff/host"
	"github.com/ipfs-liftoff/liftoff/node/api"
	"github.com/ipfs-liftoff/liftoff/node/request"
	"github.com/ipfs-liftoff/liftoff/scheduler"
)

// connectTime is how long an ephemeral peer waits until it is connected to a peer.
const connectTime = 5 * time.Second

// settleTime is how long an ephemeral peer waits for more peers after the first: a handshake brings the
// addresses of other members.
const settleTime = 500 * time.Millisecond

// idleTime is how long an ephemeral peer stays open when no job needs it: the next job often follows soon.
const idleTime = 2 * time.Second

// ephemeral is a dial-only libp2p host that lives as long as jobs or fetches need it. All of them share it,
// because a key identifies one peer, and the slots of a machine exist once.
type ephemeral struct {
	mu    sync.Mutex // held while the peer is opened or closed
	w     *network   // nil: closed
	users int
	idle  *time.Timer // closes the peer; nil: it was never released
	over  bool        // the node is closing
}

// acquireEphemeral opens the node's ephemeral peer, or adds a user to the open one. The peer dials the members
// of its cluster and accepts no connections. The caller calls release.
func (n *Node) acquireEphemeral(ctx context.Context) (w *network, leave func(), err error) {
	v := &n.ephemeral
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.w == nil {
		if v.w, err = openNetwork(ctx, n, NetworkConfig{NoListen: true}); err != nil {
			return nil, nil, err
		}
	}
	v.users++
	return v.w, n.releaseEphemeral, nil
}

func (n *Node) releaseEphemeral() {
	v := &n.ephemeral
	v.mu.Lock()
	defer v.mu.Unlock()
	v.users--
	switch {
	case v.users > 0:
	case v.over:
		n.closeIdle()
	case v.idle == nil:
		v.idle = time.AfterFunc(idleTime, func() {
			v.mu.Lock()
			defer v.mu.Unlock()
			n.closeIdle()
		})
	default:
		v.idle.Reset(idleTime)
	}
}

// closeIdle closes the peer if it has no users. n.ephemeral.mu is held.
func (n *Node) closeIdle() {
	v := &n.ephemeral
	if v.w == nil || v.users > 0 {
		return
	}
	if err := v.w.close(); err != nil {
		n.log.Warn("leave network", "err", err)
	}
	v.w = nil
}

// closeEphemeral closes the peer as soon as its last user releases it. It is called before the node closes.
func (n *Node) closeEphemeral() {
	v := &n.ephemeral
	v.mu.Lock()
	defer v.mu.Unlock()
	v.over = true
	if v.idle != nil {
		v.idle.Stop()
	}
	n.closeIdle()
}

// joinForJob opens the ephemeral peer for one job, if the job needs other peers and the repo belongs to a
// cluster. It returns nil if the job needs no other peer.
func (n *Node) joinForJob(ctx context.Context, x *running) (*network, func(), error) {
	none := func() {}
	r := x.request
	lacks, err := n.lacksInputs(ctx, x)
	if err != nil {
		return nil, none, apiError(ctx, err)
	}
	anywhere := r.Where == api.WhereBest && r.Runs <= 1 && len(r.Need) == 0 // this node included
	if r.Where == api.WhereLocal && r.Runs <= 1 || anywhere && !lacks {
		return nil, none, nil
	}
	f, err := n.cluster()
	if err != nil {
		return nil, none, apiError(ctx, err)
	}
	if f.ID() == "" {
		if anywhere {
			return nil, none, nil // the run will report what is missing
		}
		return nil, none, offline()
	}
	w, leave, err := n.acquireEphemeral(ctx)
	if err != nil {
		return nil, none, apiError(ctx, err)
	}
	why := "this node lacks some inputs of the job"
	if !anywhere {
		why = "the job is to run on another peer"
	}
	x.event(api.Event{Kind: api.EventNote, Text: "connecting to the cluster: " + why})
	w.awaitPeers(ctx, connectTime)
	if failed := w.unreached(); failed != "" {
		x.event(api.Event{Kind: api.EventNote, Text: "no peer of the cluster was reached: " + failed})
	}
	return w, leave, nil
}

// lacksInputs reports whether some data that the Task names is missing on this node.
func (n *Node) lacksInputs(ctx context.Context, x *running) (bool, error) {
	if x.request.Where == api.WhereBest && x.request.Runs <= 1 {
		for _, c := range taskRoots(x.request.Task) {
			has, err := n.store.Has(ctx, c)
			if err != nil || !has {
				return true, err
			}
		}
		if f, err := n.cluster(); err != nil || f.ID() == "" {
			return false, err // without a cluster the blocks below the roots cannot be fetched either
		}
	}
	c, err := n.coverage.of(ctx, taskRoots(x.request.Task)...)
	return c.Lacks > 0, err
}

// awaitMembers waits until a peer is connected, if the cluster has other members: a node that has just started
// is about to reach them. An ephemeral peer has waited already.
func (w *network) awaitMembers(ctx context.Context) {
	if w.cfg.NoListen {
		return
	}
	if members := w.peer.Cluster().Members(w.node.clock()); len(members) > 1 || len(w.cfg.Connect) > 0 {
		w.awaitPeers(ctx, connectTime)
	}
}

// awaitPeers waits until a peer is connected, or until most has passed. A dial-only node waits settleTime longer
// for members whose addresses come from the first peer, and stops as soon as no member is left to dial.
func (w *network) awaitPeers(ctx context.Context, most time.Duration) {
	ctx, cancel := context.WithTimeoutCause(ctx, most, errors.New("no peer was reached"))
	defer cancel()
	t := time.NewTicker(20 * time.Millisecond)
	defer t.Stop()
	var settled <-chan time.Time // nil: no peer is connected yet
	for {
		found := w.anyPeer()
		switch {
		case found && !w.cfg.NoListen, w.cfg.NoListen && w.triedAll():
			return
		case found && settled == nil:
			settled = time.After(settleTime)
		}
		select {
		case <-settled:
			return
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// triedAll reports whether each member with a known address has done the handshake or was dialed in vain; or
// whether enough members have.
func (w *network) triedAll() bool {
	ready, pending := 0, 0
	for _, p := range w.peer.Peers() {
		switch {
		case p.HandshakeDone:
			ready++
		case p.Connected, p.Unreachable == nil && len(p.Addrs) > 0:
			pending++
		}
	}
	return pending == 0 || ready >= maxFetchFrom
}

// awaitsMembers reports whether members are being dialed. A serving node that opened its network less than waitSilent
// ago also awaits those whose dial failed: two nodes that dial each other at once may both fail, and dial again.
func (w *network) awaitsMembers() bool {
	if !w.triedAll() {
		return true
	}
	if w.cfg.NoListen || w.node.clock().Sub(w.opened) >= waitSilent {
		return false
	}
	return slices.ContainsFunc(w.peer.Peers(), func(p host.PeerInfo) bool { return p.Role != "" && !p.HandshakeDone })
}

// Bounds of the list of peers that were not reached.
const (
	maxUnreached      = 4
	maxUnreachedAddrs = 2 // of each peer
)

// unreached lists the members that could not be reached, each with the reason. It is "" when a peer is
// connected, or when there are no members to dial.
func (w *network) unreached() string {
	var all []string
	for _, p := range w.peer.Peers() {
		switch {
		case p.Connected:
			return ""
		case p.Role == "" || len(p.Addrs) == 0: // not a member
			continue
		}
		why := "it does not answer"
		if p.Unreachable != nil {
			why = request.Reason(p.Unreachable)
		}
		all = append(all, fmt.Sprintf("%s (%s: %s)", scheduler.Short(p.DID), listed(p.Addrs, maxUnreachedAddrs), why))
	}
	return listed(all, maxUnreached)
}

// listed joins at most n items of all, and counts the rest.
func listed(all []string, n int) string {
	if len(all) <= n {
		return strings.Join(all, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(all[:n], ", "), len(all)-n)
}

// anyPeer reports whether a peer that may receive jobs is connected and has done the handshake.
func (w *network) anyPeer() bool {
	if !w.peer.AnyConnected(host.ReceiveJobs) {
		return false
	}
	return slices.ContainsFunc(w.peer.Peers(), func(p host.PeerInfo) bool { return p.HandshakeDone && p.Allows(host.ReceiveJobs) })
}
