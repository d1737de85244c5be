package wasm

import (
	"math"
	"runtime/debug"
	"syscall"
)

// setLimits limits this process from now on: the bytes of memory that it writes to, and the
// seconds of processor time, after which the system kills it. The garbage collector works
// harder the nearer the memory limit is. Go reserves far more address space than it uses, so
// the limit is on data. macOS accepts the memory limit and does not enforce it; there the
// processor time and the deadline remain.
func setLimits(memory, seconds int64) error {
	debug.SetMemoryLimit(memory * 3 / 4)
	if underRace {
		memory = math.MaxInt64
	}
	for _, l := range []struct {
		which int
		most  uint64
	}{
		{syscall.RLIMIT_CORE, 0},
		{syscall.RLIMIT_DATA, uint64(memory)},
		{syscall.RLIMIT_CPU, uint64(seconds)},
	} {
		var now syscall.Rlimit
		if err := syscall.Getrlimit(l.which, &now); err != nil {
			return err
		}
		most := min(l.most, uint64(now.Max))
		if err := syscall.Setrlimit(l.which, &syscall.Rlimit{Cur: most, Max: most}); err != nil {
			return err
		}
	}
	return nil
}
