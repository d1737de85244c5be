package wasm

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/runtime/runtimetest"
)

func TestDescribe(t *testing.T) {
	a := &assembler{}
	a.imp("liftoff_v1", "input_count", a.typ(nil, []byte{tI64}))
	a.memory(2)
	a.fn("liftoff_run", a.typ(nil, []byte{tI32}), 0x41, 0, 0xc0) // i32.extend8_s
	a.add(sectionTable, 0x70, 0, 3)
	module := cat(a.bytes(), section(sectionCustom, cat(vec([]byte("producers")), []byte{0})))
	d, err := Describe(t.Context(), module)
	if err != nil {
		t.Fatal(err)
	}
	if d.Rewritten <= d.Size {
		t.Errorf("%d bytes became %d", d.Size, d.Rewritten)
	}
	want := Description{
		ABI: job.ABILiftoff, Fn: "liftoff_run", Runs: true, Size: len(module), Rewritten: d.Rewritten,
		Functions: 1, Types: 2, Tables: Tables{1, 3}, Memory: &Memory{2, 65536},
		Imports:  []Import{{"liftoff_v1", "input_count", "() -> (i64)", true}},
		Exports:  []Export{{"liftoff_run", "function", "() -> (i32)"}, {"memory", "memory", ""}},
		Features: []string{"sign-extension"}, Custom: []string{"producers"},
	}
	if diff := cmp.Diff(want, d); diff != "" {
		t.Error(diff)
	}
}

// TestDescribeRefused describes modules that an Executor refuses, with the same reason.
func TestDescribeRefused(t *testing.T) {
	unknown := guest(0x41, 0)
	unknown.typ(nil, nil)
	a := &assembler{}
	a.imp("env", "foo", a.typ(nil, nil))
	a.memory(1)
	a.fn("liftoff_run", a.typ(nil, []byte{tI32}), 0x41, 0)
	for _, module := range [][]byte{
		nil, []byte("hello, this is text"), a.bytes(),
		guest(0x42, 0).bytes(), // an i64 instead of an i32
		guest(0x6a).bytes(), guest(0xff).bytes(), guest(0x12, 0).bytes(),
		runtimetest.Module("unknown"),
	} {
		w := runtimetest.NewHarness(shared(t))
		checked := w.Executor.Check(t.Context(), w.Task(t, module), w.Limits, w.Env(t))
		d, err := Describe(t.Context(), module)
		if err != nil || d.Runs || d.Reason == "" || checked == nil || !strings.HasSuffix(checked.Error(), d.Reason) {
			t.Errorf("described as %q, %v; checked: %v", d.Reason, err, checked)
		}
	}
}
