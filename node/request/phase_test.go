package request

import "testing"

// A peer that goes back and forth between phases, or makes up some, tells each once.
func TestPhasesGoForward(t *testing.T) {
	var o activeRun
	told := 0
	for range 100 {
		for _, phase := range []string{"queue", "fetch", "", "run", "fetch", "compile", "nonsense", "pack"} {
			if o.advance(phase) {
				told++
			}
		}
	}
	if told != 3 || o.phase != len(phases) {
		t.Errorf("%d told, in phase %d", told, o.phase)
	}
}
