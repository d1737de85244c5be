package wasm

import (
	"strings"
	"testing"

	"github.com/ipfs-liftoff/liftoff/abi"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/runtime/runtimetest"
)

// TestTraps raises every trap: wazero does not export its traps, so this test pins their texts.
func TestTraps(t *testing.T) {
	i32c := func(v byte) []byte { return []byte{0x41, v} }
	minInt := []byte{0x41, 0x80, 0x80, 0x80, 0x80, 0x78}
	infinity := []byte{0x44, 0, 0, 0, 0, 0, 0, 0xf0, 0x7f}
	nan := []byte{0x44, 0, 0, 0, 0, 0, 0, 0xf8, 0x7f}
	withTable := func(code ...byte) *assembler {
		a := guest(code...)
		a.typ([]byte{tI64}, []byte{tI32}) // type 1, for a call of another type
		a.add(sectionTable, 0x70, 0, 2)
		a.add(sectionElement, 0, 0x41, 1, 0x0b, 1, 0) // entry 1 is liftoff_run, entry 0 null
		return a
	}
	start := guest(0x41, 0)
	start.start = u32(start.fn("", start.typ(nil, nil), 0x00))
	deepStart := guest(0x41, 0)
	deepStart.start = u32(deepStart.fn("", deepStart.typ(nil, nil), 0x10, 1))
	initialize := guest(0x41, 0)
	initialize.fn("_initialize", initialize.typ(nil, nil), 0x00)
	elements := guest(0x41, 0)
	elements.add(sectionTable, 0x70, 0, 2)
	elements.add(sectionElement, 0, 0x41, 1, 0x0b, 2, 0, 0) // entries 1 and 2
	noElements := guest(0x41, 0)
	noElements.add(sectionTable, 0x70, 0, 2)
	noElements.add(sectionElement, 0, 0x41, 3, 0x0b, 0)
	both := guest(0x41, 0)
	both.add(sectionTable, 0x70, 0, 2)
	both.add(sectionElement, 0, 0x41, 1, 0x0b, 2, 0, 0)
	both.add(sectionData, cat([]byte{0, 0x41}, sleb(65535), []byte{0x0b}, vec([]byte("too long")))...)
	data := guest(0x41, 0)
	data.add(sectionData, cat([]byte{0, 0x41}, sleb(65535), []byte{0x0b}, vec([]byte("too long")))...)

	for _, c := range []struct {
		name   string
		module *assembler
		code   int
		says   string
	}{
		{"unreachable", guest(0x00), job.TrapUnreachable, "unreachable"},
		{"load past the end", guest(cat([]byte{0x41, 0x7f, 0x28, 2, 0})...), job.TrapMemory, "out of bounds memory"},
		{"memory.fill past the end", guest(cat(i32c(0), i32c(0), []byte{0x41}, sleb(70000), []byte{0xfc, 11, 0}, i32c(0))...), job.TrapMemory, "out of bounds memory"},
		{"data past the end", data, job.TrapMemory, "out of bounds memory"},
		{"elements past the end", elements, job.TrapTable, "table"},
		{"no elements past the end", noElements, job.TrapTable, "table"},
		{"elements, then data past the end", both, job.TrapTable, "table"},
		{"table.get past the end", withTable(cat(i32c(9), []byte{0x25, 0, 0xd1})...), job.TrapTable, "table"},
		{"call of null", withTable(cat(i32c(0), []byte{0x11, 0, 0})...), job.TrapTable, "table"},
		{"call past the end", withTable(cat(i32c(9), []byte{0x11, 0, 0})...), job.TrapTable, "table"},
		{"call of another type", withTable(cat([]byte{0x42, 0}, i32c(1), []byte{0x11, 1, 0})...), job.TrapIndirectType, "type mismatch"},
		{"division by zero", guest(cat(i32c(1), i32c(0), []byte{0x6d})...), job.TrapDivide, "divide by zero"},
		{"remainder by zero", guest(cat(i32c(1), i32c(0), []byte{0x70})...), job.TrapDivide, "divide by zero"},
		{"division overflow", guest(cat(minInt, []byte{0x41, 0x7f, 0x6d})...), job.TrapDivide, "overflow"},
		{"conversion of NaN", guest(cat(nan, []byte{0xaa})...), job.TrapConversion, "conversion"},
		{"conversion of infinity", guest(cat(infinity, []byte{0xaa})...), job.TrapDivide, "overflow"},
		{"endless recursion", guest(0x10, 0), job.TrapStack, "stack overflow"},
		{"start function", start, job.TrapUnreachable, "unreachable"},
		{"recursive start function", deepStart, job.TrapStack, "stack overflow"},
		{"_initialize", initialize, job.TrapUnreachable, "unreachable"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := runtimetest.NewHarness(shared(t))
			res := w.Run(t, w.Task(t, c.module.bytes()))
			if res.Outcome.State != job.Trap || res.Outcome.Code != c.code {
				t.Errorf("%s %d, want trap %d", res.Outcome.State, res.Outcome.Code, c.code)
			}
			if strings.Contains(res.Fault, "meter") || strings.Contains(res.Fault, "wazero") {
				t.Errorf("fault shows the metering:\n%s", res.Fault)
			}
			if !strings.Contains(res.Fault, c.says) || strings.Contains(res.Fault, ".go:") || strings.Contains(res.Fault, "goroutine") {
				t.Errorf("fault %q, want %q and nothing of the host", res.Fault, c.says)
			}
		})
	}
}

// TestFaultText checks that stacks look as if the guests had not been rewritten, with function
// names if they exist, else with their indexes.
func TestFaultText(t *testing.T) {
	named := func(a *assembler) []byte {
		names := cat([]byte{1}, vec(cat([]byte{2, 1}, vec([]byte("outer")), []byte{2}, vec([]byte("inner")))))
		return cat(a.bytes(), section(sectionCustom, cat(vec([]byte("name")), names)))
	}
	a := &assembler{}
	a.imp(abi.Module, "input_count", a.typ(nil, []byte{tI64}))
	a.memory(1)
	a.fn("liftoff_run", a.typ(nil, []byte{tI32}), 0x10, 2)
	a.fn("", 1, cat([]byte{0x41, 0, 0x41, 0, 0x41}, sleb(70000), []byte{0xfc, 11, 0, 0x41, 0})...)
	for want, module := range map[string][]byte{
		"\t$2() i32\n\t$1() i32": a.bytes(), "\tinner() i32\n\touter() i32": named(a),
	} {
		w := newHarness(t)
		res := w.Run(t, w.Task(t, module))
		if want = "out of bounds memory access\nwasm stack trace:\n" + want; res.Fault != want {
			t.Errorf("fault:\n%s\nwant:\n%s", res.Fault, want)
		}
	}
}
