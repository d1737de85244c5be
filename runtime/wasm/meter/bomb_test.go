package meter_test

import (
	"encoding/binary"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/ipfs-liftoff/liftoff/runtime/wasm/meter"
)

// TestBombs rewrites small modules that are expensive. Each is refused, or rewritten at a cost
// in proportion to its size.
func TestBombs(t *testing.T) {
	n := func(v int) string { return string(binary.AppendUvarint(nil, uint64(v))) }
	// one returns a module of one function without parameters, and a type of a thousand f64.
	one := func(code string) []byte {
		return wasm(part(1, "\x02\x60\x00\x00\x60\x00"+n(1000)+strings.Repeat("\x7c", 1000)),
			part(3, "\x01\x00"), part(10, "\x01"+sized(code)))
	}
	many := func(count int, code string) []byte {
		return wasm(part(1, "\x01\x60\x00\x00"), part(3, n(count)+strings.Repeat("\x00", count)),
			part(10, n(count)+strings.Repeat(sized(code), count)))
	}
	roots := strings.Repeat("\x44\x00\x00\x00\x00\x00\x00\x00\x00\x9f", 1000)
	for name, c := range map[string]struct {
		module []byte
		want   string // "" if it is rewritten
	}{
		"branches with many values": {one("\x00\x02\x01" + roots + strings.Repeat("\x41\x00\x0d\x00", 300_000) + "\x0b\x00\x0b"), "values moved by blocks"},
		"blocks with many results":  {one("\x00" + strings.Repeat("\x02\x40\x02\x01\x0c\x01\x0b\x0b", 200_000) + "\x0b"), "values moved by blocks"},
		"locals everywhere":         {many(20_000, "\x01\xd0\x86\x03\x7c\x0b"), "and locals"},
		"deep nesting":              {one("\x00" + strings.Repeat("\x02\x40", 2_000_000) + strings.Repeat("\x0b", 2_000_001)), "100000 nested blocks"},
		"deep nesting, dead":        {one("\x00\x00" + strings.Repeat("\x02\x40", 2_000_000) + strings.Repeat("\x0b", 2_000_001)), ""},
		"deep loops":                {one("\x00" + strings.Repeat("\x03\x40", 90_000) + strings.Repeat("\x0b", 90_001)), ""},
		"many labels":               {one("\x00\x41\x00\x0e" + n(2_000_000) + strings.Repeat("\x00", 2_000_001) + "\x0b"), ""},
		"a large function":          {one("\x00" + strings.Repeat("\x01", 8<<20) + "\x0b"), "7654321 bytes"},
		"floats everywhere":         {one("\x01\x01\x7c\x20\x00" + strings.Repeat("\x9b", 1<<20) + "\x1a\x0b"), ""},
		"a wide type":               {wasm(part(1, "\x01\x60"+n(1001)+strings.Repeat("\x7f", 1001)+"\x00")), "1000 parameters or results"},
		"bulk operations":           {segments(11_000), "10000 distinct bulk operations"},
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			start := time.Now()
			_, _, err := meter.Rewrite(c.module, meter.Options{})
			took := time.Since(start)
			runtime.ReadMemStats(&after)
			var limit *meter.LimitError
			if c.want == "" && err != nil || c.want != "" && (!errors.As(err, &limit) || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("error %v, want %q", err, c.want)
			}
			if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 64<<20+100*uint64(len(c.module)) {
				t.Errorf("%d MiB for %d KiB", allocated>>20, len(c.module)>>10)
			}
			if took > time.Minute { // most take milliseconds, some seconds on a busy machine under the race detector
				t.Errorf("took %v", took)
			}
			t.Logf("%d KiB, %d MiB allocated, %v, %v", len(c.module)>>10, (after.TotalAlloc-before.TotalAlloc)>>20, took, err)
		})
	}
}

// segments returns a module with a memory.init for each of n segments.
func segments(n int) []byte {
	count := string(binary.AppendUvarint(nil, uint64(n)))
	var code strings.Builder
	for i := range n {
		code.WriteString("\x41\x00\x41\x00\x41\x00\xfc\x08" + string(binary.AppendUvarint(nil, uint64(i))) + "\x00")
	}
	return wasm(part(1, "\x01\x60\x00\x00"), part(3, "\x01\x00"), part(5, "\x01\x00\x01"), part(12, count),
		part(10, "\x01"+body(code.String())), part(11, count+strings.Repeat("\x01\x00", n)))
}
