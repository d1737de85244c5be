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

// clean reports whether the guest ended by itself.
func (e ending) clean() bool { return e.state == job.OK || e.state == job.Exit }

// classify returns how the guest ended. Its arguments are the result of liftoff_run and
// wazero's error. It returns an error for every end that is not the guest's.
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

// exited returns a clean end. A code that an Outcome cannot hold counts as 255.
func exited(code uint32) ending {
	if code == 0 {
		return ending{state: job.OK}
	}
	return ending{state: job.Exit, code: int(min(code, 255))}
}
