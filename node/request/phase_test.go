package request

import "testing"

// A peer that switches back and forth between phases, or invents some, causes one event per phase.
func TestPhasesGoForward(t *testing.T) {
	var o activeRun
	reported := 0
	for range 100 {
		for _, phase := range []string{"queue", "fetch", "", "run", "fetch", "compile", "nonsense", "pack"} {
			if o.advance(phase) {
				reported++
			}
		}
	}
	if reported != 3 || o.phase != len(phases) {
		t.Errorf("%d phases reported, now in phase %d", reported, o.phase)
	}
}
