package wasm

import (
	"errors"

	"github.com/tetratelabs/wazero/sys"

	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/runtime"
	"github.com/ipfs-liftoff/liftoff/runtime/wasm/fuel"
)

// ending is how a guest ended.
type ending struct {
	state job.State
	code  int
	fault string
}

// clean reports that the guest came to an end of its own.
func (e ending) clean() bool { return e.state == job.OK || e.state == job.Exit }

// classify tells how the guest ended from what the calls into it returned: what
// liftoff_run answered, or wazero's error. An error is what is not the guest's.
func (m *module) classify(code uint32, err error) (ending, error) {
	var quota *runtime.QuotaError
	var exit *sys.ExitError
	switch {
	case err == nil:
		return exited(code), nil
	case errors.As(err, &quota):
		return ending{state: job.Quota, code: quota.Code}, nil
	case errors.Is(err, fuel.ErrOut):
		return ending{state: job.OutOfFuel}, nil
	case errors.Is(err, errStack):
		return ending{state: job.Trap, code: job.TrapStack, fault: m.faultText(err)}, nil
	case errors.As(err, &exit):
		return exited(exit.ExitCode()), nil
	}
	if code, ok := trapCode(err); ok {
		return ending{state: job.Trap, code: code, fault: m.faultText(err)}, nil
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
