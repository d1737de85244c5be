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

// visits is the peer that a node is while it has jobs that visit. They share one: a key is
// one peer's, and so are the slots of a machine.
type visits struct {
	mu   sync.Mutex // held while the peer is opened or closed
	w    *network   // while there are jobs
	jobs int        // that visit
}

// join returns the peer, which open makes for the first job. The caller leaves it.
func (v *visits) join(open func() (*network, error)) (*network, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.jobs == 0 {
		w, err := open()
		if err != nil {
			return nil, err
		}
		v.w = w
	}
	v.jobs++
	return v.w, nil
}

// leave closes the peer behind the last job.
func (v *visits) leave() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.jobs--; v.jobs > 0 {
		return nil
	}
	w := v.w
	v.w = nil
	return w.close()
}

// visit makes the node a peer for the time of one job, when it needs others for it and
// the repo belongs to a fence: it dials its members and lets nobody in. It returns nil
// when the job needs nobody.
func (n *Node) visit(ctx context.Context, x *running) (*network, func(), error) {
	none := func() {}
	r := x.request
	lacks, err := n.lacks(ctx, x)
	if err != nil {
		return nil, none, apiError(ctx, err)
	}
	anywhere := r.Where == api.WhereBest && r.Replicas <= 1 && len(r.Need) == 0 // here, too
	if r.Where == api.WhereLocal && r.Replicas <= 1 || anywhere && !lacks {
		return nil, none, nil
	}
	f, err := n.fence()
	if err != nil {
		return nil, none, apiError(ctx, err)
	}
	if f.ID() == "" {
		if anywhere {
			return nil, none, nil // the run will say what is missing
		}
		return nil, none, offline()
	}
	w, err := n.visits.join(func() (*network, error) { return openNetwork(ctx, n, NetworkConfig{NoListen: true}) })
	if err != nil {
		return nil, none, apiError(ctx, err)
	}
	leave := func() {
		if err := n.visits.leave(); err != nil {
			n.log.Warn("the network was not left well", "error", err)
		}
	}
	why := "not all of its inputs are here"
	if !anywhere {
		why = "it shall run elsewhere"
	}
	x.event(api.Event{Kind: api.EventNote, Text: "joins its fence for this job: " + why})
	w.awaitPeers(ctx, visitTime)
	if who := w.unreached(); who != "" {
		x.event(api.Event{Kind: api.EventNote, Text: "nobody of its fence was reached: " + who})
	}
	return w, leave, nil
}

// lacks reports whether something that the Task names is not here.
func (n *Node) lacks(ctx context.Context, x *running) (bool, error) {
	if x.request.Where == api.WhereBest && x.request.Replicas <= 1 {
		for _, c := range taskRoots(x.request.Task) {
			has, err := n.store.Has(ctx, c)
			if err != nil || !has {
				return true, err
			}
		}
		if f, err := n.fence(); err != nil || f.ID() == "" {
			return false, err // nobody could be asked for what is below
		}
	}
	c, err := n.coverage.of(ctx, taskRoots(x.request.Task)...)
	return c.Lacks > 0, err
}

// awaitMembers waits until a peer is connected if there are others in the fence: one that
// has just been started is about to reach them. A visit has waited already.
func (w *network) awaitMembers(ctx context.Context) {
	if w.cfg.NoListen {
		return
	}
	if members := w.peer.Fence().Members(w.node.clock()); len(members) > 1 || len(w.cfg.Connect) > 0 {
		w.awaitPeers(ctx, visitTime)
	}
}

// awaitPeers waits until a peer is connected, or for some time. Who is not dialed himself
// can stop as soon as nobody is left to dial.
func (w *network) awaitPeers(ctx context.Context, most time.Duration) {
	ctx, cancel := context.WithTimeoutCause(ctx, most, errors.New("nobody was reached"))
	defer cancel()
	t := time.NewTicker(20 * time.Millisecond)
	defer t.Stop()
	for !w.anyPeer() && !(w.cfg.NoListen && w.triedAll()) {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// triedAll reports whether every member whose address is known was dialed in vain.
func (w *network) triedAll() bool {
	return !slices.ContainsFunc(w.peer.Peers(), func(p host.PeerInfo) bool { return p.Connected || p.Unreached == nil && len(p.Addrs) > 0 })
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
		case p.Relation != host.Member || len(p.Addrs) == 0:
			continue
		}
		why := "it does not answer"
		if p.Unreached != nil {
			why = request.Reason(p.Unreached)
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

// anyPeer reports whether somebody is connected and was admitted.
func (w *network) anyPeer() bool {
	if len(w.peer.Libp2p().Network().Peers()) == 0 {
		return false
	}
	for _, p := range w.peer.Peers() {
		if p.Connected && !p.LastSeen.IsZero() { // it has greeted
			return true
		}
	}
	return false
}
