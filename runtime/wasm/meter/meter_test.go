package meter_test

import (
	"context"
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/ipfs-liftoff/liftoff/runtime/wasm/meter"
)

func testdata(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestPrices checks the fuel table in testdata/prices.wat.
func TestPrices(t *testing.T) {
	out := rewrite(t, testdata(t, "prices.wasm"), meter.Options{})
	bothEngines(t, func(t *testing.T, e *engine) {
		mod, err := e.start(t.Context(), out, "")
		if err != nil {
			t.Fatal(err)
		}
		tried := 0
		for name := range mod.ExportedFunctionDefinitions() {
			price, err := strconv.Atoi(name[strings.LastIndexByte(name, ' ')+1:])
			if err != nil {
				continue
			}
			tried++
			before := e.account.spent(mod)
			if _, err := mod.ExportedFunction(name).Call(t.Context()); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if got := e.account.spent(mod) - before; got != int64(price) {
				t.Errorf("%s: %d", name, got)
			}
		}
		if tried < 15 {
			t.Errorf("only %d prices", tried)
		}
	})
}

// TestFuelExact checks that with any slice a run ends out of fuel at the same place, and one
// that has enough spends the same.
func TestFuelExact(t *testing.T) {
	out := rewrite(t, testdata(t, "recursion.wasm"), meter.Options{})
	run := func(t *testing.T, e *engine, slice, budget int64, n uint64) (int64, uint64, error) {
		e.account = newAccount()
		e.account.slice, e.account.budget = slice, budget
		mod, err := e.start(t.Context(), out, "")
		if err != nil {
			t.Fatal(err)
		}
		defer mod.Close(t.Context())
		_, err = mod.ExportedFunction("fib").Call(t.Context(), n)
		calls := mod.ExportedGlobal("calls").Get()
		return e.account.spent(mod), calls, err
	}
	bothEngines(t, func(t *testing.T, e *engine) {
		total, _, err := run(t, e, meter.Slice, 1<<40, 15)
		if err != nil || total < 1000 {
			t.Fatalf("fuel %d: %v", total, err)
		}
		for _, slice := range []int64{1, 7, 1000, 1 << 20, 1 << 40} {
			if got, _, err := run(t, e, slice, total, 15); err != nil || got != total {
				t.Errorf("slices of %d: fuel %d, want %d: %v", slice, got, total, err)
			}
			want := uint64(0)
			for _, s := range []int64{slice, 1} {
				_, calls, err := run(t, e, s, total/2, 15)
				if !errors.Is(err, errFuel) {
					t.Fatalf("half the fuel: %v", err)
				}
				if want == 0 {
					want = calls
				} else if slice < total && calls != want {
					t.Errorf("slices of %d: out of fuel after %d calls, or %d", slice, want, calls)
				}
			}
		}
	})
}

// TestTrapFuel checks that the fuel of a run that traps is the same under any limit, also where
// it is kept in a local and known only up to the last refill.
func TestTrapFuel(t *testing.T) {
	// 500,000 iterations of an empty loop, then unreachable
	b := wasm(part(1, "\x01\x60\x00\x00"), part(3, "\x01\x00"), part(7, "\x01\x01f\x00\x00"),
		part(10, "\x01"+sized("\x01\x01\x7f\x03\x40\x20\x00\x41\x01\x6a\x22\x00\x41\xa0\xc2\x1e\x49\x0d\x00\x0b\x00\x0b")))
	out := rewrite(t, b, meter.Options{})
	const all = 500_000*7 + 1
	known := int64(-1)
	bothEngines(t, func(t *testing.T, e *engine) {
		for _, budget := range []int64{all, all + 5, 1 << 40} {
			e.account = newAccount()
			e.account.budget = budget
			mod, err := e.start(t.Context(), out, "")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := mod.ExportedFunction("f").Call(t.Context()); err == nil || !strings.Contains(err.Error(), "unreachable") {
				t.Fatalf("fuel %d: %v", budget, err)
			}
			spent := e.account.spent(mod)
			if known < 0 {
				known = spent
			}
			if spent != known || spent < all-meter.Slice || spent > all {
				t.Errorf("fuel %d: spent %d, known %d, of %d", budget, spent, known, all)
			}
			mod.Close(t.Context())
		}
		e.account = newAccount()
		e.account.budget = all - 20
		mod, err := e.start(t.Context(), out, "")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := mod.ExportedFunction("f").Call(t.Context()); !errors.Is(err, errFuel) {
			t.Errorf("less fuel than needed: %v", err)
		}
	})
}

// TestEndless checks that nothing runs endlessly, whatever its shape.
func TestEndless(t *testing.T) {
	for name, code := range map[string]string{
		"loop":           "\x03\x40\x0c\x00\x0b",
		"br_if":          "\x03\x40\x41\x01\x0d\x00\x0b",
		"br_table":       "\x03\x40\x41\x05\x0e\x01\x00\x00\x0b",
		"with parameter": "\x41\x00\x03\x01\x0c\x00\x0b",
		"from a block":   "\x03\x40\x02\x40\x0c\x01\x0b\x0b",
		"nested":         "\x03\x40\x03\x40\x03\x40\x0c\x02\x0b\x0b\x0b",
		"recursion":      "\x10\x00\x10\x00",
		"empty twins":    "\x03\x40\x41\x01\x0d\x00\x0b\x03\x40\x0c\x00\x0b",
		"grow by none":   "\x03\x40\x41\x00\x40\x00\x1a\x0c\x00\x0b",
		"fill of none":   "\x03\x40\x41\x00\x41\x00\x41\x00\xfc\x0b\x00\x0c\x00\x0b",
	} {
		t.Run(name, func(t *testing.T) {
			b := wasm(part(1, "\x02\x60\x00\x00\x60\x01\x7f\x00"), part(3, "\x01\x00"), part(5, "\x01\x00\x01"),
				part(7, "\x01\x01f\x00\x00"), part(10, "\x01"+body(code)))
			e := newEngine(t, true)
			e.account.budget = 10 << 20
			if name == "recursion" {
				e.account.budget = 1 << 40
			}
			mod, err := e.start(t.Context(), rewrite(t, b, meter.Options{}), "")
			if err != nil {
				t.Fatal(err)
			}
			_, err = mod.ExportedFunction("f").Call(t.Context())
			want := errFuel
			if name == "recursion" {
				want = errStack
			}
			if !errors.Is(err, want) {
				t.Fatalf("error %v, want %v", err, want)
			}
		})
	}
}

// TestStart checks that the start function is an export, called when the host is ready.
func TestStart(t *testing.T) {
	b := wasm(part(1, "\x01\x60\x00\x00"), part(3, "\x01\x00"), part(5, "\x01\x00\x01"),
		part(7, "\x01\x06memory\x02\x00"), part(8, "\x00"),
		part(10, "\x01"+body("\x41\x00\x41\x2a\x36\x02\x00")))
	out, info, err := meter.Rewrite(b, meter.Options{})
	if err != nil || !info.Start || !info.HasMemory || info.MinPages != 1 || info.Functions != 1 {
		t.Fatalf("%+v, %v", info, err)
	}
	e := newEngine(t, true)
	mod, err := e.InstantiateWithConfig(t.Context(), out, wazero.NewModuleConfig())
	if err != nil {
		t.Fatal(err)
	}
	if v, _ := mod.Memory().ReadUint32Le(0); v != 0 {
		t.Error("the start function ran by itself")
	}
	if _, err := mod.ExportedFunction(meter.StartExport).Call(t.Context()); err != nil {
		t.Fatal(err)
	}
	if v, _ := mod.Memory().ReadUint32Le(0); v != 42 {
		t.Errorf("memory holds %d", v)
	}
}

// TestNames checks that a trap shows the guest's own function names.
func TestNames(t *testing.T) {
	b := wasm(part(1, "\x02\x60\x00\x00\x60\x01\x7f\x00"), part(2, "\x01\x03env\x01f\x00\x00"),
		part(3, "\x02\x00\x00"), part(7, "\x01\x02go\x00\x02"),
		part(10, "\x02"+body("\x00")+body("\x10\x01")),
		part(0, "\x04name"+part(1, "\x03\x00\x03env\x01\x05inner\x02\x05outer")+part(2, "\x00")))
	out := rewrite(t, b, meter.Options{})
	e := newEngine(t, true)
	_, err := e.NewHostModuleBuilder("env").NewFunctionBuilder().
		WithGoModuleFunction(api.GoModuleFunc(func(context.Context, api.Module, []uint64) {}), nil, nil).Export("f").Instantiate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	mod, err := e.start(t.Context(), out, "")
	if err != nil {
		t.Fatal(err)
	}
	_, err = mod.ExportedFunction("go").Call(t.Context())
	if err == nil || !strings.Contains(err.Error(), ".inner()\n\t.outer()") {
		t.Fatalf("trap: %v", err)
	}
	broken := rewrite(t, wasm(part(0, "\x04name\x01\x7f\x01")), meter.Options{})
	if _, err := e.CompileModule(t.Context(), broken); err != nil {
		t.Errorf("malformed name section: module refused: %v", err)
	}
}

// TestOvershoot checks that the path between two checks is short: in series of calls of
// functions that are not checked themselves, and in functions with long straight-line code.
func TestOvershoot(t *testing.T) {
	line := func(cost int) string { return strings.Repeat("\x41\x00\x1a", cost/2) }
	rows := func(n int) string { return strings.Repeat("\x10\x00", n) }
	over := func(before, behind string) string { return strings.Repeat(rows(255)+before+rows(1)+behind, 80) }
	for name, c := range map[string]struct {
		leaf, code string
	}{
		"small leaf":      {line(256), rows(20_000)},
		"larger leaf":     {line(258), rows(20_000)},
		"leaf with loop":  {line(200) + "\x03\x40\x0b", rows(20_000)},
		"skipped loop":    {line(2000) + "\x02\x40\x41\x01\x0d\x00\x03\x40\x0b\x0b", rows(2000)},
		"early return":    {"\x41\x01\x04\x40" + line(2000) + "\x0f\x0b\x03\x40\x0b", rows(2000)},
		"leaf with grow":  {"\x41\x00\x40\x00\x1a" + line(250), rows(2000)},
		"unending blocks": {strings.Repeat("\x41\x00\x04\x40\x0b", 120), rows(20_000)},
		// The call with the check is on a path that is not taken.
		"br_if over it": {line(256), over("\x02\x40\x41\x01\x0d\x00", "\x0b")},
		"if over it":    {line(256), over("\x41\x00\x04\x40", "\x0b")},
		"in the else":   {line(256), over("\x41\x01\x04\x40\x10\x00\x05", "\x0b")},
		"in the then":   {line(256), over("\x41\x00\x04\x40", "\x05\x10\x00\x0b")},
		"br over it":    {line(256), over("\x02\x40\x41\x01\x04\x40\x0c\x01\x0b", "\x0b")},
		"br_table":      {line(256), over("\x02\x40\x02\x40\x41\x00\x0e\x01\x01\x00\x0b", "\x0b")},
		"loop over it":  {line(256), over("\x02\x40\x41\x01\x0d\x00\x03\x40", "\x0b\x0b")},
		"call_indirect": {line(256), strings.ReplaceAll(over("\x02\x40\x41\x01\x0d\x00", "\x0b"), "\x10\x00", "\x41\x00\x11\x00\x00")},
	} {
		t.Run(name, func(t *testing.T) {
			b := wasm(part(1, "\x01\x60\x00\x00"), part(3, "\x02\x00\x00"), part(4, "\x01\x70\x00\x01"), part(5, "\x01\x00\x01"),
				part(7, "\x01\x01f\x00\x01"), part(9, "\x01\x00\x41\x00\x0b\x01\x00"), part(10, "\x02"+body(c.leaf)+body(c.code)))
			e := newEngine(t, true)
			e.account.slice = 1000
			mod, err := e.start(t.Context(), rewrite(t, b, meter.Options{}), "")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := mod.ExportedFunction("f").Call(t.Context()); err != nil {
				t.Fatal(err)
			}
			spent := e.account.spent(mod)
			own := 9 * int64(len(c.code)/2) // a series of calls is one charged block
			if most := own + 256*260; e.account.overshoot > most || spent-e.account.granted > most {
				t.Errorf("%d fuel without a check, %d more at the end, at most %d", e.account.overshoot, spent-e.account.granted, most)
			}
		})
	}
}
