package fuel

import (
	"runtime"
	"sync/atomic"
	"testing"
)

// TestGiveWay gives others a turn when the only processor runs a guest.
func TestGiveWay(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	Enter()
	defer Leave()
	var ran atomic.Bool
	go ran.Store(true)
	for range 100 { // far less than the scheduler gives anybody unasked
		if GiveWay(); ran.Load() {
			return
		}
	}
	t.Error("the other goroutine had no turn")
}
