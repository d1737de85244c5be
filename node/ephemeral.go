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

// visitTime is how long a peer for the time of one job waits until it is connected.
const visitTime = 5 * time.Second

// settleTime is how long a visit waits for more peers when it has one: who is greeted
// first tells of others.
const settleTime = 500 * time.Millisecond

// lingerTime is how long a visit lasts when nobody needs it: the next one is often near.
const lingerTime = 2 * time.Second

// visits is the peer that a node is while something visits the cluster. All that do share
// it: a key is one peer's, and so are the slots of a machine.
type visits struct {
	mu    sync.Mutex // held while the peer is opened or closed
	w     *network   // nil: there is none
	users int
	idle  *time.Timer // closes it; nil: it was never left
	over  bool        // the node is about to close
}

// enter makes the node a peer of its cluster, or another user of the one that it is already:
// it dials the members and lets nobody in. The caller calls leave.
func (n *Node) enter(ctx context.Context) (w *network, leave func(), err error) {
	v := &n.visits
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.w == nil {
		if v.w, err = openNetwork(ctx, n, NetworkConfig{NoListen: true}); err != nil {
			return nil, nil, err
		}
	}
	v.users++
	return v.w, n.leaveVisit, nil
}

func (n *Node) leaveVisit() {
	v := &n.visits
	v.mu.Lock()
	defer v.mu.Unlock()
	v.users--
	switch {
	case v.users > 0:
	case v.over:
		n.endVisit()
	case v.idle == nil:
		v.idle = time.AfterFunc(lingerTime, func() {
			v.mu.Lock()
			defer v.mu.Unlock()
			n.endVisit()
		})
	default:
		v.idle.Reset(lingerTime)
	}
}

// endVisit closes the peer if nobody uses it. n.visits.mu is held.
func (n *Node) endVisit() {
	v := &n.visits
	if v.w == nil || v.users > 0 {
		return
	}
	if err := v.w.close(); err != nil {
		n.log.Warn("the network was not left well", "err", err)
	}
	v.w = nil
}

// endVisits has nothing linger any more, before the node closes.
func (n *Node) endVisits() {
	v := &n.visits
	v.mu.Lock()
	defer v.mu.Unlock()
	v.over = true
	if v.idle != nil {
		v.idle.Stop()
	}
	n.endVisit()
}

// visit makes the node a peer for the time of one job, when it needs others for it and
// the repo belongs to a cluster: it dials its members and lets nobody in. It returns nil
// when the job needs nobody.
func (n *Node) visit(ctx context.Context, x *running) (*network, func(), error) {
	none := func() {}
	r := x.request
	lacks, err := n.lacks(ctx, x)
	if err != nil {
		return nil, none, apiError(ctx, err)
	}
	anywhere := r.Where == api.WhereBest && r.Runs <= 1 && len(r.Need) == 0 // here, too
	if r.Where == api.WhereLocal && r.Runs <= 1 || anywhere && !lacks {
		return nil, none, nil
	}
	f, err := n.cluster()
	if err != nil {
		return nil, none, apiError(ctx, err)
	}
	if f.ID() == "" {
		if anywhere {
			return nil, none, nil // the run will say what is missing
		}
		return nil, none, offline()
	}
	w, leave, err := n.enter(ctx)
	if err != nil {
		return nil, none, apiError(ctx, err)
	}
	why := "not all of its inputs are here"
	if !anywhere {
		why = "it shall run elsewhere"
	}
	x.event(api.Event{Kind: api.EventNote, Text: "joins its cluster for this job: " + why})
	w.awaitPeers(ctx, visitTime)
	if who := w.unreached(); who != "" {
		x.event(api.Event{Kind: api.EventNote, Text: "nobody of its cluster was reached: " + who})
	}
	return w, leave, nil
}

// lacks reports whether something that the Task names is not here.
func (n *Node) lacks(ctx context.Context, x *running) (bool, error) {
	if x.request.Where == api.WhereBest && x.request.Runs <= 1 {
		for _, c := range taskRoots(x.request.Task) {
			has, err := n.store.Has(ctx, c)
			if err != nil || !has {
				return true, err
			}
		}
		if f, err := n.cluster(); err != nil || f.ID() == "" {
			return false, err // nobody could be asked for what is below
		}
	}
	c, err := n.coverage.of(ctx, taskRoots(x.request.Task)...)
	return c.Lacks > 0, err
}

// awaitMembers waits until a peer is connected if there are others in the cluster: one that
// has just been started is about to reach them. A visit has waited already.
func (w *network) awaitMembers(ctx context.Context) {
	if w.cfg.NoListen {
		return
	}
	if members := w.peer.Cluster().Members(w.node.clock()); len(members) > 1 || len(w.cfg.Connect) > 0 {
		w.awaitPeers(ctx, visitTime)
	}
}

// awaitPeers waits until a peer is connected, or for some time. Who is not dialed himself
// waits a little for those that the first one tells of, and can stop as soon as nobody is
// left to dial.
func (w *network) awaitPeers(ctx context.Context, most time.Duration) {
	ctx, cancel := context.WithTimeoutCause(ctx, most, errors.New("nobody was reached"))
	defer cancel()
	t := time.NewTicker(20 * time.Millisecond)
	defer t.Stop()
	var settled <-chan time.Time // nil: nobody is connected yet
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

// triedAll reports whether every member whose address is known was greeted, or dialed in
// vain; or enough of them are.
func (w *network) triedAll() bool {
	greeted, pending := 0, 0
	for _, p := range w.peer.Peers() {
		switch {
		case p.HandshakeDone:
			greeted++
		case p.Connected, p.Unreachable == nil && len(p.Addrs) > 0:
			pending++
		}
	}
	return pending == 0 || greeted >= maxFetchFrom
}

// Bounds of the list of peers that were not reached.
const (
	maxUnreached      = 4
	maxUnreachedAddrs = 2 // of each
)

// unreached says, when nobody is connected, which members were dialed and why in vain; ""
// when somebody is, or there is nobody to dial.
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

// listed joins at most n of all, and counts the rest.
func listed(all []string, n int) string {
	if len(all) <= n {
		return strings.Join(all, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(all[:n], ", "), len(all)-n)
}

// anyPeer reports whether a peer is connected, has greeted, and may receive jobs.
func (w *network) anyPeer() bool {
	if !w.peer.AnyConnected(host.ReceiveJobs) {
		return false
	}
	return slices.ContainsFunc(w.peer.Peers(), func(p host.PeerInfo) bool { return p.HandshakeDone && p.Allows(host.ReceiveJobs) })
}
