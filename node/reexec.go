package node

import (
	"context"
	"errors"
	"fmt"

	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

// checkReexec runs the Task on this node, without the result cache, and compares Outcomes.
func (v *verification) checkReexec(ctx context.Context) error {
	undecided := func(format string, a ...any) error {
		v.reexec = Step{Answer: Undecided, Detail: fmt.Sprintf(format, a...)}
		return nil
	}
	b, err := v.block(ctx, v.Receipt.Task)
	if err != nil {
		step := undecidedStep(ctx, "task", v.Receipt.Task, err)
		if step == nil {
			return err
		}
		v.reexec = *step
		return nil
	}
	t, err := job.DecodeTask(b)
	if err != nil {
		v.reexec = Step{Answer: Mismatch, Detail: fmt.Sprintf("%s is not a task: %v", v.Receipt.Task, err)}
		return nil
	}
	if t.Det == job.DetNone {
		return undecided("a task with --nondet may have different outcomes")
	}
	limits, ok := v.limits()
	if !ok {
		return undecided("the outcome has limits above the defaults: %+v", *v.result.Limits)
	}
	j, err := v.s.Jobs.Run(ctx, api.Request{Task: t, Limits: limits, NoCache: true, Trusted: v.o.Trusted}, v.o.Watch)
	if err != nil {
		return v.explainRun(ctx, err)
	}
	switch {
	case j.OutcomeCID == v.Claimed:
		v.reexec = Step{Answer: Verified, Detail: j.ID}
	case j.Outcome != nil && j.Outcome.Limits != nil && (v.result == nil || v.result.Limits == nil):
		return undecided("the run on this node reached a limit (%s); raise the limits", j.Outcome.State)
	default:
		v.reexec = Step{Answer: Mismatch, Detail: fmt.Sprintf("the run on this node had outcome %s", j.OutcomeCID)}
		v.Found, v.rival = j.OutcomeCID, j.Receipt
	}
	return nil
}

// limits returns the limits of the run. Limits named by another party are not accepted above the defaults.
func (v *verification) limits() (job.Limits, bool) {
	l := v.o.Limits
	if l != (job.Limits{}) || v.result == nil || v.result.Limits == nil {
		return l.OrDefault(), true
	}
	l, d := *v.result.Limits, job.DefaultLimits
	return l, l.Fuel <= d.Fuel && l.Pages <= d.Pages && l.Out <= d.Out && l.Tmp <= d.Tmp && l.Log <= d.Log
}

// explainRun makes a step's answer of an error that keeps the Task from running on this node. Other errors end
// the verification.
func (v *verification) explainRun(ctx context.Context, err error) error {
	var e *api.Error
	if ctx.Err() != nil || !errors.As(err, &e) {
		return err
	}
	switch e.Code {
	case api.CodeMissing, api.CodeRefused, api.CodeTimeout, api.CodeFault:
		v.reexec = Step{Answer: Undecided, Detail: e.Message}
		return nil
	}
	return err
}
