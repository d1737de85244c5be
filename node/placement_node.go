package node

import (
	"context"
	"crypto/rand"

	"github.com/ipfs-liftoff/liftoff/host"
	"github.com/ipfs-liftoff/liftoff/host/exchange"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node/api"
	"github.com/ipfs-liftoff/liftoff/node/request"
)

// placement implements request.Node: this file has the part about the job, candidates.go the part about peers.
var _ request.Node = (*placement)(nil)

// Sign implements request.Node. The provider in to gets access to the job's inputs.
func (t *placement) Sign(attempt int, to job.DID) ([]byte, error) {
	j := t.job
	t.mu.Lock()
	n, ok := t.nonces[attempt]
	if !ok {
		rand.Read(n[:])
		t.nonces[attempt] = n
	}
	t.mu.Unlock()
	now := t.w.node.clock()
	j.Attempt, j.Audience, j.Nonce = attempt, to, n
	j.Issued, j.Expires = now.UnixMilli(), now.Add(orderLife).UnixMilli()
	if to != "" {
		if err := t.grant(to); err != nil {
			return nil, err
		}
	}
	return j.Sign(t.w.self.Key)
}

func (t *placement) grant(to job.DID) error {
	id, err := host.IDOf(to)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.granted[to] == nil {
		t.granted[to] = t.w.access.Grant(id, taskRoots(t.x.request.Task)...)
	}
	return nil
}

// revokeGrants ends the access that the placement has granted.
func (t *placement) revokeGrants() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, revoke := range t.granted {
		revoke()
	}
}

// RunLocal implements request.Node. Blocks that this node does not have come from peers that hold them.
func (t *placement) RunLocal(ctx context.Context, sources []job.DID, out request.Output) (request.Result, error) {
	w, e := t.w, *t.e
	e.tracked = e.session.Track()
	source := w.exchange.Session(exchange.SessionConfig{Local: e.tracked, Sources: t.sources(sources)})
	defer source.Close()
	e.source = source
	e.slots = &ownSlot{queue: w.queue, job: t.job}
	j := t.x.snapshot()
	err := e.run(ctx, api.Watch{Stdout: out.Stdout, Stderr: out.Stderr, Progress: out.Progress}, &j)
	if err != nil {
		return request.Result{}, err
	}
	t.mu.Lock()
	t.localRun, t.localJob = &e, j
	t.mu.Unlock()
	return request.Result{Peer: w.self.DID, Outcome: j.OutcomeCID, Receipt: j.Receipt, Value: *j.Outcome}, nil
}

// CheckModule implements request.Node. The module is read like a run reads it, since its compiled form is kept for
// runs.
func (t *placement) CheckModule(ctx context.Context) error {
	executors, err := t.w.node.startRun(ctx)
	if err != nil {
		return nil
	}
	defer t.w.node.endRun()
	return t.w.node.refused(ctx, executors, t.x.request, t.e.session.Track())
}

// SaveCheckpoint implements request.Node.
func (t *placement) SaveCheckpoint(l request.Checkpoint) {
	if err := t.w.node.saveCheckpoint(t.x, l); err != nil {
		t.w.node.log.Warn("record placement of job", "job", t.x.id, "err", err)
	}
}

// Event implements request.Node.
func (t *placement) Event(e api.Event) {
	if t.placed != nil && (e.Kind == api.EventAwarded || e.Kind == api.EventStarted) {
		t.placed()
	}
	t.x.event(e)
}
