package fuel

import (
	"runtime"
	"sync/atomic"
)

// Native code cannot be preempted: in a process whose processors all run guests nothing
// else has a turn, no timer and no handler, until one gives way. While a processor is
// left, giving way is not only needless: it wakes an idle thread, which looks for work in
// vain, for a fifth and more of the guest's own time. Go's scheduler ends a long turn
// itself then, and the collector stops a guest, at the next call of a host function.
var (
	guests     atomic.Int64 // that run now
	processors atomic.Int64
)

// Enter counts a guest in that begins to run. Leave must follow.
func Enter() {
	processors.Store(int64(runtime.GOMAXPROCS(0)))
	guests.Add(1)
}

// Leave counts it out.
func Leave() { guests.Add(-1) }

// GiveWay lets others run, if guests may have all processors.
func GiveWay() {
	if guests.Load() >= processors.Load() {
		runtime.Gosched()
	}
}
