package fuel

import (
	"runtime"
	"sync/atomic"
)

// Native code cannot be preempted: in a process whose processors all run guests, no timer,
// handler or other goroutine runs until a guest yields. While a processor is free, yielding is
// not only needless: it wakes an idle thread, which looks for work in vain, for a fifth and
// more of the guest's own time. In that case Go's scheduler ends a long turn by itself, and the
// collector stops a guest, at the next call of a host function.
var (
	guests     atomic.Int64 // running now
	processors atomic.Int64
)

// Enter counts a guest that begins to run. The caller has to call Leave.
func Enter() {
	processors.Store(int64(runtime.GOMAXPROCS(0)))
	guests.Add(1)
}

// Leave ends the count of Enter.
func Leave() { guests.Add(-1) }

// YieldIfBusy yields to other goroutines if guests may occupy all processors.
func YieldIfBusy() {
	if guests.Load() >= processors.Load() {
		runtime.Gosched()
	}
}
