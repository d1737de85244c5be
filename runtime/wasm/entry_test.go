package wasm

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/abi"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/runtime"
	"github.com/ipfs-liftoff/liftoff/runtime/runtimetest"
)

// counter returns a guest with a global that its entry exits with.
func counter() *assembler {
	a := guest(0x23, 0)
	a.add(sectionGlobal, tI32, 1, 0x41, 1, 0x0b)
	return a
}

// times10 returns code that multiplies the global by 10 and adds n.
func times10(n byte) []byte {
	return []byte{0x23, 0, 0x41, 10, 0x6c, 0x41, n, 0x6a, 0x24, 0}
}

func TestEntryOrder(t *testing.T) {
	start, initialize, both := counter(), counter(), counter()
	start.start = u32(start.fn("", start.typ(nil, nil), times10(2)...))
	initialize.fn("_initialize", initialize.typ(nil, nil), times10(3)...)
	both.start = u32(both.fn("", both.typ(nil, nil), times10(2)...))
	both.fn("_initialize", 1, times10(3)...)
	both.fn("_start", 1, 0x00) // not the entry of a module that has liftoff_run
	for name, c := range map[string]struct {
		module *assembler
		code   int
	}{
		"neither": {counter(), 1}, "start function": {start, 12}, "_initialize": {initialize, 13}, "both": {both, 123},
	} {
		w := newHarness(t)
		if o := w.Run(t, taskOf(t, w, c.module)).Outcome; o.State != job.Exit || o.Code != c.code {
			t.Errorf("%s: %s %d, want exit %d", name, o.State, o.Code, c.code)
		}
	}
}

// taskOf returns the Task of a liftoff_v1 module, whatever else it exports.
func taskOf(t *testing.T, w *runtimetest.Harness, a *assembler, inputs ...cid.Cid) job.Task {
	t.Helper()
	task := w.Task(t, a.bytes(), inputs...)
	task.ABI, task.Fn = job.ABILiftoff, abi.ExportRun
	return task
}

func TestAnotherFunction(t *testing.T) {
	a := guest(0x41, 1)
	a.fn("other", 0, 0x41, 2)
	a.fn("wrong", a.typ([]byte{tI32}, []byte{tI32}), 0x20, 0)
	w := newHarness(t)
	task := taskOf(t, w, a)
	task.Fn = "other"
	if o := w.Run(t, task).Outcome; o.Code != 2 {
		t.Errorf("%s %d, want exit 2", o.State, o.Code)
	}
	for fn, says := range map[string]string{"wrong": "got type (i32) -> (i32)", "none": `function "none"`, "memory": `function "memory"`} {
		task.Fn = fn
		_, err := w.Executor.Run(t.Context(), task, w.Limits, w.Env(t))
		wantRefused(t, err, says)
	}
}

// TestExitCodes ends a WASI command, and a liftoff_v1 module that imports WASI, with proc_exit.
func TestExitCodes(t *testing.T) {
	for _, code := range []uint32{0, 1, 3, 120, 255, 256, 1000, 1<<32 - 1, 0xefffffff} {
		want, state := int(min(code, 255)), job.Exit
		if code == 0 {
			state = job.OK
		}
		a := &assembler{}
		a.imp(wasiModule, "proc_exit", a.typ([]byte{tI32}, nil))
		a.memory(1)
		exit := cat([]byte{0x41}, signed(code), []byte{0x10, 0})
		a.fn("_start", a.typ(nil, nil), exit...)
		a.fn("liftoff_run", a.typ(nil, []byte{tI32}), append(exit, 0x41, 77)...)
		w := newHarness(t)
		task := w.Task(t, a.bytes())
		for _, entry := range [][2]string{{job.ABIWASI, abi.ExportStart}, {job.ABILiftoff, abi.ExportRun}} {
			task.ABI, task.Fn = entry[0], entry[1]
			if o := w.Run(t, task).Outcome; o.State != state || o.Code != want {
				t.Errorf("%s: proc_exit(%d): %s %d, want %s %d", task.ABI, code, o.State, o.Code, state, want)
			}
		}
	}
}

// signed writes the bits of v as a signed LEB128.
func signed(v uint32) (b []byte) {
	for s := int32(v); ; s >>= 7 {
		if c := byte(s) & 0x7f; s>>6 == 0 || s>>6 == -1 {
			return append(b, c)
		}
		b = append(b, byte(s)|0x80)
	}
}

// TestStartFunctionCallsTheHost creates output before the entry is called.
func TestStartFunctionCallsTheHost(t *testing.T) {
	a := &assembler{}
	a.imp(abi.Module, "output", a.typ([]byte{tI32, tI32, tI32}, []byte{tI64}))
	a.memory(1)
	a.fn("liftoff_run", a.typ(nil, []byte{tI32}), 0x41, 0)
	a.start = u32(a.fn("", a.typ(nil, nil), 0x41, 0, 0x41, 0, 0x41, 0, 0x10, 0, 0x1a))
	w := newHarness(t)
	in := w.Add(t, []byte("in"))
	if o := w.Run(t, taskOf(t, w, a, in)).Outcome; o.State != job.OK || o.Root != in {
		t.Errorf("%s %d, root %s", o.State, o.Code, o.Root)
	}
}

// TestOutputOfFailure attaches an output and fails: the output is discarded.
func TestOutputOfFailure(t *testing.T) {
	a := &assembler{}
	a.imp(abi.Module, "output", a.typ([]byte{tI32, tI32, tI32}, []byte{tI64}))
	a.memory(1)
	a.fn("liftoff_run", a.typ(nil, []byte{tI32}), 0x41, 0, 0x41, 0, 0x41, 0, 0x10, 0, 0x1a, 0x41, 9)
	w := newHarness(t)
	if o := w.Run(t, taskOf(t, w, a, w.Add(t, []byte("in")))).Outcome; o.Code != 9 || o.Root != w.EmptyDir(t) {
		t.Errorf("%s %d, root %s", o.State, o.Code, o.Root)
	}
}

// TestCompileIsInterrupted sets a short deadline for a module that is slow to compile.
func TestCompileIsInterrupted(t *testing.T) {
	a := guest(0x41, 0)
	body := []byte{0x41, 0}
	for range 200 {
		body = append(body, 0x41, 1, 0x6a, 0x41, 3, 0x6c)
	}
	for range 20_000 {
		a.fn("", 0, body...)
	}
	w := newHarness(t)
	task := w.Task(t, a.bytes())
	ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, runtime.ErrTimeout)
	defer cancel()
	begin := time.Now()
	_, err := w.Executor.Run(ctx, task, w.Limits, w.Env(t))
	if !errors.Is(err, runtime.ErrTimeout) {
		t.Errorf("error %v, want %v", err, runtime.ErrTimeout)
	}
	if took := time.Since(begin); took > 20*time.Second {
		t.Errorf("interrupting took %v", took)
	}
}

// failing is a dag.Blocks that cannot be written to.
type failing struct {
	dag.Blocks
	err error
}

func (f failing) Put(context.Context, ...dag.Block) error { return f.err }

// TestStoreFails has a store that rejects writes: there is an error instead of an Outcome, the
// store's own, without the guest's stack.
func TestStoreFails(t *testing.T) {
	full := errors.New("no space left on the device")
	for _, name := range []string{"ok", "copy", "print", "blocks"} {
		w := newHarness(t)
		task, env := w.Task(t, runtimetest.Module(name), w.Add(t, make([]byte, 2<<20))), w.Env(t)
		env.Blocks = failing{&w.Blocks, full}
		_, err := w.Executor.Run(t.Context(), task, w.Limits, env)
		if !errors.Is(err, full) || strings.Contains(fmt.Sprint(err), "wasm") {
			t.Errorf("%s: error %v, want %v", name, err, full)
		}
	}
}

// TestOutcomeDoesNotShowTheLimits runs the same Task under two sets of limits.
func TestOutcomeDoesNotShowTheLimits(t *testing.T) {
	w := newHarness(t)
	task := w.Task(t, runtimetest.Module("copy"), w.Add(t, []byte("in")))
	a := w.Run(t, task).Outcome
	w.Limits = job.Limits{Pages: 2, Out: 1 << 20, Log: 1, Tmp: 1}
	b := w.Run(t, task).Outcome
	ac, _ := a.CID()
	if bc, _ := b.CID(); ac != bc {
		t.Errorf("%+v\n%+v", a, b)
	}
}
