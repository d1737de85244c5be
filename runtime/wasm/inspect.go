package wasm

import (
	"github.com/ipfs-liftoff/liftoff/abi"
	"github.com/ipfs-liftoff/liftoff/job"
)

// Inspect reads the sections of a module and answers what a Task that runs it has as
// ABI and Fn: job.ABILiftoff when it exports liftoff_run, else job.ABIWASI when it
// exports _start. It looks at no instruction; see Describe. An error is a
// *runtime.RefusedError.
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

// entry is the ABI and the function of a Task that runs the module.
func (s *scan) entry() (taskABI, fn string) {
	if _, ok := s.function(abi.ExportRun); ok {
		return job.ABILiftoff, abi.ExportRun
	}
	return job.ABIWASI, abi.ExportStart
}
