package node

import (
	"context"
	"errors"
	"fmt"
	goruntime "runtime"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/host/store"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node/api"
	"github.com/ipfs-liftoff/liftoff/runtime"
)

// attest creates the Outcome, the Receipt and the cached result of a run, and adds them to j and to the batch to
// commit. A cached answer is not signed again: j names the Receipt of the original run.
func (e *evaluation) attest(ctx context.Context, j *api.Job, x runtime.Traits, queue time.Duration) error {
	engine := x.Version
	if engine == "" {
		engine = x.Engine
	}
	meta := job.Meta{
		Wall: max(0, j.Run.Milliseconds()), Queue: max(0, queue.Milliseconds()),
		Arch: goruntime.GOARCH, Engine: engine, Version: e.node.version,
	}
	if e.source != nil {
		f := e.source.Fetched()
		meta.Fetch, meta.Fetched = max(0, f.Waited.Milliseconds()), uint64(f.Bytes)
	}
	if err := e.sign(j, meta); err != nil {
		return err
	}
	return e.cacheResult(ctx, j)
}

// replay answers another peer's order from a cached result. The Receipt states that nothing ran. When several
// runs are asked for, each of them must run.
func (e *evaluation) replay(ctx context.Context, w api.Watch, j *api.Job, signed job.Order) (bool, error) {
	if signed.NeedsRun() {
		return false, nil
	}
	hit, err := e.answerFromCache(ctx, w, j)
	if err != nil || !hit {
		return false, err
	}
	e.blocks, e.refs = append(e.blocks, e.task), j.Refs
	return true, e.sign(j, job.Meta{Arch: goruntime.GOARCH, Version: e.node.version, Replayed: true})
}

// sign creates the Outcome and the Receipt.
func (e *evaluation) sign(j *api.Job, meta job.Meta) error {
	b, err := j.Outcome.Encode()
	if err != nil {
		return fmt.Errorf("encode outcome: %w", err)
	}
	outcome := dag.NewBlock(cid.DagCBOR, b)
	r := job.Receipt{
		Order: e.answers.job, Lease: e.answers.lease, Issuer: e.self.DID, Task: e.task.CID(), Outcome: outcome.CID(),
		Issued: e.node.clock().UnixMilli(), Meta: meta,
	}
	envelope, err := r.Sign(e.self.Key)
	if err != nil {
		return fmt.Errorf("sign receipt: %w", err)
	}
	receipt := dag.NewBlock(cid.DagCBOR, envelope)
	records, err := receiptRecords(receipt.CID(), r)
	if err != nil {
		return err
	}
	e.blocks = append(e.blocks, outcome, receipt)
	e.records = append(e.records, records...)
	j.Task, j.OutcomeCID, j.Receipt = e.task.CID(), outcome.CID(), receipt.CID()
	return nil
}

// cacheResult adds the cached result of a run to the batch to commit. An Outcome that was ended by a limit does
// not replace one that is valid for other limits, too.
func (e *evaluation) cacheResult(ctx context.Context, j *api.Job) error {
	if e.r.Task.Det == job.DetNone || j.Outcome.Limits != nil && e.hasUnlimited(ctx) {
		return nil
	}
	m := cachedResult{Outcome: j.OutcomeCID, Receipt: j.Receipt, Issuer: e.self.DID, Created: e.node.clock().UTC(), Refs: j.Refs}
	if len(j.Refs) == 0 { // otherwise parts of the output belong to inputs, which may be incomplete
		var err error
		if m.Whole, err = e.node.store.Generation(); err != nil {
			return err
		}
	}
	r, err := m.record(e.task.CID())
	e.records = append(e.records, r)
	return err
}

// hasUnlimited reports whether the cached result of the Task is from a run that no limit has ended.
func (e *evaluation) hasUnlimited(ctx context.Context) bool {
	m, found, err := e.node.cached(e.task.CID())
	if err != nil || !found {
		return false
	}
	b, err := e.session.Get(ctx, m.Outcome)
	if err != nil {
		return false
	}
	o, err := job.DecodeOutcome(b.Data())
	return err == nil && o.Limits == nil
}

// keep commits everything that the job has created, with its record and a pin, in one batch.
func (e *evaluation) keep(ctx context.Context, j api.Job) error {
	p := store.Pin{Name: jobPin(j.ID), Created: e.node.clock(), Expires: e.expires, Opaque: true}
	for _, c := range append([]cid.Cid{e.task.CID(), j.OutcomeCID, j.Receipt}, e.evidence...) {
		p.Roots = append(p.Roots, store.Root{CID: c})
	}
	o := j.Outcome
	for _, c := range append([]cid.Cid{e.r.Task.Mod, o.Root, o.Stdout, o.Stderr}, e.r.Local...) {
		if c.Defined() {
			p.Roots = append(p.Roots, store.Root{CID: c, Recursive: true})
		}
	}
	records, err := e.node.history.last(j, e.expires)
	if err != nil {
		return err
	}
	return e.session.Commit(ctx, store.Batch{
		Blocks: e.blocks, Pins: []store.Pin{p}, Records: append(e.records, records...),
	})
}

// keepFailed records that the job has failed, and keeps its printed output.
func (e *evaluation) keepFailed(x *running, j *api.Job) {
	ctx := context.Background()
	b := store.Batch{Blocks: []dag.Block{e.task}}
	err := e.keepPrinted(ctx, x, j)
	if err == nil {
		p := store.Pin{Name: jobPin(j.ID), Created: e.node.clock(), Expires: e.expires, Opaque: true}
		for _, c := range e.evidence {
			p.Roots = append(p.Roots, store.Root{CID: c})
		}
		for _, c := range outputs(job.Outcome{Stdout: j.Stdout, Stderr: j.Stderr}) {
			p.Roots = append(p.Roots, store.Root{CID: c, Recursive: true})
		}
		switch {
		case len(p.Roots) > 0:
			b.Pins = []store.Pin{p}
		case x.submitted:
			err = e.node.store.RemovePin(jobPin(j.ID))
		}
	}
	records, rerr := e.node.history.last(*j, e.expires)
	if rerr == nil {
		b.Records = records
		rerr = e.session.Commit(ctx, b)
	}
	if err := errors.Join(err, rerr); err != nil {
		e.node.log.Warn("record failed job", "job", j.ID, "err", err)
	}
}

// keepPrinted stores the printed output of a failed job as files.
func (e *evaluation) keepPrinted(ctx context.Context, x *running, j *api.Job) error {
	if x.spool.Size() == 0 {
		return nil
	}
	r, err := x.spool.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	x.spool.Stop()
	out, errs := dag.NewFileWriter(ctx, e.session, dag.UnixFSv1), dag.NewFileWriter(ctx, e.session, dag.UnixFSv1)
	if err := r.CopyTo(ctx, out, errs); err != nil {
		return err
	}
	for _, f := range []struct {
		w    *dag.FileWriter
		file *cid.Cid
	}{{out, &j.Stdout}, {errs, &j.Stderr}} {
		if f.w.Size() == 0 {
			continue
		}
		entry, err := f.w.Finish()
		if err != nil {
			return err
		}
		*f.file = entry.CID
	}
	return nil
}
