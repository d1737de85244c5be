package meter_test

import (
	"os"
	"testing"

	"github.com/ipfs-liftoff/liftoff/runtime/wasm/meter"
)

// TestPressure checks that modules that need more registers than exist do the same under
// compiler and interpreter, rewritten, and the same as the original.
func TestPressure(t *testing.T) {
	first := seedOf(t)
	for i := range modules(t, 60) {
		seed := first + uint64(i)
		pressureAgrees(t, seed, pressureModule(seed, 0))
	}
}

func pressureAgrees(t *testing.T, seed uint64, b []byte) {
	t.Helper()
	out := rewrite(t, b, meter.Options{})
	compiled := observe(t, true, out)
	if interpreted := observe(t, false, out); compiled != interpreted {
		keep(t, seed, b)
		t.Errorf("seed %d: compiler, then interpreter, %s", seed, firstDifference(compiled, interpreted))
	}
	if raw := rewrite(t, b, meter.Options{RawNaN: true}); withoutFuel(observe(t, false, raw)) != withoutFuel(observe(t, false, b)) {
		keep(t, seed, b)
		t.Errorf("seed %d: the rewritten module differs from the original", seed)
	}
}

// TestLargeFunctions does the same with functions of more than 1 MiB of native code, beyond the
// range of a conditional branch of arm64.
func TestLargeFunctions(t *testing.T) {
	if os.Getenv("LIFTOFF_TEST_LARGE") == "" {
		t.Skip("SKIPPED: LIFTOFF_TEST_LARGE is not set")
	}
	first := seedOf(t)
	for i := range 3 {
		seed := first + uint64(i)
		pressureAgrees(t, seed, pressureModule(seed, 250<<10))
	}
}
