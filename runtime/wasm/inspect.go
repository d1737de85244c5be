package wasm

import (
	"github.com/ipfs-liftoff/liftoff/abi"
	"github.com/ipfs-liftoff/liftoff/job"
)

// Inspect reads the sections of a module and answers what a Task that runs it has as
// ABI and Fn: job.ABILiftoff when it exports liftoff_run, else job.ABIWASI when it
// exports _start. It compiles nothing. An error is a *runtime.RefusedError.
func Inspect(module []byte) (taskABI, fn string, err error) {
	s, err := scanModule(module)
	if err != nil {
		return "", "", err
	}
	taskABI, fn = job.ABIWASI, abi.ExportStart
	if _, ok := s.function(abi.ExportRun); ok {
		taskABI, fn = job.ABILiftoff, abi.ExportRun
	}
	if err := s.checkExports(taskABI, fn); err != nil {
		return "", "", err
	}
	return taskABI, fn, nil
}
