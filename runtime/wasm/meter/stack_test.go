package meter_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero/api"

	"github.com/ipfs-liftoff/liftoff/runtime/wasm/meter"
)

// TestStack recurses endlessly in functions of many shapes: the charge must reach its limit
// before the engine's own stack is full, with the same number of frames each time.
func TestStack(t *testing.T) {
	for _, c := range []struct {
		name  string
		code  string // locals and instructions; parameters are i32
		count int    // of parameters
		frame int64
	}{
		{"bare", "\x00\x10\x00", 0, 64},
		{"parameter", "\x00\x20\x00\x10\x00", 1, 64 + 8*2},
		{"operands", "\x00" + strings.Repeat("\x20\x00", 50) + "\x20\x00\x10\x00" + strings.Repeat("\x1a", 50), 1, 64 + 8*(52+50)},
		{"parameters", "\x00" + getAll(40) + "\x10\x00", 40, 64 + 8*(80+29+40/2)}, // all operands except the last have lost their registers
		{"locals", "\x01\xe8\x07\x7e" + useAll(1000) + "\x10\x00" + useAll(1000), 0, 64 + 8*(1001+1000)},
		{"vectors", "\x01\xc8\x01\x7b" + vectorsBefore(200) + "\x10\x00" + vectorsAfter(200), 0, 64 + 8*(400+3+400)},
		// While the host is called, i32 locals are kept elsewhere, and are new values afterwards.
		{"loops", "\x00" + strings.Repeat("\x03\x40\x0b", 100) + "\x20\x00\x20\x01\x10\x00", 2, 64 + 8*(4+4*100+1)},
		{"calls in loops", "\x00" + strings.Repeat("\x03\x40\x20\x00\x20\x01\x10\x00\x0b", 100), 2, 64 + 8*(4+4*100+100)},
		{"checks", "\x00" + strings.Repeat("\x20\x00\x20\x01\x10\x00", 1024), 2, 64 + 8*(4+4*4+1024)},
		{"many locals", "\x01\xa8\xc3\x01\x7e\x10\x00", 0, 64 + 8*25000},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := wasm(part(1, "\x01\x60"+string(rune(c.count))+strings.Repeat("\x7f", c.count)+"\x00"), part(3, "\x01\x00"),
				part(5, "\x01\x00\x01"), part(7, "\x01\x01f\x00\x00"), part(10, "\x01"+sized(c.code+"\x0b")))
			e := newEngine(t, true)
			mod, err := e.start(t.Context(), rewrite(t, b, meter.Options{}), "")
			if err != nil {
				t.Fatal(err)
			}
			_, err = mod.ExportedFunction("f").Call(t.Context(), make([]uint64, c.count)...)
			if !errors.Is(err, errStack) {
				t.Fatalf("engine overflow before the charge: %v", err)
			}
			left := int64(mod.ExportedGlobal(meter.StackExport).Get())
			if want := int64(meter.StackLimit) % c.frame; left != want-c.frame {
				t.Errorf("stack at the end %d, want %d: frames differ from %d bytes", left, want-c.frame, c.frame)
			}
			mod.ExportedGlobal(meter.StackExport).(api.MutableGlobal).Set(meter.StackLimit)
		})
	}
}

func getAll(n int) string {
	var s []byte
	for i := range n {
		s = append(s, 0x20, byte(i))
	}
	return string(s)
}

// useAll changes each of n i64 locals, without other operands on the stack.
func useAll(n int) string {
	var s []byte
	for i := range n {
		l := string(binary.AppendUvarint(nil, uint64(i)))
		s = append(s, "\x20"+l+"\x50\xad\x21"+l...)
	}
	return string(s)
}

// vectorsBefore loads n v128 locals; vectorsAfter stores them.
func vectorsBefore(n int) string {
	var s strings.Builder
	for i := range n {
		fmt.Fprintf(&s, "\x41\x00\xfd\x00\x00%s\x21%s", binary.AppendUvarint(nil, uint64(i)), binary.AppendUvarint(nil, uint64(i)))
	}
	return s.String()
}

func vectorsAfter(n int) string {
	var s strings.Builder
	for i := range n {
		fmt.Fprintf(&s, "\x41\x00\x20%s\xfd\x0b\x00%s", binary.AppendUvarint(nil, uint64(i)), binary.AppendUvarint(nil, uint64(i)))
	}
	return s.String()
}

// TestStackGivenBack checks that every exit of a function restores the counter.
func TestStackGivenBack(t *testing.T) {
	for name, code := range map[string]string{
		"end":      "",
		"return":   "\x0f",
		"br":       "\x02\x40\x0c\x01\x0b",
		"br_if":    "\x41\x01\x0d\x00",
		"br_table": "\x03\x40\x41\x01\x0e\x02\x01\x01\x01\x0b",
		"in loop":  "\x03\x40\x0f\x0b",
	} {
		t.Run(name, func(t *testing.T) {
			b := wasm(part(1, "\x01\x60\x00\x00"), part(3, "\x02\x00\x00"), part(7, "\x01\x01f\x00\x01"),
				part(10, "\x02"+body("")+body("\x10\x00"+code)))
			e := newEngine(t, true)
			mod, err := e.start(t.Context(), rewrite(t, b, meter.Options{Stack: 1 << 20}), "")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := mod.ExportedFunction("f").Call(t.Context()); err != nil {
				t.Fatal(err)
			}
			if left := mod.ExportedGlobal(meter.StackExport).Get(); left != 1<<20 {
				t.Errorf("%d bytes of stack left of %d", left, 1<<20)
			}
		})
	}
}

// TestStackTakenLate checks that a frame is deducted before the first call that may come, and
// added back only by later exits.
func TestStackTakenLate(t *testing.T) {
	for name, code := range map[string]string{
		"return before":         "\x41\x01\x04\x40\x41\x07\x0f\x0b\x10\x00\x41\x07",
		"not before":            "\x41\x00\x04\x40\x41\x07\x0f\x0b\x10\x00\x41\x07",
		"in the block":          "\x02\x40\x41\x01\x04\x40\x41\x07\x0f\x0b\x10\x00\x0b\x41\x07",
		"in the loop":           "\x03\x40\x41\x01\x04\x40\x41\x07\x0f\x0b\x10\x00\x0c\x00\x0b\x41\x07",
		"one arm":               "\x41\x01\x04\x40\x10\x00\x05\x41\x07\x0f\x0b\x41\x07",
		"the other arm":         "\x41\x00\x04\x40\x10\x00\x05\x41\x07\x0f\x0b\x41\x07",
		"br_if before, a value": "\x41\x07\x41\x01\x0d\x00\x10\x00",
		"br_if after, a value":  "\x10\x00\x41\x07\x41\x01\x0d\x00",
		"br_if not taken":       "\x41\x07\x41\x00\x0d\x00\x10\x00",
		"br_table before":       "\x02\x40\x41\x01\x45\x0d\x00\x41\x07\x41\x00\x0e\x00\x01\x0b\x10\x00\x41\x08",
		"after a helper's call": "\x41\x00\x40\x00\x1a\x41\x01\x04\x40\x41\x07\x0f\x0b\x10\x00\x41\x07",
	} {
		t.Run(name, func(t *testing.T) {
			b := wasm(part(1, "\x02\x60\x00\x00\x60\x00\x01\x7f"), part(3, "\x02\x00\x01"), part(5, "\x01\x00\x01"),
				part(7, "\x01\x01f\x00\x01"), part(10, "\x02"+body("")+body(code)))
			bothEngines(t, func(t *testing.T, e *engine) {
				mod, err := e.start(t.Context(), rewrite(t, b, meter.Options{}), "")
				if err != nil {
					t.Fatal(err)
				}
				got, err := mod.ExportedFunction("f").Call(t.Context())
				if err != nil || got[0] != 7 {
					t.Fatal(got, err)
				}
				if left := mod.ExportedGlobal(meter.StackExport).Get(); left != meter.StackLimit {
					t.Errorf("%d bytes of stack left of %d", left, meter.StackLimit)
				}
			})
		})
	}
}

// TestStackOfFewLocals checks the frames of long functions with few locals: the engine gives
// each value that it keeps in memory its own slot in the frame, so that they are large.
func TestStackOfFewLocals(t *testing.T) {
	sum := func(locals, terms int) string { // many values live at once, none across a call
		var s strings.Builder
		fmt.Fprintf(&s, "\x02\x01\x7f%c\x7e", locals)
		for i := range locals {
			fmt.Fprintf(&s, "\x41\x00\x29\x03%c\x21%c", 4*(i%30), i+1)
		}
		for i := range terms {
			fmt.Fprintf(&s, "\x20%c\x20%c\x7c\x20%c\x85\x21%c", i%locals+1, (i*7+3)%locals+1, (i*11+5)%locals+1, i%locals+1)
		}
		for i := range locals {
			fmt.Fprintf(&s, "\x20%c\xa7\x20\x00\x6a\x21\x00", i+1)
		}
		return s.String()
	}
	for name, code := range map[string]string{
		"100 calls":    "\x01\x02\x7f" + strings.Repeat("\x10\x00\x21\x01\x20\x00\x20\x01\x6a\x21\x00", 100),
		"3000 calls":   "\x01\x02\x7f" + strings.Repeat("\x10\x00\x21\x01\x20\x00\x20\x01\x6a\x21\x00", 3000),
		"wide calls":   "\x02\x01\x7f\x02\x7e" + strings.Repeat("\x10\x00\xad\x21\x02\x20\x01\x20\x02\x7c\x21\x01", 3000),
		"vectors":      "\x02\x01\x7f\x02\x7b" + strings.Repeat("\x10\x00\xfd\x11\x21\x02\x20\x01\x20\x02\xfd\x51\x21\x01", 3000),
		"3000 ifs":     "\x01\x02\x7f" + strings.Repeat("\x10\x00\x04\x40\x10\x00\x21\x01\x05\x10\x00\x21\x01\x0b\x10\x00\x20\x01\x6a\x21\x00", 3000),
		"operands":     "\x01\x02\x7f" + strings.Repeat("\x10\x00\x10\x00\x6a\x1a", 3000),
		"16 live, 300": sum(16, 300), "16 live, 3000": sum(16, 3000),
		"30 live, 300": sum(30, 300), "30 live, 3000": sum(30, 3000),
		"60 live, 300": sum(60, 300), "60 live, 3000": sum(60, 3000),
	} {
		t.Run(name, func(t *testing.T) {
			b := wasm(part(1, "\x01\x60\x00\x01\x7f"), part(3, "\x02\x00\x00"), part(5, "\x01\x00\x01"), part(7, "\x01\x01f\x00\x01"),
				part(10, "\x02"+body("\x41\x07")+sized(code+"\x10\x01\x20\x00\x6a\x0b")))
			e := newEngine(t, true)
			mod, err := e.start(t.Context(), rewrite(t, b, meter.Options{}), "")
			if err != nil {
				t.Fatal(err)
			}
			if _, err = mod.ExportedFunction("f").Call(t.Context()); !errors.Is(err, errStack) {
				left := int64(mod.ExportedGlobal(meter.StackExport).Get())
				t.Fatalf("engine's stack full with %d bytes left: %v", left, class(err))
			}
		})
	}
}

// TestStackOfManyValues checks that values without a local, and values of a local where paths
// merge, have slots in the frame, too.
func TestStackOfManyValues(t *testing.T) {
	long := func(i int) string { return "\x41\x00\x29\x03" + leb(8*(i%100)) }        // loads an i64
	vector := func(i int) string { return "\x41\x00\xfd\x00\x04" + leb(16*(i%100)) } // a v128
	row := func(n int, f func(i int) string) string {
		var s strings.Builder
		for i := range n {
			s.WriteString(f(i))
		}
		return s.String()
	}
	set := func(n, from int, load func(int) string) string {
		return row(n, func(i int) string { return load(from+i) + "\x21" + leb(i) })
	}
	const (
		leaf, recurse   = "\x10\x00", "\x10\x01"
		ifLeaf, end     = leaf + "\x04\x40", "\x0b"
		lane, wrap, add = "\xfd\x1b\x00", "\xa7", "\x6a"
	)
	for name, code := range map[string]string{
		"ifs, i64":    "\x01\x01\x7e" + row(2000, func(i int) string { return ifLeaf + long(i) + "\x21\x00" + end }) + recurse + "\x1a\x20\x00" + wrap,
		"ifs, v128":   "\x01\x01\x7b" + row(2000, func(i int) string { return ifLeaf + vector(i) + "\x21\x00" + end }) + recurse + "\x1a\x20\x00" + lane,
		"ifs of many": "\x01\x64\x7b" + row(100, func(i int) string { return ifLeaf + set(100, i, vector) + end }) + recurse + row(100, func(i int) string { return "\x20" + leb(i) + lane + add }),
		"else":        "\x01\x01\x7e" + row(2000, func(i int) string { return ifLeaf + "\x05" + long(i) + "\x21\x00" + end }) + recurse + "\x1a\x20\x00" + wrap,
		"exits":       "\x01\x01\x7b\x02\x40" + row(2000, func(i int) string { return vector(i) + "\x21\x00" + leaf + "\x0d\x00" }) + end + recurse + "\x20\x00" + lane + add,
		"back":        "\x01\x01\x7b\x03\x40\x20\x00" + lane + "\x1a" + row(2000, func(i int) string { return vector(i) + "\x21\x00" + leaf + "\x0d\x00" }) + end + recurse,
		"loops":       "\x01\x64\x7e" + row(100, func(i int) string { return "\x03\x40" + ifLeaf + set(100, i, long) + end + leaf + "\x0d\x00" + end }) + recurse + row(100, func(i int) string { return "\x20" + leb(i) + wrap + add }),
		"results": "\x00" + recurse + row(1000, func(i int) string {
			return "\x02\x7b" + vector(i) + leaf + "\x0d\x00\x1a" + vector(i+1) + end + leaf + "\x1a" + lane + add
		}),
		"operands": "\x00" + recurse + row(500, func(i int) string {
			return row(30, func(j int) string { return long(i + j) }) + strings.Repeat("\x85", 29) + wrap + add
		}),
		"vectors": "\x00" + recurse + row(500, func(i int) string {
			return row(30, func(j int) string { return vector(i + j) }) + strings.Repeat("\xfd\x51", 29) + lane + add
		}),
		"both": "\x01\x09\x7e" + recurse + row(500, func(i int) string {
			return set(9, i, long) + row(9, long) + strings.Repeat("\x85", 8) + row(9, func(j int) string { return "\x20" + leb(j) + "\x85" }) + wrap + add
		}),
		"many checked": "\x00" + strings.Repeat(leaf+"\x1a", 3000) + recurse,
	} {
		t.Run(name, func(t *testing.T) {
			b := wasm(part(1, "\x01\x60\x00\x01\x7f"), part(3, "\x02\x00\x00"), part(5, "\x01\x00\x01"), part(7, "\x01\x01f\x00\x01"),
				part(10, "\x02"+body("\x41\x00")+sized(code+end)))
			e := newEngine(t, true)
			mod, err := e.start(t.Context(), rewrite(t, b, meter.Options{}), "")
			if err != nil {
				t.Fatal(err)
			}
			if _, err = mod.ExportedFunction("f").Call(t.Context()); !errors.Is(err, errStack) {
				left := int64(mod.ExportedGlobal(meter.StackExport).Get())
				t.Fatalf("engine's stack full with %d bytes left: %v", left, class(err))
			}
		})
	}
}

// TestStackOfArguments checks that the arguments of a call may need slots in the frame.
func TestStackOfArguments(t *testing.T) {
	for typ, args := range map[string][2]string{
		"\x7f": {"\x41\x00\x28\x02\x00", "\x20\x00"},
		"\x7e": {"\x41\x00\x29\x03\x00", "\x20\x00"},
		"\x7c": {"\x41\x00\x2b\x03\x00", "\x20\x00"},
		"\x7b": {"\x41\x00\xfd\x00\x04\x00", "\x20\x00"},
	} {
		for name, call := range map[string]string{
			"loaded": strings.Repeat(args[0]+args[0]+"\x10\x00", 200),
			"mixed":  strings.Repeat(args[0]+args[0]+"\x10\x00"+args[1]+args[1]+"\x10\x00", 100),
			"table":  strings.Repeat(args[0]+args[0]+"\x41\x00\x28\x02\x00\x11\x00\x00", 200),
		} {
			t.Run(fmt.Sprintf("%x %s", typ, name), func(t *testing.T) {
				code := "\x41\x03\x21\x02" + call + "\x03\x40" + args[1] + args[1] + "\x10\x00\x20\x02\x41\x01\x6b\x22\x02\x0d\x00\x0b" + args[1] + args[1] + "\x10\x01"
				b := wasm(part(1, "\x01\x60\x02"+typ+typ+"\x00"), part(3, "\x02\x00\x00"), part(4, "\x01\x70\x00\x01"), part(5, "\x01\x00\x01"),
					part(7, "\x01\x01f\x00\x01"), part(9, "\x01\x00\x41\x00\x0b\x01\x00"), part(10, "\x02"+body("")+sized("\x01\x01\x7f"+code+"\x0b")))
				e := newEngine(t, true)
				mod, err := e.start(t.Context(), rewrite(t, b, meter.Options{}), "")
				if err != nil {
					t.Fatal(err)
				}
				words := make([]uint64, 2)
				if typ == "\x7b" {
					words = make([]uint64, 4)
				}
				if _, err = mod.ExportedFunction("f").Call(t.Context(), words...); !errors.Is(err, errStack) {
					left := int64(mod.ExportedGlobal(meter.StackExport).Get())
					t.Fatalf("engine's stack full with %d bytes left: %v", left, class(err))
				}
			})
		}
	}
}

// leb returns v as unsigned LEB128.
func leb(v int) string { return string(binary.AppendUvarint(nil, uint64(v))) }
