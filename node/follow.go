package node

import (
	"context"
	"errors"

	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node/api"
	"github.com/ipfs-liftoff/liftoff/node/spool"
)

// errCancelled is the cause with which Cancel ends a job.
var errCancelled = api.Errorf(api.CodeInterrupted, "the job was cancelled")

// Follow implements api.Jobs.
func (v *View) Follow(ctx context.Context, id string, from int, each func(api.Event) error) error {
	from = max(from, 0)
	first := &firstCall{each: each}
	if x := v.node.history.running(id); x != nil {
		return first.or(ctx, x.follow(ctx, from, first.call))
	}
	j, err := v.findByID(ctx, id)
	if err == nil {
		_, err = sendEvents(j.Events, &from, first.call)
	}
	return first.or(ctx, err)
}

// firstCall keeps the error of a caller's function, which is returned unchanged.
type firstCall struct {
	each func(api.Event) error
	err  error
}

func (f *firstCall) call(e api.Event) error {
	f.err = f.each(e)
	return f.err
}

func (f *firstCall) or(ctx context.Context, err error) error {
	if f.err != nil {
		return f.err
	}
	return apiError(ctx, err)
}

// Logs implements api.Jobs. An error of one of w's writers is returned unchanged.
func (v *View) Logs(ctx context.Context, id string, w api.Watch) error {
	if x := v.node.history.running(id); x != nil {
		r, err := x.spool.Open()
		if err == nil {
			defer r.Close()
			if w.SoFar {
				r.EndHere()
			}
			out, errs := &firstError{w: w.Stdout}, &firstError{w: w.Stderr}
			err = r.CopyTo(ctx, out.orNil(), errs.orNil())
			for _, f := range []*firstError{out, errs} {
				if f.err != nil {
					return f.err
				}
			}
		}
		if err != nil && !errors.Is(err, spool.ErrGone) {
			return apiError(ctx, err)
		}
		if err == nil {
			stdout, stderr := r.Misled()
			if err := mismatchError(x.snapshot(), stdout, stderr, nil); err != nil || w.SoFar || x.spool.Size() > 0 {
				return err
			}
		}
		// The output is from a cached result, or has been stored by now.
	}
	j, err := v.findByID(ctx, id)
	if err != nil {
		return err
	}
	o := job.Outcome{Stdout: j.Stdout, Stderr: j.Stderr}
	if j.Outcome != nil {
		o = *j.Outcome
	}
	return show(ctx, v.session, o, w.Stdout, w.Stderr)
}

// Cancel implements api.Jobs.
func (v *View) Cancel(ctx context.Context, id string) error {
	if x := v.node.history.running(id); x != nil {
		x.stop(errCancelled)
		return nil
	}
	if _, err := v.findByID(ctx, id); err != nil {
		return err
	}
	return api.Errorf(api.CodeConflict, "job %s has ended", id)
}

// findByID returns the job with the complete id.
func (v *View) findByID(ctx context.Context, id string) (api.Job, error) {
	if !isID(id) {
		return api.Job{}, api.Errorf(api.CodeUsage, "%q is not a complete job id", id)
	}
	return v.Find(ctx, id)
}
