package meter_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/ipfs-liftoff/liftoff/runtime/wasm/meter"
)

// modules returns the number of random modules of each kind.
func modules(t *testing.T, small int) int {
	v := os.Getenv("LIFTOFF_FUZZ_MODULES")
	if v == "" {
		return small
	}
	n, err := strconv.Atoi(v)
	if err != nil {
		t.Fatalf("LIFTOFF_FUZZ_MODULES: %v", err)
	}
	return n
}

// seedOf returns the first seed: 1, or LIFTOFF_FUZZ_SEED, which may be "random".
func seedOf(t *testing.T) uint64 {
	switch v := os.Getenv("LIFTOFF_FUZZ_SEED"); v {
	case "":
		return 1
	case "random":
		seed := rand.Uint64() >> 16
		t.Logf("first seed %d", seed)
		return seed
	default:
		seed, err := strconv.ParseUint(v, 10, 64)
		if err != nil {
			t.Fatalf("LIFTOFF_FUZZ_SEED: %v", err)
		}
		return seed
	}
}

// TestFloatsAgree checks that whatever a module does with NaNs, its rewritten form does the
// same under compiler and interpreter, to the last bit of memory and fuel.
func TestFloatsAgree(t *testing.T) {
	first := seedOf(t)
	apart := 0 // originals on which the engines differ
	for i := range modules(t, 150) {
		seed := first + uint64(i)
		b := floatModule(seed)
		if apart < 10 && observe(t, true, b) != observe(t, false, b) {
			apart++
		}
		out := rewrite(t, b, meter.Options{})
		compiled := observe(t, true, out)
		if interpreted := observe(t, false, out); compiled != interpreted {
			t.Fatalf("seed %d: %s", seed, firstDifference(compiled, interpreted))
		}
		// Without canonical form, and if no NaN is observable, it equals the original.
		if raw := rewrite(t, b, meter.Options{RawNaN: true}); withoutFuel(observe(t, false, raw)) != observe(t, false, b) {
			t.Fatalf("seed %d: the rewritten module differs from the original", seed)
		}
	}
	if apart == 0 {
		t.Error("the engines agree on all originals: the test proves nothing")
	}
}

// observe runs all exports of a module, each with arguments derived from its name, and returns
// everything observable: results, traps, globals, memory, and, if it is metered, fuel. It ends
// early where machines may differ: at a full stack, and out of fuel.
func observe(t *testing.T, compiler bool, b []byte) string {
	t.Helper()
	ctx := context.Background()
	e := newEngine(t, compiler)
	defer e.Close(ctx)
	e.account.budget, e.account.pages = 20<<20, 2048
	var log bytes.Buffer
	stubs(t, e, b, &log)
	mod, err := e.start(ctx, b, "")
	if mod == nil {
		return class(err)
	}
	fmt.Fprintf(&log, "start: %s\n", class(err))
	var names []string
	for name := range mod.ExportedFunctionDefinitions() {
		if !strings.HasPrefix(name, meter.ExportPrefix) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	metered := mod.ExportedGlobal(meter.FuelExport) != nil
	for _, name := range names {
		f := mod.ExportedFunction(name)
		got, err := f.Call(ctx, arguments(name, f.Definition().ParamTypes())...)
		if errors.Is(err, errFuel) || errors.Is(err, errQuota) || class(err) == "stack overflow" {
			return log.String() + unsteady
		}
		fmt.Fprintf(&log, "%s: %x %s\n", name, steady(got, f.Definition().ResultTypes()), class(err))
		if metered {
			fmt.Fprintf(&log, "fuel %d\n", e.account.spent(mod))
			if err != nil {
				mod.ExportedGlobal(meter.StackExport).(api.MutableGlobal).Set(meter.StackLimit)
			}
		}
	}
	if m := mod.Memory(); m != nil && !reflect.ValueOf(m).IsNil() { // without a memory wazero returns a nil pointer
		data, _ := m.Read(0, m.Size())
		for i := 0; i < len(data); i += 32 {
			if line := data[i:min(i+32, len(data))]; !bytes.Equal(line, make([]byte, len(line))) {
				fmt.Fprintf(&log, "%x: %x\n", i, line)
			}
		}
	}
	return log.String()
}

// unsteady ends an observation that is only reliable up to this point.
const unsteady = "unsteady\n"

// same compares two observations, up to where either became unsteady.
func same(a, b string) bool {
	a, endA := strings.CutSuffix(a, unsteady)
	b, endB := strings.CutSuffix(b, unsteady)
	if endA || endB {
		n := min(len(a), len(b))
		return a[:n] == b[:n]
	}
	return a == b
}

// steady clears meaningless bits: references, which are addresses, and the upper half of the
// word that holds a 32-bit value.
func steady(results []uint64, types []api.ValueType) []uint64 {
	if len(results) == 0 {
		return nil // the call trapped
	}
	at := 0
	for _, t := range types {
		switch t {
		case api.ValueTypeExternref, 0x70:
			results[at] = 0
		case api.ValueTypeI32, api.ValueTypeF32:
			results[at] &= 1<<32 - 1
		case 0x7b:
			at++
		}
		at++
	}
	return results
}

func arguments(name string, types []api.ValueType) []uint64 {
	var seed uint64
	for _, c := range name {
		seed = seed*31 + uint64(c)
	}
	r := rand.New(rand.NewPCG(seed, 1))
	var args []uint64
	for _, t := range types {
		v := r.Uint64() >> r.IntN(64)
		switch t {
		case api.ValueTypeI32, api.ValueTypeF32:
			v &= 1<<32 - 1
		case api.ValueTypeExternref, 0x70:
			v = 0
		case 0x7b:
			args = append(args, r.Uint64())
		}
		args = append(args, v)
	}
	return args
}

// stubs provides every function that a module imports: it logs its arguments and returns zero.
// Any other import makes the module unusable, equally for all runs.
func stubs(t *testing.T, e *engine, b []byte, log *bytes.Buffer) {
	t.Helper()
	c, err := e.CompileModule(context.Background(), b)
	if err != nil {
		t.Fatalf("compile: %v", err)
	}
	builders := map[string]wazero.HostModuleBuilder{}
	for _, f := range c.ImportedFunctions() {
		module, name, _ := f.Import()
		if module == meter.HostModule {
			continue
		}
		if builders[module] == nil {
			builders[module] = e.NewHostModuleBuilder(module)
		}
		params := len(f.ParamTypes())
		types := f.ParamTypes()
		results := len(f.ResultTypes())
		builders[module].NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(func(_ context.Context, _ api.Module, s []uint64) {
			fmt.Fprintf(log, "%s %x\n", name, steady(slices.Clone(s[:params]), types))
			clear(s[:results])
		}), f.ParamTypes(), f.ResultTypes()).Export(name)
	}
	for _, b := range builders {
		if _, err := b.Instantiate(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
}

func firstDifference(a, b string) string {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range max(len(x), len(y)) {
		if at(x, i) != at(y, i) {
			return fmt.Sprintf("line %d:\n %s\n %s", i, at(x, i), at(y, i))
		}
	}
	return "no difference"
}

// TestRandomModules tests modules generated by binaryen's fuzzer, with all features.
func TestRandomModules(t *testing.T) {
	path, err := exec.LookPath("wasm-opt")
	if err != nil {
		t.Skip("SKIPPED: wasm-opt (binaryen) is not installed")
	}
	features := []string{
		"--enable-bulk-memory", "--enable-mutable-globals", "--enable-sign-ext",
		"--enable-nontrapping-float-to-int", "--enable-multivalue",
	} // with reference types it generates features beyond WebAssembly 2.0
	dir := t.TempDir()
	first := seedOf(t)
	unsteadies, applied, n := 0, 0, modules(t, 25)
	for i := range n {
		seed := first + uint64(i)
		generate := func(extra ...string) []byte {
			r := rand.New(rand.NewPCG(seed, 3))
			in := make([]byte, 500+r.IntN(12000))
			for i := range in {
				in[i] = byte(r.Uint32())
			}
			input, output := filepath.Join(dir, "in"), filepath.Join(dir, "out.wasm")
			if err := os.WriteFile(input, in, 0o600); err != nil {
				t.Fatal(err)
			}
			args := slices.Concat([]string{"-ttf", input, "-o", output, "--strip-debug"}, features, extra)
			if msg, err := exec.CommandContext(t.Context(), path, args...).CombinedOutput(); err != nil {
				t.Fatalf("seed %d: wasm-opt: %v: %s", seed, err, msg)
			}
			b, err := os.ReadFile(output)
			if err != nil {
				t.Fatal(err)
			}
			return b
		}

		// No NaN is observable: the rewritten module equals the original.
		calm := generate("--denan")
		want := observe(t, false, calm)
		if meter.AppliesSegments(calm) { // the original is not a reference there: only the engines agree
			want = withoutFuel(observe(t, false, rewrite(t, calm, meter.Options{})))
			applied++
		}
		for _, compiler := range []bool{true, false} {
			got := withoutFuel(observe(t, compiler, rewrite(t, calm, meter.Options{})))
			if !same(got, want) {
				keep(t, seed, calm)
				t.Errorf("seed %d, compiler %v: rewritten, then original, %s", seed, compiler, firstDifference(got, want))
			}
		}

		// NaNs of every kind: compiler and interpreter agree.
		wild := rewrite(t, generate("--enable-simd"), meter.Options{})
		a, b := observe(t, true, wild), observe(t, false, wild)
		if !same(a, b) {
			keep(t, seed, wild)
			t.Errorf("seed %d: compiler, then interpreter, %s", seed, firstDifference(a, b))
		}
		if strings.HasSuffix(a, unsteady) {
			unsteadies++
		}
	}
	t.Logf("%d of %d modules were not observed to their end, %d were not compared with the original", unsteadies, n, applied)
	if applied > n/2 {
		t.Error("most modules apply segments themselves: the test proves too little")
	}
}

func withoutFuel(s string) string {
	lines := strings.Split(s, "\n")
	return strings.Join(slices.DeleteFunc(lines, func(l string) bool { return strings.HasPrefix(l, "fuel ") }), "\n")
}

// keep saves a module that failed, for analysis.
func keep(t *testing.T, seed uint64, b []byte) {
	name := filepath.Join(os.TempDir(), fmt.Sprintf("liftoff-meter-%d.wasm", seed))
	if err := os.WriteFile(name, b, 0o600); err == nil {
		t.Logf("module saved as %s", name)
	}
}
