package node

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/ipfs-liftoff/liftoff/host"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node/api"
	"github.com/ipfs-liftoff/liftoff/scheduler"
)

// Peers implements request.Node.
func (t *placement) Peers(ctx context.Context) []scheduler.Candidate {
	var all []scheduler.Candidate
	infos := t.w.peer.Peers()
	for _, p := range infos {
		if c, ok := candidate(p); ok && !t.isExcluded(p.DID) {
			all = append(all, c)
		}
	}
	if len(all) > askAll {
		t.markHolders(ctx, infos, all)
	}
	return all
}

// askAll is the number of peers up to which all are asked for a bid, which states what they hold.
const askAll = 8

// candidate converts a peer into the scheduler's type. ok is false for a peer that may not receive jobs, and for
// one without a handshake or a hint.
func candidate(p host.PeerInfo) (c scheduler.Candidate, ok bool) {
	if !p.Allows(host.ReceiveJobs) || p.DID == "" || !p.HandshakeDone && p.Hint == nil {
		return c, false
	}
	c = scheduler.Candidate{Peer: p.DID, Capacity: p.Capacity, Slots: -1}
	if p.Hint != nil {
		c.Slots = p.Hint.Slots
	}
	return c, true
}

// Bounds of the search for holders of inputs, among many peers.
const (
	haveTime  = 150 * time.Millisecond
	havePeers = 64
)

// markHolders asks connected peers whether they have the roots of the inputs.
func (t *placement) markHolders(ctx context.Context, infos []host.PeerInfo, all []scheduler.Candidate) {
	roots := taskRoots(t.x.request.Task)[1:]
	if len(roots) == 0 {
		return
	}
	roots = roots[:min(len(roots), 16)]
	ctx, cancel := context.WithTimeout(ctx, haveTime)
	defer cancel()
	var group sync.WaitGroup
	var mu sync.Mutex
	asked := 0
	for _, p := range infos {
		i := slices.IndexFunc(all, func(c scheduler.Candidate) bool { return c.Peer == p.DID })
		if i < 0 || !p.Connected || asked == havePeers {
			continue
		}
		asked++
		group.Go(func() {
			held, err := t.w.exchange.Have(ctx, peer.AddrInfo{ID: p.ID}, roots)
			if err == nil && slices.Contains(held, true) {
				mu.Lock()
				defer mu.Unlock()
				all[i].Holder = true
			}
		})
	}
	group.Wait()
}

// Announce implements request.Node.
func (t *placement) Announce(ctx context.Context, a scheduler.Announce, found func(scheduler.Candidate)) error {
	r := t.x.request
	roots := taskRoots(r.Task)
	return t.w.peer.Announce(ctx, job.Announce{
		Task: t.x.task.CID(), ABI: r.Task.ABI, Inputs: roots[:min(len(roots), job.MaxAnnounceLinks)], Bytes: t.work.Bytes,
		Limits: t.job.Limits, Need: t.job.Need, Window: a.Window.Milliseconds(), Exclude: a.Exclude[:min(len(a.Exclude), job.MaxExclude)],
	}, func(id peer.ID) {
		if did, err := host.DIDOf(id); err == nil && !t.isExcluded(did) {
			found(scheduler.Candidate{Peer: did, Slots: -1})
		}
	})
}

// AddrInfo implements request.Node.
func (t *placement) AddrInfo(p peer.ID) peer.AddrInfo { return t.w.addrInfo(p) }

// sources returns the addresses of the first peers, followed by those of other connected peers.
func (t *placement) sources(first []job.DID) []peer.AddrInfo {
	var all []peer.AddrInfo
	for _, d := range first {
		if id, err := host.IDOf(d); err == nil {
			all = append(all, t.w.addrInfo(id))
		}
	}
	return t.w.andConnected(all)
}

// reach dials the one peer that may run the job, unless it is connected: the bid window is shorter than a dial
// may take. A failed dial shows when the peer is asked for a bid.
func (t *placement) reach(ctx context.Context, to job.DID) {
	id, err := host.IDOf(to)
	if err != nil || t.w.connected(id) || !t.w.peer.Allows(id, host.BeDialed) {
		return
	}
	t.x.event(api.Event{
		Kind: api.EventWaiting, Peer: string(to), Text: fmt.Sprintf("dialing %s, for at most %v", scheduler.Short(to), reachTime),
	})
	ctx, cancel := context.WithTimeout(ctx, reachTime)
	defer cancel()
	if err := t.w.peer.Libp2p().Connect(ctx, t.w.addrInfo(id)); err != nil {
		t.w.node.log.Debug("dial the one peer that may run the job", "job", t.x.id, "peer", id, "err", err)
	}
}

// reachTime is how long the one peer that may run a job is dialed.
const reachTime = 3 * time.Second

// whereOf parses Request.Where. A peer is named by its did:key or its peer id; a known one also by the beginning or
// the short form of its did:key.
func (w *network) whereOf(s string) (string, error) {
	switch s {
	case api.WhereBest:
		return scheduler.Anywhere, nil
	case api.WhereLocal:
		return scheduler.Local, nil
	case api.WhereNetwork:
		return scheduler.OnNetwork, nil
	}
	if _, err := job.DID(s).Key(); err == nil {
		return s, nil
	}
	if api.IsShortPeer(s) {
		return w.knownPeer(s)
	}
	id, err := host.ParsePeer(s)
	var did job.DID
	if err == nil {
		did, err = host.DIDOf(id)
	}
	if err != nil {
		return "", &api.Error{
			Code: api.CodeUsage, Message: fmt.Sprintf("%q is not \"local\", \"network\" or a peer", s),
			Hint: "name a peer by its did:key or its peer id: `liftoff peers --no-trunc`",
		}
	}
	return string(did), nil
}

// knownPeer returns the did:key of the one peer that this node knows by a short name.
func (w *network) knownPeer(name string) (string, error) {
	dids := []string{string(w.self.DID)}
	for _, p := range w.peer.Peers() {
		dids = append(dids, string(p.DID))
	}
	for _, m := range w.peer.Cluster().Members(w.node.clock()) {
		dids = append(dids, string(m.DID))
	}
	slices.Sort(dids)
	var found []string
	for _, d := range slices.Compact(dids) {
		if api.MatchesPeer(name, d) {
			found = append(found, d)
		}
	}
	switch len(found) {
	case 0:
		return "", &api.Error{
			Code: api.CodeUsage, Message: fmt.Sprintf("no known peer has the name %q", name),
			Hint: "name a peer by its did:key: `liftoff peers --no-trunc`",
		}
	case 1:
		return found[0], nil
	}
	return "", &api.Error{
		Code: api.CodeUsage, Message: fmt.Sprintf("%d known peers have the name %q", len(found), name),
		Hint: fmt.Sprintf("give more of it, as in %s or %s", found[0], found[1]),
	}
}

// Calibrate implements request.Node.
func (t *placement) Calibrate(c scheduler.Calibrate) {
	t.w.observe(c)
}

func (w *network) factor(d job.DID) float64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.calibration.Factor(d)
}
