package node

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/host"
	"github.com/ipfs-liftoff/liftoff/host/market"
	"github.com/ipfs-liftoff/liftoff/host/store"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node/api"
	"github.com/ipfs-liftoff/liftoff/node/spool"
)

// A result that waits for its requester is recorded as "l/" and its lease, so that it is found again after a
// restart. A compute-only peer records none: its results stay in memory and in its store while it runs.
const leasePrefix = "l/"

// retained is the record of a result that waits for its requester.
type retained struct {
	From    string    `json:"from"` // the requester's peer id
	Job     cid.Cid   `json:"job"`  // the awarded envelope
	Task    cid.Cid   `json:"task"`
	Outcome cid.Cid   `json:"outcome"`
	Receipt cid.Cid   `json:"receipt"`
	Refs    []cid.Cid `json:"refs,omitempty"`
	Expires time.Time `json:"expires"`
}

func leaseRecord(l market.Lease) string { return leasePrefix + hex.EncodeToString(l[:]) }

// keep commits what the run has created: blocks, cached result and receipt. Unless this peer is compute-only,
// the result is pinned until the requester has it. A result with more links than a record holds does not survive
// the process: without the full list, blocks that the run did not create would be sent.
func (x *award) keep(ctx context.Context, e *evaluation, j api.Job) error {
	b := store.Batch{Blocks: e.blocks, Records: e.records}
	if !x.p.w.cfg.ComputeOnly && len(e.refs) <= maxRefs {
		p := store.Pin{Name: leasePin(x.lease), Created: e.node.clock(), Expires: e.expires, Opaque: true}
		for _, c := range []cid.Cid{j.Task, j.OutcomeCID, j.Receipt} {
			p.Roots = append(p.Roots, store.Root{CID: c})
		}
		for _, c := range outputs(*j.Outcome) {
			p.Roots = append(p.Roots, store.Root{CID: c, Recursive: true})
		}
		r, err := json.Marshal(retained{x.from.String(), x.envelope, j.Task, j.OutcomeCID, j.Receipt, j.Refs, e.expires})
		if err != nil {
			return fmt.Errorf("encode record of retained result: %w", err)
		}
		b.Pins = []store.Pin{p}
		b.Records = append(b.Records, store.Record{Name: leaseRecord(x.lease), Value: r})
	}
	return x.session.Commit(ctx, b)
}

// dropRetained unpins a result and deletes its record, if there is one.
func (n *Node) dropRetained(l market.Lease) error {
	var none *store.PinNotFoundError
	if err := n.store.RemovePin(leasePin(l)); err != nil && !errors.As(err, &none) {
		return err
	}
	_, found, err := n.store.Lookup(leaseRecord(l))
	if err != nil || !found {
		return err
	}
	return n.store.Commit(context.Background(), store.Batch{Records: []store.Record{{Name: leaseRecord(l), Delete: true}}})
}

// recover restores the results that wait for their requesters since before a restart, and deletes the expired
// ones.
func (p *provider) recover(ctx context.Context) error {
	n := p.w.node
	type entry struct {
		lease market.Lease
		r     retained
	}
	var all []entry
	err := n.store.Records(ctx, leasePrefix, func(name string, value func() ([]byte, error)) error {
		b, err := value()
		if b == nil {
			return err
		}
		var e entry
		if k, err := hex.Decode(e.lease[:], []byte(name[len(leasePrefix):])); err != nil || k != len(e.lease) {
			return nil // an unknown record
		}
		if err := json.Unmarshal(b, &e.r); err != nil {
			n.log.Warn("read retained result", "lease", name[len(leasePrefix):], "err", err)
			return nil
		}
		all = append(all, e)
		return nil
	})
	if err != nil {
		return fmt.Errorf("read retained results: %w", err)
	}
	now := n.clock()
	for _, e := range all {
		if now.Before(e.r.Expires) {
			err = p.restore(ctx, e.lease, e.r, e.r.Expires.Sub(now))
		} else {
			err = n.dropRetained(e.lease)
		}
		if err != nil {
			n.log.Warn("restore retained result", "lease", fmt.Sprintf("%x", e.lease[:]), "err", err)
		}
	}
	return nil
}

// restore creates the award that a record describes.
func (p *provider) restore(ctx context.Context, l market.Lease, r retained, left time.Duration) error {
	from, err := host.ParsePeer(r.From)
	if err != nil {
		return err
	}
	n := p.w.node
	x := &award{
		p: p, from: from, lease: l, envelope: r.Job, spool: &spool.Spool{Create: n.unnamed}, session: n.store.Begin(),
		signed: job.Order{TTL: max(1, left.Milliseconds())},
		kept:   make(chan struct{}), closed: make(chan struct{}), away: make(chan struct{}),
	}
	x.ctx, x.cancel = context.WithCancelCause(context.Background())
	x.spool.End()
	close(x.kept)
	o, err := x.reload(ctx, r)
	if err != nil {
		x.release()
		return err
	}
	x.refs = r.Refs
	j := api.Job{Task: r.Task, OutcomeCID: r.Outcome, Receipt: r.Receipt, Outcome: &o}
	p.mu.Lock()
	p.awards[l] = x
	p.mu.Unlock()
	return x.deliver(ctx, j)
}

// reload reads the Task and the Outcome of a retained result.
func (x *award) reload(ctx context.Context, r retained) (o job.Outcome, err error) {
	if x.block, err = x.session.Get(ctx, r.Task); err != nil {
		return o, err
	}
	if x.task, err = job.DecodeTask(x.block.Data()); err != nil {
		return o, err
	}
	b, err := x.session.Get(ctx, r.Outcome)
	if err != nil {
		return o, err
	}
	if o, err = job.DecodeOutcome(b.Data()); err != nil {
		return o, err
	}
	x.run = market.NewRun(market.RunConfig{
		Logs: func(ctx context.Context, stdout, stderr io.Writer) error {
			return show(ctx, x.session, o, stdout, stderr)
		},
		Closed: x.requesterClosed,
		Away:   x.disconnected,
	})
	return o, nil
}

// show writes the printed output that an Outcome refers to.
func show(ctx context.Context, bs dag.Blocks, o job.Outcome, stdout, stderr io.Writer) error {
	for _, p := range []printed{{o.Stdout, stdout}, {o.Stderr, stderr}} {
		if err := p.show(ctx, bs); err != nil {
			return err
		}
	}
	return nil
}
