//go:build !windows

package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node"
)

// loadOutcome returns the outcome that c names; ok is false when c names something else.
func loadOutcome(ctx context.Context, blocks dag.Blocks, c cid.Cid) (o job.Outcome, ok bool, err error) {
	if c.Type() != cid.DagCBOR {
		return o, false, nil
	}
	b, err := dag.Load(ctx, blocks, c)
	if err != nil {
		return o, false, err
	}
	o, err = job.DecodeOutcome(b.Data())
	return o, err == nil, nil
}

// outputRoots returns the DAGs that a run made.
func outputRoots(o job.Outcome) []cid.Cid {
	roots := []cid.Cid{o.Root}
	for _, c := range []cid.Cid{o.Stdout, o.Stderr} {
		if c.Defined() {
			roots = append(roots, c)
		}
	}
	return roots
}

// inputRoots returns the DAGs that a run reads, without the module.
func inputRoots(t job.Task) []cid.Cid {
	var roots []cid.Cid
	for _, in := range t.In {
		roots = append(roots, in.CID)
	}
	if t.Stdin.Defined() {
		roots = append(roots, t.Stdin)
	}
	return roots
}

// loadReceipt returns the receipt that c names; ok is false when c names something else,
// or when the signature is bad.
func loadReceipt(ctx context.Context, blocks dag.Blocks, c cid.Cid) (r job.Receipt, ok bool, err error) {
	if c.Type() != cid.DagCBOR {
		return r, false, nil
	}
	b, err := dag.Load(ctx, blocks, c)
	if err != nil {
		return r, false, err
	}
	r, err = job.DecodeReceipt(b.Data())
	return r, err == nil, nil
}

// skipInputs returns the blocks that the CAR of outcomes and receipts leaves out: all but
// these, the task, and what the run made. It returns nil when no root is an outcome or a
// receipt. The job's history has the parts of inputs that the output links to.
func skipInputs(ctx context.Context, s *node.Session, roots []cid.Cid) (func(cid.Cid) bool, error) {
	taken := make(map[cid.Cid]bool)
	found := false
	for _, root := range roots {
		r, ok, err := loadReceipt(ctx, s.Blocks, root)
		if err != nil {
			return nil, err
		}
		if ok {
			taken[root] = true
			root = r.Outcome
		}
		o, ok, err := loadOutcome(ctx, s.Blocks, root)
		if err != nil {
			return nil, err
		}
		made, refs := []cid.Cid{root}, []cid.Cid(nil)
		if ok {
			found = true
			taken[root], taken[o.Task] = true, true
			made = outputRoots(o)
			if refs, err = refsOf(ctx, s, root); err != nil {
				return nil, err
			}
		}
		if err := takeAll(ctx, s.Blocks, made, refs, taken); err != nil {
			return nil, err
		}
	}
	if !found {
		return nil, nil
	}
	return func(c cid.Cid) bool { return !taken[c] }, nil
}

// refsOf returns the parts of inputs that the output of an outcome links to.
func refsOf(ctx context.Context, s *node.Session, outcome cid.Cid) ([]cid.Cid, error) {
	jobs, err := s.Jobs.List(ctx)
	if err != nil {
		return nil, err
	}
	for _, j := range jobs {
		if j.OutcomeCID == outcome {
			return j.Refs, nil
		}
	}
	return nil, nil
}

// takeAll adds the blocks below roots to taken, without those below refs.
func takeAll(ctx context.Context, blocks dag.Blocks, roots, refs []cid.Cid, taken map[cid.Cid]bool) error {
	foreign := make(map[cid.Cid]bool, len(refs))
	for _, c := range refs {
		foreign[c] = true
	}
	options := dag.WalkOptions{Opaque: dag.IgnoreOpaque, Skip: func(c cid.Cid) bool { return foreign[c] }}
	return dag.Walk(ctx, blocks, roots, options, func(v dag.Visited) error {
		taken[v.CID] = true
		return nil
	})
}

// whole returns an error when the DAG below root is incomplete in the repo. An outcome is
// complete with its task, its logs, and as many bytes of output as it claims: the module,
// the inputs and links into them may be missing. A receipt is complete with its outcome. A
// malformed block is an error; opaque is called for other blocks whose links cannot be read.
func whole(ctx context.Context, blocks dag.Blocks, root cid.Cid, opaque func(cid.Cid)) error {
	visit := func(c cid.Cid, why error) ([]cid.Cid, error) {
		if unsupported := (*dag.UnsupportedError)(nil); !errors.As(why, &unsupported) {
			return nil, why
		}
		opaque(c)
		return nil, nil
	}
	r, ok, err := loadReceipt(ctx, blocks, root)
	if err != nil {
		return err
	}
	if ok {
		root = r.Outcome
	}
	o, ok, err := loadOutcome(ctx, blocks, root)
	if err != nil {
		return err
	}
	complete := []cid.Cid{root}
	if ok {
		complete = outputRoots(o)[1:]
		if _, err := dag.Load(ctx, blocks, o.Task); err != nil {
			return err
		}
		extent, err := dag.Count(ctx, blocks, o.Root)
		if err != nil {
			return err
		}
		if extent.Opaque > 0 {
			err := dag.Walk(ctx, blocks, []cid.Cid{o.Root}, dag.WalkOptions{Missing: true, Opaque: visit}, func(dag.Visited) error { return nil })
			if err != nil {
				return err
			}
		}
		if extent.Bytes < int64(o.Size) {
			return &shortOutputError{want: int64(o.Size), have: extent.Bytes}
		}
	}
	return dag.Walk(ctx, blocks, complete, dag.WalkOptions{Opaque: visit}, func(dag.Visited) error { return nil })
}

// shortOutputError is the error of an outcome whose output is incomplete.
type shortOutputError struct{ want, have int64 } // in bytes

func (e *shortOutputError) Error() string {
	return fmt.Sprintf("the output is incomplete: got %s, want %s", size(e.have), size(e.want))
}
