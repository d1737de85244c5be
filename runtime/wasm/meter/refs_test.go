package meter_test

import (
	"runtime"
	"testing"

	"github.com/ipfs-liftoff/liftoff/runtime/wasm/meter"
)

// TestRefs has a guest refer to a function a million times, and checks the host's memory: the
// engine itself would keep each reference.
func TestRefs(t *testing.T) {
	// (loop (drop (ref.func 0)) (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
	code := "\x41\xc0\x84\x3d\x21\x00\x03\x40\xd2\x00\x1a\x20\x00\x41\x01\x6b\x22\x00\x0d\x00\x0b"
	b := wasm(part(1, "\x01\x60\x00\x00"), part(3, "\x01\x00"), part(7, "\x01\x01f\x00\x00"), part(10, "\x01"+sized("\x01\x01\x7f"+code+"\x0b")))
	out := rewrite(t, b, meter.Options{})
	bothEngines(t, func(t *testing.T, e *engine) {
		mod, err := e.start(t.Context(), out, "")
		if err != nil {
			t.Fatal(err)
		}
		before := heap()
		if _, err := mod.ExportedFunction("f").Call(t.Context()); err != nil {
			t.Fatal(err)
		}
		if grown := heap() - before; grown > 4<<20 {
			t.Errorf("%d bytes not freed", grown)
		}
		mod.Close(t.Context())
	})
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
