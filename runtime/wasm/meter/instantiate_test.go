package meter_test

import (
	"context"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"

	"github.com/ipfs-liftoff/liftoff/runtime/wasm/meter"
)

// Sections of the modules below: two tables of four entries, of functions and of references to
// the host, a page of memory, and functions of three types.
const (
	segTypes  = "\x03\x60\x00\x00\x60\x00\x01\x7f\x60\x01\x7f\x01\x7f"
	segTables = "\x02\x70\x00\x04\x6f\x00\x04"
)

// TestSegments checks that active segments are applied as specified: elements first, then data,
// each in order, before the start function; one that does not fit is a trap.
func TestSegments(t *testing.T) {
	const (
		elements, memory = "invalid table access", "out of bounds memory access"
		// The function "get" calls entry i of table 0; entry k of these is a function that answers k.
		fits = "\x00\x41\x01\x0b\x02\x01\x02"
	)
	for _, c := range []struct {
		name     string
		elements []string
		data     []string
		trap     string // "" if it does not trap
		entries  string // results of the entries of table 0, '-' for null
		bytes    string // at the start of the memory
	}{
		{name: "fits", elements: []string{fits}, data: []string{"\x00\x41\x00\x0b\x02ab"}, entries: "-12-", bytes: "ab"},
		{name: "to the end", elements: []string{"\x00\x41\x02\x0b\x02\x01\x02"}, data: []string{"\x00\x41\xff\xff\x03\x0b\x01z"}, entries: "--12"},
		{name: "nothing at the end", elements: []string{"\x00\x41\x04\x0b\x00"}, data: []string{"\x00\x41\x80\x80\x04\x0b\x00"}, entries: "----"},
		{name: "elements past the end", elements: []string{"\x00\x41\x03\x0b\x02\x01\x02"}, trap: elements},
		{name: "far past the end", elements: []string{"\x00\x41\x7f\x0b\x02\x01\x02"}, trap: elements},
		{name: "no elements past the end", elements: []string{"\x00\x41\x05\x0b\x00"}, trap: elements},
		{name: "after others", elements: []string{fits, "\x00\x41\x04\x0b\x01\x01", fits}, trap: elements},
		{name: "expressions", elements: []string{"\x04\x41\x03\x0b\x02\xd2\x01\x0b\xd0\x70\x0b"}, trap: elements},
		{name: "table 0 by number", elements: []string{"\x02\x00\x41\x04\x0b\x00\x01\x01"}, trap: elements},
		{name: "references to the host", elements: []string{"\x06\x01\x41\x04\x0b\x6f\x01\xd0\x6f\x0b"}, trap: elements},
		{name: "data past the end", data: []string{"\x00\x41\xff\xff\x03\x0b\x02ab"}, trap: memory},
		{name: "no data past the end", data: []string{"\x00\x41\x81\x80\x04\x0b\x00"}, trap: memory},
		{name: "elements first", elements: []string{"\x00\x41\x04\x0b\x01\x01"}, data: []string{"\x00\x41\x7f\x0b\x01a"}, trap: elements},
		{name: "by a global", elements: []string{"\x00\x23\x00\x0b\x02\x01\x02", "\x00\x41\x02\x0b\x01\x03"}, data: []string{"\x00\x23\x00\x0b\x02bc", "\x00\x41\x00\x0b\x02xy"}, entries: "-13-", bytes: "xyc"},
		{name: "by a global, past the end", elements: []string{"\x00\x23\x01\x0b\x02\x01\x02"}, trap: elements},
		{name: "references by a global", elements: []string{"\x06\x01\x23\x00\x0b\x6f\x01\xd0\x6f\x0b", fits}, entries: "-12-"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := segmentModule(c.elements, c.data, "")
			out, info, err := meter.Rewrite(b, meter.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if !info.Start {
				t.Error("Info.Start is false, want true")
			}
			bothEngines(t, func(t *testing.T, e *engine) {
				offsetGlobals(t, e)
				mod, err := e.start(t.Context(), out, "")
				if c.trap != "" {
					if err == nil || !strings.Contains(err.Error(), "wasm error: "+c.trap) {
						t.Errorf("%v, want the trap %q", err, c.trap)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				for i, want := range c.entries {
					got, err := mod.ExportedFunction("get").Call(t.Context(), uint64(i))
					if want == '-' && err == nil || want != '-' && (err != nil || rune('0'+got[0]) != want) {
						t.Errorf("entry %d: %v, %v, want %c", i, got, err, want)
					}
				}
				if got, _ := mod.Memory().Read(0, uint32(len(c.bytes))); string(got) != c.bytes {
					t.Errorf("memory begins with %q, want %q", got, c.bytes)
				}
				// The start function has run, and ref.func is not null.
				for _, name := range []string{"started", "reference"} {
					if got, err := mod.ExportedFunction(name).Call(t.Context()); err != nil || got[0] != 1 {
						t.Errorf("%s: %v, %v", name, got, err)
					}
				}
			})
		})
	}
}

// TestActiveDataIsDropped checks that an active data segment has length 0 after it was applied.
func TestActiveDataIsDropped(t *testing.T) {
	out := rewrite(t, segmentModule(nil, []string{"\x00\x41\x00\x0b\x02ab", "\x01\x02cd"}, "\x01"), meter.Options{})
	bothEngines(t, func(t *testing.T, e *engine) {
		offsetGlobals(t, e)
		mod, err := e.start(context.Background(), out, "")
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := mod.Memory().Read(0, 2); string(got) != "ab" {
			t.Errorf("memory begins with %q", got)
		}
		if _, err := mod.ExportedFunction("none").Call(t.Context()); err != nil {
			t.Errorf("memory.init of no bytes: %v", err)
		}
		if _, err := mod.ExportedFunction("init").Call(t.Context()); err == nil || !strings.Contains(err.Error(), "out of bounds memory access") {
			t.Errorf("memory.init of an active segment: %v", err)
		}
	})
}

// offsetGlobals provides the globals that segments may use as offsets: 1 and 3.
func offsetGlobals(t *testing.T, e *engine) {
	t.Helper()
	b := wasm(part(6, "\x02\x7f\x00\x41\x01\x0b\x7f\x00\x41\x03\x0b"), part(7, "\x02\x01a\x03\x00\x01b\x03\x01"))
	if _, err := e.InstantiateWithConfig(t.Context(), b, wazero.NewModuleConfig().WithName("g")); err != nil {
		t.Fatal(err)
	}
}

// segmentModule returns a module with the given segments. Its functions: the start function,
// three that return 1 to 3, and those that the tests call. count is the content of the data
// count section; only with it do some functions name data segments.
func segmentModule(elements, data []string, count string) []byte {
	const initData = "\xfc\x08\x00\x00\x41\x01"
	none, one := "\x41\x00", "\x41\x00"
	if count != "" {
		count = string(byte(len(data)))
		none, one = "\x41\x08\x41\x00\x41\x00"+initData, "\x41\x08\x41\x00\x41\x01"+initData
	}
	code := []string{
		"\x41\x01\x24\x02", "\x41\x01", "\x41\x02", "\x41\x03",
		"\x20\x00\x11\x01\x00", "\x23\x02", "\xd2\x01\xd1\x45", none, one,
	}
	bodies := string(byte(len(code)))
	for _, c := range code {
		bodies += sized("\x00" + c + "\x0b")
	}
	sections := []string{
		part(1, segTypes), part(2, "\x02\x01g\x01a\x03\x7f\x00\x01g\x01b\x03\x7f\x00"),
		part(3, "\x09\x00\x01\x01\x01\x02\x01\x01\x01\x01"), part(4, segTables), part(5, "\x01\x01\x01\x01"),
		part(6, "\x01\x7f\x01\x41\x00\x0b"),
		part(7, "\x07\x06memory\x02\x00\x03get\x00\x04\x07started\x00\x05\x09reference\x00\x06\x04none\x00\x07\x04init\x00\x08\x03one\x00\x01"),
		part(8, "\x00"), part(9, string(byte(len(elements)))+strings.Join(elements, "")),
	}
	if count != "" {
		sections = append(sections, part(12, count))
	}
	return wasm(append(sections, part(10, bodies), part(11, string(byte(len(data)))+strings.Join(data, "")))...)
}
