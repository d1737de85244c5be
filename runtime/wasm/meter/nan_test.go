package meter_test

import (
	"encoding/binary"
	"math"
	"strings"
	"testing"

	"github.com/ipfs-liftoff/liftoff/runtime/wasm/meter"
)

// TestHalfOfANaN checks that an f32 that replaces one half of an f64 lane shows the other half,
// as digits of a number. They depend on which of two NaNs an engine returns.
func TestHalfOfANaN(t *testing.T) {
	const (
		load0, load16 = "\x41\x00\xfd\x00\x04\x00", "\x41\x00\xfd\x00\x04\x10"
		one           = "\x43\x00\x00\xf0\x3f" // as the upper half of an f64
		lane1, lane3  = "\xfd\x20\x01", "\xfd\x20\x03"
	)
	data := binary.LittleEndian.AppendUint64(nil, 0x7ff8000000001234)
	data = binary.LittleEndian.AppendUint64(data, 0x7ff8000000001234)
	data = binary.LittleEndian.AppendUint64(data, 0xfff8000000005678)
	data = binary.LittleEndian.AppendUint64(data, 0x7ff8000000005678)
	for name, op := range map[string]string{"add": "\xfd\xf0\x01", "sub": "\xfd\xf1\x01", "mul": "\xfd\xf2\x01", "div": "\xfd\xf3\x01"} {
		t.Run(name, func(t *testing.T) {
			code := "\x41\x20" + load0 + load16 + op + one + lane1 + one + lane3 + "\x20\x00\xfd\xf0\x01\xfd\x0b\x04\x00"
			b := wasm(part(1, "\x01\x60\x00\x00"), part(3, "\x01\x00"), part(5, "\x01\x00\x01"),
				part(7, "\x02\x03run\x00\x00\x06memory\x02\x00"), part(10, "\x01"+sized("\x01\x01\x7b"+code+"\x0b")),
				part(11, "\x01\x00\x41\x00\x0b"+sized(string(data))))
			out := rewrite(t, b, meter.Options{})
			bothEngines(t, func(t *testing.T, e *engine) {
				mod, err := e.start(t.Context(), out, "")
				if err != nil {
					t.Fatal(err)
				}
				if _, err := mod.ExportedFunction("run").Call(t.Context()); err != nil {
					t.Fatal(err)
				}
				for _, at := range []uint32{32, 40} {
					if v, _ := mod.Memory().ReadUint64Le(at); v != 0x3ff0000000000000 {
						t.Errorf("at %d: %x, which holds digits of a NaN", at, v)
					}
				}
			})
		})
	}
}

// TestManyFloats checks that a function may have any number of results that must be canonical,
// and still compiles fast: a branch for each of them would take a minute.
func TestManyFloats(t *testing.T) {
	const n = 20_000
	for name, c := range map[string]struct {
		code string // locals and instructions
		want uint64
	}{
		"f32": {"\x01\x02\x7d" + strings.Repeat("\x20\x00\x20\x00\x95\x21\x00", n) + "\x20\x00\xbc\xad", 0x7fc00000},
		"f64": {"\x01\x02\x7c" + strings.Repeat("\x20\x00\x20\x00\xa3\x21\x00", n) + "\x20\x00\xbd", 0x7ff8000000000000},
		"sum": {"\x01\x02\x7c" + strings.Repeat("\x20\x00\x44\x00\x00\x00\x00\x00\x00\xf0\x3f\xa0\x21\x00", n) + "\x20\x00\xbd", math.Float64bits(n)},
	} {
		t.Run(name, func(t *testing.T) {
			b := wasm(part(1, "\x01\x60\x00\x01\x7e"), part(3, "\x01\x00"), part(7, "\x01\x03run\x00\x00"), part(10, "\x01"+sized(c.code+"\x0b")))
			out := rewrite(t, b, meter.Options{})
			bothEngines(t, func(t *testing.T, e *engine) {
				mod, err := e.start(t.Context(), out, "")
				if err != nil {
					t.Fatal(err)
				}
				if got, err := mod.ExportedFunction("run").Call(t.Context()); err != nil || got[0] != c.want {
					t.Errorf("%x, %v", got, err)
				}
			})
		})
	}
}
