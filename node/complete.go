package node

import (
	"context"
	"errors"
	"fmt"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/host/store"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

// maxInputBlocks bounds the walk of a Task's inputs.
const maxInputBlocks = 1 << 20

// checkOutput walks the output and hashes every block. A missing block may be a part of an input that the output
// links to: it is, if all bytes that the run created are present.
func (v *verification) checkOutput(ctx context.Context) error {
	if v.result == nil {
		v.output = Step{Answer: Skipped, Detail: "the outcome is not in this repo"}
		return nil
	}
	o := *v.result
	missing, _, err := v.walkOutput(ctx, outputs(o))
	switch {
	case err != nil && faulty(ctx, err):
		v.output = Step{Answer: Undecided, Detail: err.Error()}
		return nil
	case err != nil:
		return err
	case !missing.Defined():
		v.output = Step{Answer: Verified, Detail: "complete"}
		return nil
	}
	whole, err := v.hasMade(ctx, o)
	if err != nil {
		return err
	}
	v.output = Step{Answer: Undecided, Detail: fmt.Sprintf("block %s of the output is missing", missing)}
	if whole {
		v.output = Step{Answer: Verified, Detail: fmt.Sprintf("needs block %s of an input", missing)}
	}
	return nil
}

// faulty reports whether err, of a walk, is a fault of the data and not of the walk itself.
func faulty(ctx context.Context, err error) bool {
	var damaged *dag.DamagedError
	var e *api.Error
	return ctx.Err() == nil && (errors.As(err, &damaged) || !errors.As(err, &e) && !errors.Is(err, store.ErrClosed))
}

// hasMade reports whether everything that the run created is present: the printed output, and as many bytes of
// blocks outside the inputs as the Outcome states.
func (v *verification) hasMade(ctx context.Context, o job.Outcome) (bool, error) {
	missing, _, err := v.walkOutput(ctx, outputs(job.Outcome{Stdout: o.Stdout, Stderr: o.Stderr}))
	if err != nil || missing.Defined() {
		return false, err
	}
	_, held, err := v.walkOutput(ctx, []cid.Cid{o.Root})
	if err != nil {
		return false, err
	}
	inputs, err := v.inputs(ctx)
	if err != nil {
		return false, err
	}
	made := uint64(0)
	for k, n := range held {
		if !inputs[k] {
			made += n
		}
	}
	return made >= o.Size, nil
}

// walkOutput hashes all present blocks below roots. It returns their sizes, by multihash, and the first missing
// block.
func (v *verification) walkOutput(ctx context.Context, roots []cid.Cid) (missing cid.Cid, held map[string]uint64, err error) {
	held = map[string]uint64{}
	o := dag.WalkOptions{Data: true, Missing: true, Opaque: dag.IgnoreOpaque}
	err = dag.Walk(ctx, v.s.Blocks, roots, o, func(b dag.Visited) error {
		if !b.Held {
			if !missing.Defined() {
				missing = b.CID
			}
			return nil
		}
		held[key(b.CID)] = uint64(len(b.Block.Data()))
		_, err := dag.CheckBlock(b.CID, b.Block.Data())
		return err
	})
	return missing, held, err
}

// inputs returns the present blocks of the Task's inputs, by multihash.
func (v *verification) inputs(ctx context.Context) (map[string]bool, error) {
	all := map[string]bool{}
	b, err := v.block(ctx, v.Receipt.Task)
	if err != nil {
		if undecidedStep(ctx, "task", v.Receipt.Task, err) == nil {
			return nil, err
		}
		return all, nil
	}
	t, err := job.DecodeTask(b)
	if err != nil {
		return all, nil
	}
	o := dag.WalkOptions{Missing: true, Opaque: dag.IgnoreOpaque, MaxBlocks: maxInputBlocks}
	err = dag.Walk(ctx, v.s.Blocks, inputRoots(t), o, func(b dag.Visited) error {
		all[key(b.CID)] = true
		return nil
	})
	if ctx.Err() != nil {
		return nil, err
	}
	return all, nil // as far as the links can be followed
}
