package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/host/market"
	"github.com/ipfs-liftoff/liftoff/host/store"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node/api"
	"github.com/ipfs-liftoff/liftoff/node/request"
	"github.com/ipfs-liftoff/liftoff/runtime"
)

// Keep implements request.Node: it stores the blocks of a result, each of which matches its CID and belongs to
// the result, and checks that the peer has sent everything that the run created.
func (t *placement) Keep(ctx context.Context, from job.DID, d market.Done, blocks func(yield func(dag.Block, error) bool)) (request.Result, error) {
	s := t.e.session
	r := request.Result{
		Peer: from, Outcome: d.Receipt.Outcome, Receipt: dag.NewBlock(cid.DagCBOR, d.ReceiptBytes).CID(), Value: d.Outcome, Remote: true,
	}
	for b, err := range blocks {
		if err != nil {
			return r, err
		}
		if err := s.Put(ctx, b); err != nil {
			return r, &request.KeepError{Err: apiError(ctx, err)}
		}
	}
	err := s.Put(ctx, dag.NewBlock(cid.DagCBOR, d.ReceiptBytes), dag.NewBlock(cid.DagCBOR, d.OutcomeBytes))
	if err != nil {
		return r, &request.KeepError{Err: apiError(ctx, err)}
	}
	if err = complete(ctx, s, d.Outcome); err != nil && ctx.Err() == nil {
		err = &market.ProtocolError{Err: err} // the peer would send the same on every retry
	}
	return r, err
}

// complete returns an error unless all blocks that a run created are in bs. Missing blocks of the output may be
// parts of inputs, if all bytes that the outcome states are present.
func complete(ctx context.Context, bs dag.Blocks, o job.Outcome) error {
	missing, _, err := walkHeld(ctx, bs, outputs(job.Outcome{Stdout: o.Stdout, Stderr: o.Stderr})...)
	if err == nil && len(missing) > 0 {
		err = fmt.Errorf("stdout or stderr: block %s is missing", missing[0])
	}
	if err == nil {
		err = checkLog(ctx, bs, o)
	}
	if err != nil {
		return err
	}
	missing, held, err := walkHeld(ctx, bs, o.Root)
	if err == nil && len(missing) > 0 && held < o.Size {
		err = fmt.Errorf("output of the job: block %s is missing, got %d of %d bytes", missing[0], held, o.Size)
	}
	return err
}

// checkLog returns an error unless stdout and stderr are files of as many bytes as o states: a file that repeats
// blocks would be longer than the data that was sent.
func checkLog(ctx context.Context, bs dag.Blocks, o job.Outcome) error {
	printed := uint64(0)
	for _, c := range outputs(job.Outcome{Stdout: o.Stdout, Stderr: o.Stderr}) {
		f, err := dag.OpenFile(ctx, bs, c)
		if err != nil {
			return err
		}
		printed += uint64(f.Size())
	}
	if printed != o.Log {
		return fmt.Errorf("stdout and stderr: got %d bytes in all, the outcome states %d", printed, o.Log)
	}
	return nil
}

// walkHeld returns the blocks linked to below roots that bs lacks, and the total size of those that it has. An
// output may contain malformed blocks of the inputs: they count as content, not as an error of the peer.
func walkHeld(ctx context.Context, bs dag.Blocks, roots ...cid.Cid) (missing []cid.Cid, held uint64, err error) {
	sizes, _ := bs.(dag.Sizer)
	err = dag.Walk(ctx, bs, roots, dag.WalkOptions{Missing: true, Opaque: dag.IgnoreOpaque, Data: sizes == nil}, func(b dag.Visited) error {
		switch {
		case !b.Held:
			missing = append(missing, b.CID)
		case b.Block.CID().Defined():
			held += uint64(len(b.Block.Data()))
		default:
			n, err := sizes.Size(ctx, b.CID)
			held += uint64(max(0, n))
			return err
		}
		return nil
	})
	return missing, held, err
}

func millis(ms int64) time.Duration { return time.Duration(ms) * time.Millisecond }

// finish fills in j the result of the job, and prepares the records and blocks to commit.
func (t *placement) finish(j *api.Job, ending request.Ending) error {
	first := ending.Results[0]
	t.mu.Lock()
	localRun, localJob := t.localRun, t.localJob
	t.mu.Unlock()
	if localRun != nil && !first.Remote {
		j.Read, j.Fetched, j.Compile, j.Run, j.Fault = localJob.Read, localJob.Fetched, localJob.Compile, localJob.Run, localJob.Fault
		j.Refs = localJob.Refs
	}
	if localRun != nil {
		t.e.blocks, t.e.records = append(t.e.blocks, localRun.blocks...), append(t.e.records, localRun.records...)
	} else {
		t.e.blocks = append(t.e.blocks, t.e.task)
	}
	value := first.Value
	j.Outcome, j.OutcomeCID, j.Receipt = &value, first.Outcome, first.Receipt
	j.Where, j.Remote = string(first.Peer), first.Remote
	for _, r := range ending.Results {
		if len(ending.Results) > 1 {
			j.Runs = append(j.Runs, api.RunResult{Peer: string(r.Peer), Outcome: r.Outcome, Receipt: r.Receipt})
		}
		if r.Remote {
			if err := t.recordRemote(j, r); err != nil {
				return err
			}
		}
		records, err := t.w.node.learnFuel(t.x.request.Task.Mod, t.work.Bytes, r.Value.Fuel)
		if err != nil {
			return apiError(context.Background(), err)
		}
		t.e.records = append(t.e.records, records...)
	}
	if ending.Disagree {
		return disagreement(j)
	}
	return nil
}

// recordRemote records another peer's run: its Receipt and, if its key is trusted, the cached result.
func (t *placement) recordRemote(j *api.Job, r request.Result) error {
	n, ctx := t.w.node, context.Background()
	b, err := t.e.session.Get(ctx, r.Receipt)
	if err != nil {
		return apiError(ctx, err)
	}
	receipt, err := job.DecodeReceipt(b.Data())
	if err != nil {
		return apiError(ctx, err)
	}
	if r.Outcome == j.OutcomeCID && r.Receipt == j.Receipt {
		missing, _, err := walkHeld(ctx, t.e.session, outputs(r.Value)...)
		if err != nil {
			return apiError(ctx, err)
		}
		j.Refs = missing[:min(len(missing), maxRefs)]
		j.Run = millis(receipt.Meta.Wall)
		j.Fetched.Bytes = int64(min(receipt.Meta.Fetched, 1<<62))
	}
	records, err := receiptRecords(r.Receipt, receipt)
	if err != nil {
		return apiError(ctx, err)
	}
	t.e.records = append(t.e.records, records...)
	trust, err := n.self.trusted()
	if err == nil && trust.Has(receipt.Issuer) && !receipt.Meta.Replayed && t.x.request.Task.Det != job.DetNone {
		t.e.records, err = n.cacheTrusted(t.e.records, r.Receipt, receipt.Issuer, receipt.Task, receipt.Outcome)
	}
	return apiError(ctx, err)
}

// disagreement returns the error of runs with different Outcomes.
func disagreement(j *api.Job) error {
	first := j.Runs[0]
	i := slices.IndexFunc(j.Runs, func(r api.RunResult) bool { return r.Outcome != first.Outcome })
	other := j.Runs[max(i, 0)]
	return &api.Error{
		Code: api.CodeDisagree,
		Message: fmt.Sprintf("the runs disagree: %s says %s (receipt %s), %s says %s (receipt %s)",
			first.Peer, first.Outcome, first.Receipt, other.Peer, other.Outcome, other.Receipt),
		Hint: "`liftoff verify --reexec RECEIPT` runs the task again to find out which is right",
	}
}

// refused returns the reason why no peer can run the module of a request, or nil. Whether a plugin runs a task
// is decided by each peer for its own plugins.
func (n *Node) refused(ctx context.Context, executors runtime.Executors, r api.Request, bs dag.Blocks) error {
	if job.Foreign(r.Task.ABI) {
		return nil
	}
	var refused *runtime.RefusedError
	x, err := executors.For(r.Task.ABI)
	if err == nil {
		err = x.Check(ctx, r.Task, r.Limits.OrDefault(), runtime.Env{Blocks: bs, Trusted: r.Trusted})
	}
	if errors.As(err, &refused) {
		return refused
	}
	return nil
}

// keepDisagreement keeps the outcomes, receipts and outputs of a job whose runs disagree.
func (e *evaluation) keepDisagreement(ctx context.Context, j api.Job) error {
	p := store.Pin{Name: jobPin(j.ID), Created: e.node.clock(), Expires: e.expires, Opaque: true, Roots: []store.Root{{CID: e.task.CID()}}}
	for _, c := range e.evidence {
		p.Roots = append(p.Roots, store.Root{CID: c})
	}
	for _, r := range j.Runs {
		p.Roots = append(p.Roots, store.Root{CID: r.Receipt}, store.Root{CID: r.Outcome})
		b, err := e.session.Get(ctx, r.Outcome)
		if err != nil {
			continue // it is among e.blocks
		}
		if o, err := job.DecodeOutcome(b.Data()); err == nil {
			for _, c := range outputs(o) {
				p.Roots = append(p.Roots, store.Root{CID: c, Recursive: true})
			}
		}
	}
	records, err := e.node.history.last(j, e.expires)
	if err != nil {
		return err
	}
	return e.session.Commit(ctx, store.Batch{Blocks: e.blocks, Pins: []store.Pin{p}, Records: append(e.records, records...)})
}
