package meter_test

import (
	"errors"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/ipfs-liftoff/liftoff/runtime/wasm/meter"
)

// function returns a module with one function [] -> [] of the given code, a memory, and a
// mutable global of the guest.
func function(code string) []byte {
	return wasm(
		part(1, "\x01\x60\x00\x00"), part(3, "\x01\x00"), part(5, "\x01\x00\x01"),
		part(6, "\x01\x7e\x01\x42\x00\x0b"), part(10, "\x01"+body(code)))
}

func TestRefused(t *testing.T) {
	for name, c := range map[string]struct {
		module []byte
		want   string
	}{
		"empty":                    {nil, "not a WebAssembly module of version 1"},
		"not wasm":                 {[]byte("hello, world"), "not a WebAssembly module"},
		"component":                {[]byte("\x00asm\x0d\x00\x01\x00"), "not a WebAssembly module of version 1"},
		"section too long":         {wasm("\x01\x05\x00"), "module announces 5 bytes, but only 1 are left"},
		"section twice":            {wasm(part(1, "\x00"), part(1, "\x00")), "section 1 is repeated"},
		"section order":            {wasm(part(3, "\x00"), part(1, "\x00")), "out of order"},
		"tag section":              {wasm(part(13, "\x00")), "unknown section 13"},
		"empty section":            {wasm(part(1, "")), "ends too early"},
		"section tail":             {wasm(part(1, "\x00\x00")), "trailing bytes"},
		"type form":                {wasm(part(1, "\x01\x5f\x00")), "unknown type form 0x5f"},
		"type count":               {wasm(part(1, "\xff\xff\xff\xff\x0f")), "announces 4294967295 types"},
		"number too long":          {wasm(part(1, "\x80\x80\x80\x80\x80\x00")), "longer than 5 bytes"},
		"number too large":         {wasm(part(1, "\xff\xff\xff\xff\x1f")), "does not fit in 32 bits"},
		"function of no type":      {wasm(part(3, "\x01\x00"), part(10, "\x01"+body(""))), "type index 0, want less than 0"},
		"no code":                  {wasm(part(1, "\x01\x60\x00\x00"), part(3, "\x01\x00")), "functions without bodies"},
		"code without function":    {wasm(part(10, "\x01"+body(""))), "1 bodies for 0 functions"},
		"start of nothing":         {wasm(part(8, "\x00")), "start section names no function"},
		"shared memory":            {wasm(part(5, "\x01\x03\x01\x01")), "unknown flags 0x03"},
		"memory64":                 {wasm(part(5, "\x01\x04\x01")), "unknown flags 0x04"},
		"two memories":             {wasm(part(5, "\x02\x00\x01\x00\x01")), "more than one memory"},
		"element of no function":   {wasm(part(4, "\x01\x70\x00\x01"), part(9, "\x01\x00\x41\x00\x0b\x01\x00")), "function index 0, want less than 0"},
		"extended constant":        {wasm(part(6, "\x01\x7f\x00\x41\x00\x41\x00\x6a\x0b")), "opcode 0x6a in a constant"},
		"data of a second memory":  {wasm(part(5, "\x01\x00\x01"), part(11, "\x01\x02\x01\x41\x00\x0b\x00")), "memory index 1"},
		"body without end":         {wasm(part(1, "\x01\x60\x00\x00"), part(3, "\x01\x00"), part(10, "\x01\x02\x00\x01")), "function 0, offset 0x18: module ends too early"},
		"bytes after the end":      {function("\x0b\x01"), "bytes after the function's end"},
		"atomics":                  {function("\xfe\x00\x02\x00"), "unknown opcode 0xfe"},
		"tail call":                {function("\x12\x00"), "unknown opcode 0x12"},
		"exceptions":               {function("\x06\x40\x0b"), "unknown opcode 0x06"},
		"relaxed SIMD":             {function("\xfd\x80\x02"), "unknown vector opcode 256"},
		"reserved vector opcode":   {function("\xfd\x9a\x01"), "unknown vector opcode 154"},
		"unknown misc opcode":      {function("\xfc\x12"), "unknown opcode 0xfc 18"},
		"unknown opcode, dead":     {function("\x00\xfe\x00\x02\x00"), "unknown opcode 0xfe"},
		"unknown vector, dead":     {function("\x00\xfd\x9a\x01"), "unknown vector opcode 154"},
		"stack underflow":          {function("\x1a"), "missing operand"},
		"operand of another block": {function("\x41\x00\x02\x40\x1a\x0b\x1a"), "missing operand"},
		"value left over":          {function("\x41\x00"), "1 values at the end"},
		"label":                    {function("\x0c\x01"), "label index 1, want less than 1"},
		"local":                    {function("\x20\x00\x1a"), "local index 0, want less than 0"},
		"else":                     {function("\x05\x0b"), "else without if"},
		"call":                     {function("\x10\x01"), "function index 1, want less than 1"},
		"call_indirect":            {function("\x41\x00\x11\x00\x00"), "table index 0, want less than 0"},
		"table.fill":               {function("\x41\x00\xd0\x70\x41\x00\xfc\x11\x00"), "table index 0, want less than 0"},
		"multi-memory access":      {function("\x41\x00\x28\x42\x01\x00\x1a"), "alignment 2^66"},
		"multi-memory copy":        {function("\x41\x00\x41\x00\x41\x00\xfc\x0a\x01\x00"), "memory index 1"},
		"access without memory":    {wasm(part(1, "\x01\x60\x00\x00"), part(3, "\x01\x00"), part(10, "\x01"+body("\x41\x00\x28\x02\x00\x1a"))), "no memory"},
		"locals":                   {wasm(part(1, "\x01\x60\x00\x00"), part(3, "\x01\x00"), part(10, "\x01"+sized("\x01\xff\xff\xff\xff\x0f\x7f\x0b"))), "function 0: more than 50000 locals"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := meter.Rewrite(c.module, meter.Options{})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v, want %q", err, c.want)
			}
			var malformed *meter.MalformedError
			var limit *meter.LimitError
			if !errors.As(err, &malformed) && !errors.As(err, &limit) {
				t.Errorf("error of type %T", err)
			}
		})
	}
}

// TestOutOfReach checks that a guest cannot name the counters, the host's functions or the
// helpers, whose indexes follow its own, in live code, in dead code or in constants.
func TestOutOfReach(t *testing.T) {
	// refers returns a module without tables that refers to its function, which it declares.
	refers := func(code, exports, segments string) []byte {
		return wasm(part(1, "\x01\x60\x00\x00"), part(3, "\x01\x00"), part(7, exports), part(9, segments),
			part(10, "\x01"+body("\xd2\x00\x1a"+code)))
	}
	const declares = "\x03\x00\x01\x00"
	if _, _, err := meter.Rewrite(refers("", "\x00", "\x01"+declares), meter.Options{}); err != nil {
		t.Fatal(err)
	}
	for name, module := range map[string][]byte{
		"call of references":       refers("\x41\x00\x11\x00\x00", "\x00", "\x01"+declares),
		"read of references":       refers("\x41\x00\x25\x00\x1a", "\x00", "\x01"+declares),
		"export of references":     refers("", "\x01\x01t\x01\x00", "\x01"+declares),
		"elements into references": refers("", "\x00", "\x02"+declares+"\x00\x41\x00\x0b\x01\x00"),
		"elements of references":   refers("", "\x00", "\x02"+declares+"\x02\x00\x41\x00\x0b\x00\x01\x00"),
		"undeclared reference":     refers("", "\x00", "\x00"),
		"read fuel":                function("\x23\x01\x1a"),
		"write fuel":               function("\x42\x00\x24\x01"),
		"write stack":              function("\x42\x00\x24\x02"),
		"call refill":              function("\x42\x00\x42\x00\x10\x01\x1a"),
		"call slow":                function("\x10\x02"),
		"reference to slow":        function("\xd2\x02\x1a"),
		"export of fuel":           wasm(part(6, "\x01\x7e\x01\x42\x00\x0b"), part(7, "\x01\x01x\x03\x01")),
		"export of refill":         wasm(part(7, "\x01\x01x\x00\x00")),
		"fuel in a constant":       wasm(part(6, "\x01\x7e\x00\x23\x01\x0b")),
		"element names refill":     wasm(part(1, "\x01\x60\x00\x00"), part(9, "\x01\x01\x00\x01\x01")),
		"expression names slow":    wasm(part(1, "\x01\x60\x00\x00"), part(9, "\x01\x05\x70\x01\xd2\x02\x0b")),
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := meter.Rewrite(module, meter.Options{})
			var malformed *meter.MalformedError
			if !errors.As(err, &malformed) {
				t.Fatalf("error %v", err)
			}
		})
	}
	for name, module := range map[string][]byte{
		"import": wasm(part(1, "\x01\x60\x00\x00"), part(2, "\x01"+sized(meter.HostModule)+"\x01f\x00\x00")),
		"export": wasm(part(6, "\x01\x7e\x01\x42\x00\x0b"), part(7, "\x01"+sized(meter.FuelExport)+"\x03\x00")),
	} {
		t.Run(name, func(t *testing.T) {
			if _, _, err := meter.Rewrite(module, meter.Options{}); !errors.Is(err, meter.ErrReserved) {
				t.Fatalf("error %v", err)
			}
		})
	}
}

// FuzzRewrite checks that no input makes the rewriter panic, and that a valid one gives a valid
// output, the same each time. (The official tests show that valid modules are not refused.)
func FuzzRewrite(f *testing.F) {
	for _, name := range []string{"faults/select-1.wasm", "tables.wasm"} {
		b, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add(bulkModule())
	f.Add(floatModule(1))
	for _, file := range []string{"br_table", "loop", "elem", "names", "select", "bulk", "simd_lane", "imports"} {
		for _, b := range specModules(f, file) {
			f.Add(b)
		}
	}
	e := newEngine(f, false)
	f.Fuzz(func(t *testing.T, b []byte) {
		out, info, err := meter.Rewrite(b, meter.Options{})
		again, infoAgain, errAgain := meter.Rewrite(b, meter.Options{})
		if string(out) != string(again) || info != infoAgain || (err == nil) != (errAgain == nil) {
			t.Fatal("two different outputs of one module")
		}
		if err != nil {
			return // the engine must not decode it: its decoder allocates what a count announces
		}
		c, invalid := e.CompileModule(t.Context(), b)
		if invalid != nil {
			return
		}
		c.Close(t.Context())
		c, invalid = e.CompileModule(t.Context(), out)
		if invalid != nil {
			t.Fatalf("a valid module became invalid: %v", invalid)
		}
		c.Close(t.Context())
	})
}

// TestCounts checks that a count cannot make the rewriter allocate more than the module's size
// allows. The engine's own decoder allocates gigabytes for some of these.
func TestCounts(t *testing.T) {
	for id := range byte(13) {
		module := wasm(part(id, "\x80\x80\x80\x80\x08"))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _, err := meter.Rewrite(module, meter.Options{})
		runtime.ReadMemStats(&after)
		if err == nil && id != 0 && id != 12 { // custom sections have any content, the data count section only a number
			t.Errorf("section %d of 2^31 entries is accepted", id)
		}
		if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 1<<20 {
			t.Errorf("section %d: %d bytes allocated", id, allocated)
		}
	}
}
