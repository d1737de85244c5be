package fuel

import (
	"runtime"
	"sync/atomic"
	"testing"
)

// TestYieldIfBusy checks that another goroutine runs while a guest uses the only processor.
func TestYieldIfBusy(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	Enter()
	defer Leave()
	var ran atomic.Bool
	go ran.Store(true)
	for range 100 { // far shorter than the scheduler's own time slice
		if YieldIfBusy(); ran.Load() {
			return
		}
	}
	t.Error("the other goroutine did not run")
}
