package wasm

import (
	"context"
	"errors"

	"github.com/tetratelabs/wazero/sys"

	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/runtime"
)

// ending is how a guest ended.
type ending struct {
	state job.State
	code  int
	fault string
}

// classify tells how the guest ended from what the calls into it returned: what
// liftoff_run answered, or wazero's error. An error is what is not the guest's.
func (r *run) classify(code uint32, err error) (ending, error) {
	var quota *runtime.QuotaError
	var exit *sys.ExitError
	switch {
	case err == nil:
		return exited(code), nil
	case errors.As(err, &quota):
		return ending{state: job.Quota, code: quota.Code}, nil
	case errors.As(err, &exit):
		c := exit.ExitCode()
		if stopped := c == sys.ExitCodeContextCanceled || c == sys.ExitCodeDeadlineExceeded; stopped && r.ctx.Err() != nil {
			return ending{}, context.Cause(r.ctx)
		}
		return exited(c), nil
	}
	if code, ok := trapCode(err); ok {
		return ending{state: job.Trap, code: code, fault: faultText(err)}, nil
	}
	return ending{}, hostError(err)
}

// exited is a clean end. A code that no Outcome can hold counts as 255.
func exited(code uint32) ending {
	if code == 0 {
		return ending{state: job.OK}
	}
	return ending{state: job.Exit, code: int(min(code, 255))}
}
