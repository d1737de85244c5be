package node

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
)

// errOriginUnknown is the error when the blocks that a run created cannot be distinguished from its inputs.
var errOriginUnknown = errors.New("output blocks of the run cannot be distinguished from input blocks")

// foreignRefs returns the Refs of another peer's run with the Outcome o: a Receipt does not contain them. The
// run has created all blocks of the output if their sizes add up to the Outcome's size; or all but the Task's
// inputs. Otherwise it returns an error, and the Task is run.
func (e *evaluation) foreignRefs(ctx context.Context, o job.Outcome) ([]cid.Cid, error) {
	refs, made, err := e.madeBelow(ctx, o.Root, nil)
	if err != nil || made == o.Size {
		return refs, err
	}
	inputs := map[string]bool{}
	err = dag.Walk(ctx, e.session, inputRoots(e.r.Task), dag.WalkOptions{Missing: true, Opaque: dag.IgnoreOpaque, MaxBlocks: maxInputBlocks}, func(b dag.Visited) error {
		inputs[key(b.CID)] = true
		return nil
	})
	if err != nil {
		return nil, err
	}
	if refs, made, err = e.madeBelow(ctx, o.Root, inputs); err == nil && made != o.Size {
		err = errOriginUnknown
	}
	return refs, err
}

// inputRoots returns the roots of a Task's inputs, including its module.
func inputRoots(t job.Task) []cid.Cid {
	roots := []cid.Cid{t.Mod}
	for _, in := range t.In {
		roots = append(roots, in.CID)
	}
	if t.Stdin.Defined() {
		roots = append(roots, t.Stdin)
	}
	return roots
}

// madeBelow returns the topmost blocks below root that are in others, sorted, and the total size of the rest.
func (e *evaluation) madeBelow(ctx context.Context, root cid.Cid, others map[string]bool) (refs []cid.Cid, made uint64, err error) {
	err = dag.Walk(ctx, e.session, []cid.Cid{root}, dag.WalkOptions{Data: true, Opaque: dag.IgnoreOpaque}, func(b dag.Visited) error {
		if others[key(b.CID)] {
			refs = append(refs, b.CID)
			return dag.SkipLinks
		}
		made += uint64(len(b.Block.Data()))
		return nil
	})
	slices.SortFunc(refs, func(a, b cid.Cid) int { return bytes.Compare(a.Bytes(), b.Bytes()) })
	return refs[:min(len(refs), maxRefs)], made, err
}
