package wasm

import (
	"github.com/ipfs-liftoff/liftoff/abi"
	"github.com/ipfs-liftoff/liftoff/job"
)

// Inspect reads the sections of a module and returns the ABI and Fn of a Task that runs it:
// job.ABILiftoff if the module exports liftoff_run, else job.ABIWASI if it exports _start. It
// does not read instructions; see Describe. An error is a *runtime.RefusedError.
func Inspect(module []byte) (taskABI, fn string, err error) {
	s, err := scanModule(module)
	if err != nil {
		return "", "", err
	}
	taskABI, fn = s.entry()
	if err := s.checkExports(taskABI, fn); err != nil {
		return "", "", err
	}
	return taskABI, fn, nil
}

// entry returns the ABI and the function of a Task that runs the module.
func (s *scan) entry() (taskABI, fn string) {
	if _, ok := s.function(abi.ExportRun); ok {
		return job.ABILiftoff, abi.ExportRun
	}
	return job.ABIWASI, abi.ExportStart
}
