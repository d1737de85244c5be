package meter_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/ipfs-liftoff/liftoff/runtime/wasm/meter"
)

const (
	typeI32x3  = "\x60\x03\x7f\x7f\x7f\x00"
	typeI32I32 = "\x60\x01\x7f\x01\x7f"
)

// body returns a function's code, without locals, with its size.
func body(code string) string { return sized("\x00" + code + "\x0b") }

// bulkModule returns a module that exports copy, fill and init over a memory of 64 pages (4
// MiB), with a passive segment of 2.5 MiB, and drop.
func bulkModule() []byte {
	args := "\x20\x00\x20\x01\x20\x02"
	segment := make([]byte, 5<<19)
	for i := range segment {
		segment[i] = byte(i * 7 / 3)
	}
	return wasm(
		part(1, "\x02"+typeI32x3+"\x60\x00\x00"),
		part(3, "\x04\x00\x00\x00\x01"),
		part(5, "\x01\x00\x40"),
		part(7, "\x05\x04copy\x00\x00\x04fill\x00\x01\x04init\x00\x02\x04drop\x00\x03\x06memory\x02\x00"),
		part(12, "\x01"),
		part(10, "\x04"+body(args+"\xfc\x0a\x00\x00")+body(args+"\xfc\x0b\x00")+body(args+"\xfc\x08\x00\x00")+body("\xfc\x09\x00")),
		part(11, "\x01\x01"+sized(string(segment))))
}

// TestBulkMemory compares each operation with the original's, around the size of a step, with
// overlaps in both directions, and at the ends of memory and segment.
func TestBulkMemory(t *testing.T) {
	const mib, size = 1 << 20, 4 << 20
	calls := []struct {
		f       string
		d, s, n uint32
	}{
		{"fill", 0, 0x5a, 0},
		{"fill", size, 1, 0},
		{"fill", size + 1, 1, 0},
		{"fill", 10, 0x5a, mib},
		{"fill", 11, 0x15b, mib + 1},
		{"fill", 3, 7, 3*mib + 5},
		{"fill", 3, 7, size - 3},
		{"fill", 3, 9, size - 2},
		{"fill", ^uint32(0), 9, 2 * mib},
		{"fill", 2 * mib, 9, ^uint32(0)},
		{"init", 5, 7, 100},
		{"init", 5, 7, 2*mib + 1},
		{"init", 0, 0, 5 << 19},
		{"init", 0, 1, 5 << 19},
		{"init", 2 * mib, 0, 2*mib + 1},
		{"init", 0, ^uint32(0), 2 * mib},
		{"init", 0, 2 * mib, ^uint32(0)},
		{"copy", 100, 0, 3 * mib},
		{"copy", 0, 100, 3 * mib},
		{"copy", 1, 0, size - 1},
		{"copy", 0, 1, size - 1},
		{"copy", 0, 0, size},
		{"copy", mib, 0, 3 * mib},
		{"copy", 0, mib, 3 * mib},
		{"copy", 7, mib + 3, mib},
		{"copy", 2, 0, size - 1},
		{"copy", 0, 2, size - 1},
		{"copy", ^uint32(0), 0, 2 * mib},
		{"copy", 0, ^uint32(0), 2 * mib},
		{"drop", 0, 0, 0},
		{"init", 0, 0, 0},
		{"init", 0, 0, 2 * mib},
		{"init", 0, 1, 1},
	}
	bothEngines(t, func(t *testing.T, e *engine) {
		original := bulkModule()
		out := rewrite(t, original, meter.Options{})
		plain, err := e.start(t.Context(), original, "")
		if err != nil {
			t.Fatal(err)
		}
		mod, err := e.start(t.Context(), out, "")
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range calls {
			args := []uint64{uint64(c.d), uint64(c.s), uint64(c.n)}
			if c.f == "drop" {
				args = nil
			}
			what := fmt.Sprintf("%s %d %d %d", c.f, c.d, c.s, c.n)
			_, want := plain.ExportedFunction(c.f).Call(t.Context(), args...)
			before := e.account.spent(mod)
			_, got := mod.ExportedFunction(c.f).Call(t.Context(), args...)
			if class(got) != class(want) {
				t.Errorf("%s: %s, want %s", what, class(got), class(want))
			}
			const instructions = 4 // three local.get and the operation
			if price := e.account.spent(mod) - before - instructions; c.f != "drop" && want == nil && price != int64(c.n/8) {
				t.Errorf("%s: price %d, want %d", what, price, c.n/8)
			}
			p, _ := plain.Memory().Read(0, size)
			m, _ := mod.Memory().Read(0, size)
			if !bytes.Equal(p, m) {
				t.Fatalf("%s: memories differ", what)
			}
		}
	})
}

// TestBulkRefills checks that a long operation calls the host between its steps.
func TestBulkRefills(t *testing.T) {
	e := newEngine(t, true)
	e.account.slice = 1 << 15 // the price of a step
	mod, err := e.start(t.Context(), rewrite(t, bulkModule(), meter.Options{}), "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := mod.ExportedFunction("fill").Call(t.Context(), 0, 1, 1<<20); err != nil {
		t.Fatal(err)
	}
	if e.account.refills != 4 {
		t.Errorf("%d refills in 4 steps", e.account.refills)
	}
	e.account.budget = 6 << 15
	_, err = mod.ExportedFunction("fill").Call(t.Context(), 0, 2, 1<<20)
	if !errors.Is(err, errFuel) {
		t.Fatalf("fill beyond the fuel: %v", err)
	}
	first, _ := mod.Memory().ReadByte(0)
	last, _ := mod.Memory().ReadByte(1<<20 - 1)
	if first != 2 || last != 1 {
		t.Errorf("first byte %d, last byte %d: not stopped in between", first, last)
	}
}

// TestMemoryGrow checks that the module's maximum returns -1, and the host's limit ends the
// run.
func TestMemoryGrow(t *testing.T) {
	module := wasm(
		part(1, "\x01"+typeI32I32), part(3, "\x01\x00"), part(5, "\x01\x01\x01\x0a"), // 1 to 10 pages
		part(7, "\x02\x04grow\x00\x00\x06memory\x02\x00"),
		part(10, "\x01"+body("\x20\x00\x40\x00")))
	bothEngines(t, func(t *testing.T, e *engine) {
		e.account.pages = 5
		mod, err := e.start(t.Context(), rewrite(t, module, meter.Options{}), "")
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			by    uint32
			want  int32
			price int64
			err   error
		}{
			{0, 1, 2, nil},
			{3, 1, 3002, nil},
			{7, -1, 2, nil},
			{^uint32(0), -1, 2, nil},
			{65536, -1, 2, nil},
			{1, 4, 1002, nil},
			{1, 0, 1002, errQuota},
		} {
			before := e.account.spent(mod)
			got, err := mod.ExportedFunction("grow").Call(t.Context(), uint64(c.by))
			if !errors.Is(err, c.err) {
				t.Fatalf("grow by %d: %v, want %v", c.by, err, c.err)
			}
			if err == nil && int32(got[0]) != c.want {
				t.Errorf("grow by %d: %d, want %d", c.by, int32(got[0]), c.want)
			}
			if price := e.account.spent(mod) - before; price != c.price {
				t.Errorf("grow by %d: price %d, want %d", c.by, price, c.price)
			}
		}
		if size := mod.Memory().Size(); size != 5<<16 {
			t.Errorf("memory of %d bytes at the end", size)
		}
	})
}

// TestTables checks that growth ends at TableLimit, long ranges are stepped, and prices are per
// entry.
func TestTables(t *testing.T) {
	module, err := os.ReadFile("testdata/tables.wasm") // built from tables.wat with wat2wasm
	if err != nil {
		t.Fatal(err)
	}
	bothEngines(t, func(t *testing.T, e *engine) {
		mod, err := e.start(t.Context(), rewrite(t, module, meter.Options{}), "")
		if err != nil {
			t.Fatal(err)
		}
		call := func(f string, price int64, args ...uint64) uint64 {
			t.Helper()
			before := e.account.spent(mod)
			got, err := mod.ExportedFunction(f).Call(t.Context(), args...)
			if err != nil {
				t.Fatalf("%s %d: %v", f, args, err)
			}
			if p := e.account.spent(mod) - before; p != price {
				t.Errorf("%s %d: price %d, want %d", f, args, p, price)
			}
			return append(got, 0)[0]
		}
		if got := call("grow", meter.TableLimit-5+2+100, meter.TableLimit-5); got != 0 {
			t.Errorf("grow: %d", got)
		}
		if got := call("grow", 2+100, 6); int32(got) != -1 {
			t.Errorf("grow beyond the limit: %d", int32(got))
		}
		call("fill", 300004, 10, 77, 300000)
		call("fill", 5, 10, 78, 1)
		call("copy", 300004, 12, 10, 300000)
		if a, b, c := call("get", 2, 12), call("get", 2, 13), call("get", 2, 300011); a != 78 || b != 77 || c != 77 {
			t.Errorf("after copying upward: %d %d %d", a, b, c)
		}
		for _, c := range []struct {
			f       string
			d, s, n uint64
		}{{"fill", 599999, 1, 300000}, {"copy", 599999, 0, 300000}, {"copy", 0, 599999, 300000}, {"copy", 0, 1, 1<<32 - 1}} {
			if _, err := mod.ExportedFunction(c.f).Call(t.Context(), c.d, c.s, c.n); !strings.Contains(class(err), "invalid table access") {
				t.Errorf("%v: %v", c, err)
			}
		}
		if got := call("get", 2, 0); got != 0 {
			t.Errorf("out-of-bounds range was written: %d", got)
		}
	})
}
