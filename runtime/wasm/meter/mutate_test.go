package meter_test

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ipfs-liftoff/liftoff/runtime/wasm/meter"
)

// TestMutationsAgree changes a few bytes of real programs, from C, Rust and hand-written code.
// If the engine still accepts the result, its rewritten form behaves like it, and the same
// under compiler and interpreter, to the last bit of memory and fuel.
func TestMutationsAgree(t *testing.T) {
	var programs [][]byte
	for _, pattern := range []string{"testdata/kernels.wasm", "../../../wasm-examples/testdata/*.wasm"} {
		names, err := filepath.Glob(pattern)
		if err != nil || len(names) == 0 {
			t.Fatalf("%s: %d programs, %v", pattern, len(names), err)
		}
		for _, name := range names {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			programs = append(programs, b)
		}
	}
	first := seedOf(t)
	want := modules(t, 40)
	tried, refused, unsteadies := 0, 0, 0
	for i := 0; tried < want; i++ {
		if i > 200*want {
			t.Fatalf("only %[2]d of %[1]d mutations are valid", i, tried)
		}
		seed := first + uint64(i)
		r := rand.New(rand.NewPCG(seed, 5))
		b := mutate(r, programs[r.IntN(len(programs))])
		out, info, err := meter.Rewrite(b, meter.Options{})
		if err != nil || info.MinPages > 1000 || !compiles(t, b) {
			refused++
			continue
		}
		tried++
		a, c := observe(t, true, out), observe(t, false, out)
		if !same(a, c) {
			keep(t, seed, b)
			t.Errorf("seed %d: compiler, then interpreter, %s", seed, firstDifference(a, c))
			continue
		}
		if strings.HasSuffix(a, unsteady) || strings.HasSuffix(c, unsteady) {
			unsteadies++ // the original may not end
			continue
		}
		if meter.AppliesSegments(b) { // the original is not a reference there
			continue
		}
		raw := withoutFuel(observe(t, false, rewrite(t, b, meter.Options{RawNaN: true})))
		if original := observe(t, false, b); !same(raw, original) {
			keep(t, seed, b)
			t.Errorf("seed %d: rewritten, then original, %s", seed, firstDifference(raw, original))
		}
	}
	t.Logf("%d mutations, %d of them not observed to their end; %d more are not valid", tried, unsteadies, refused)
	if unsteadies == tried {
		t.Error("none was observed to its end: the test proves nothing")
	}
}

// mutate returns b with up to four bytes after its header changed.
func mutate(r *rand.Rand, b []byte) []byte {
	b = bytes.Clone(b)
	for range 1 + r.IntN(4) {
		at := 8 + r.IntN(len(b)-8)
		switch r.IntN(3) {
		case 0:
			b[at] = byte(r.Uint32())
		case 1:
			b[at] ^= 1 << r.IntN(8)
		case 2: // increments or decrements an opcode or a small number
			b[at]++
		}
	}
	return b
}

// compiles reports whether the engine accepts b and b imports only functions.
func compiles(t *testing.T, b []byte) bool {
	t.Helper()
	e := newEngine(t, false)
	defer e.Close(context.Background())
	c, err := e.CompileModule(context.Background(), b)
	if err != nil {
		return false
	}
	defer c.Close(context.Background())
	return len(c.ImportedMemories()) == 0
}
