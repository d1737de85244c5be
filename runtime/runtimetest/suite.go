// Package runtimetest is the test suite that every executor has to pass: the Outcomes of guests
// that succeed, fail, trap, exceed a limit or never end, and what is an error instead. An
// executor's own tests call Suite with a function that opens a fresh executor.
package runtimetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/runtime"
)

// Suite tests the executors that open returns, a new one for each test.
func Suite(t *testing.T, open func(t *testing.T) runtime.Executor) {
	for _, s := range []struct {
		name string
		test func(*testing.T, *Harness)
	}{
		{"ok", testOK},
		{"exit", testExit},
		{"trap", testTrap},
		{"copy", testCopy},
		{"sole output", testSole},
		{"print", testPrint},
		{"print to a closed pipe", testClosedPipe},
		{"print is live", testLive},
		{"memory limit", testGrow},
		{"own memory limit", testGrowMax},
		{"log limit", testLogs},
		{"output limit", testBlocks},
		{"fuel", testFuel},
		{"out of fuel", testOutOfFuel},
		{"stack", testStack},
		{"timeout", testTimeout},
		{"cancel", testCancel},
		{"cancelled before", testCancelledBefore},
		{"progress", testProgress},
		{"missing module", testMissingModule},
		{"missing input", testMissingInput},
		{"refused", testRefused},
		{"deterministic", testDeterministic},
		{"traits", testTraits},
	} {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			s.test(t, NewHarness(open(t)))
		})
	}
}

// Harness is an executor and the blocks that it runs over.
type Harness struct {
	Executor runtime.Executor
	Blocks   dag.MemBlocks
	Limits   job.Limits
}

// NewHarness returns a Harness without blocks, with the default limits.
func NewHarness(e runtime.Executor) *Harness { return &Harness{Executor: e} }

// Add adds b as a file and returns its root.
func (w *Harness) Add(t testing.TB, b []byte) cid.Cid {
	t.Helper()
	e, err := dag.AddFile(t.Context(), &w.Blocks, bytes.NewReader(b), dag.UnixFSv1)
	if err != nil {
		t.Fatal(err)
	}
	return e.CID
}

// Task returns a Task that runs module, which it adds, over inputs.
func (w *Harness) Task(t testing.TB, module []byte, inputs ...cid.Cid) job.Task {
	t.Helper()
	task := job.Task{
		ABI: job.ABILiftoff, Mod: w.Add(t, module), Fn: "liftoff_run", Det: job.Det2, Out: job.OutProfile,
	}
	if bytes.Contains(module, []byte("\x06_start")) {
		task.ABI, task.Fn = job.ABIWASI, "_start"
	}
	for _, c := range inputs {
		task.In = append(task.In, job.Input{CID: c})
	}
	return task
}

// Env returns the environment of a run whose output is not followed.
func (w *Harness) Env(t testing.TB) runtime.Env {
	t.Helper()
	dir, err := os.MkdirTemp(t.TempDir(), "scratch")
	if err != nil {
		t.Fatal(err)
	}
	return runtime.Env{Blocks: &w.Blocks, Scratch: dir}
}

// Run runs task; an error fails the test.
func (w *Harness) Run(t testing.TB, task job.Task) runtime.Result {
	t.Helper()
	res, err := w.Executor.Run(t.Context(), task, w.Limits, w.Env(t))
	if err != nil {
		t.Fatalf("run: %v", err)
	}
	if _, err := res.Outcome.CID(); err != nil {
		t.Fatalf("invalid Outcome: %v", err)
	}
	id, err := task.CID()
	if err != nil {
		t.Fatal(err)
	}
	if res.Outcome.Task != id {
		t.Fatalf("Outcome of task %s, want %s", res.Outcome.Task, id)
	}
	return res
}

// File returns the bytes of the file c.
func (w *Harness) File(t testing.TB, c cid.Cid) string {
	t.Helper()
	if !c.Defined() {
		return ""
	}
	f, err := dag.OpenFile(t.Context(), &w.Blocks, c)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if _, err := f.WriteTo(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// At returns the CID at path below root.
func (w *Harness) At(t testing.TB, root cid.Cid, path ...string) cid.Cid {
	t.Helper()
	r, err := dag.Resolve(t.Context(), &w.Blocks, dag.Path{Root: root, Segments: path})
	if err != nil {
		t.Fatal(err)
	}
	return r.CID
}

// EmptyDir returns the root of a run without output.
func (w *Harness) EmptyDir(t testing.TB) cid.Cid {
	t.Helper()
	e, err := dag.NewDirWriter(&w.Blocks, dag.UnixFSv1).Finish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return e.CID
}

// want compares the main fields of an Outcome.
func want(t *testing.T, o job.Outcome, st job.State, code int, root cid.Cid) {
	t.Helper()
	if o.State != st || o.Code != code {
		t.Errorf("state %s %d, want %s %d", o.State, o.Code, st, code)
	}
	if root.Defined() && o.Root != root {
		t.Errorf("root %s, want %s", o.Root, root)
	}
}

func testOK(t *testing.T, w *Harness) {
	res := w.Run(t, w.Task(t, Module("ok")))
	want(t, res.Outcome, job.OK, 0, w.EmptyDir(t))
	if res.Outcome.Pages != 1 || res.Outcome.Stdout.Defined() || res.Outcome.Stderr.Defined() || len(res.Refs) != 0 {
		t.Errorf("outcome %+v, refs %v", res.Outcome, res.Refs)
	}
}

func testExit(t *testing.T, w *Harness) {
	for _, n := range []int{1, 3, 255, 256, 70000} {
		task := w.Task(t, Module("exit"))
		task.Args = []string{strings.Repeat("x", n)}
		want(t, w.Run(t, task).Outcome, job.Exit, min(n, 255), w.EmptyDir(t))
	}
}

func testTrap(t *testing.T, w *Harness) {
	res := w.Run(t, w.Task(t, Module("trap"), w.Add(t, []byte("input"))))
	want(t, res.Outcome, job.Trap, job.TrapUnreachable, w.EmptyDir(t))
	if got := w.File(t, res.Outcome.Stderr); got != "before\n" {
		t.Errorf("stderr %q", got)
	}
	for _, part := range []string{"unreachable", "innermost", "outer"} {
		if !strings.Contains(res.Fault, part) {
			t.Errorf("the fault does not contain %q:\n%s", part, res.Fault)
		}
	}
	if strings.Contains(res.Fault, "goroutine") {
		t.Errorf("the fault shows the host's stack:\n%s", res.Fault)
	}
}

func testCopy(t *testing.T, w *Harness) {
	in := bytes.Repeat([]byte("0123456789abcdef\n"), 200_000) // several leaves
	other := w.Add(t, []byte("another input"))
	res := w.Run(t, w.Task(t, Module("copy"), w.Add(t, in), other))
	want(t, res.Outcome, job.OK, 0, cid.Undef)
	if got := w.File(t, w.At(t, res.Outcome.Root, "copy", "of", "input")); got != string(in) {
		t.Errorf("the copy has %d bytes, want %d", len(got), len(in))
	}
	if got := w.At(t, res.Outcome.Root, "ref"); got != other {
		t.Errorf("ref is %s, want %s", got, other)
	}
	if diff := cmp.Diff([]cid.Cid{other}, res.Refs, cmp.Comparer(cid.Cid.Equals)); diff != "" {
		t.Errorf("refs: diff %s", diff)
	}
	if got := res.Outcome.Size; got < uint64(len(in))/10 || got > uint64(len(in))+4096 {
		t.Errorf("size %d of a copy of %d bytes", got, len(in))
	}
}

func testSole(t *testing.T, w *Harness) {
	in := w.Add(t, []byte("the input"))
	res := w.Run(t, w.Task(t, Module("sole"), in))
	want(t, res.Outcome, job.OK, 0, in)
	if res.Outcome.Size != 0 || len(res.Refs) != 1 || res.Refs[0] != in {
		t.Errorf("size %d, refs %v; the run made nothing", res.Outcome.Size, res.Refs)
	}
}

func testPrint(t *testing.T, w *Harness) {
	var out, errs bytes.Buffer
	env := w.Env(t)
	env.Stdout, env.Stderr = &out, &errs
	res, err := w.Executor.Run(t.Context(), w.Task(t, Module("print")), w.Limits, env)
	if err != nil {
		t.Fatal(err)
	}
	want(t, res.Outcome, job.Exit, 3, w.EmptyDir(t))
	if out.String() != "hello\n" || errs.String() != "oops\x00" {
		t.Errorf("live: stdout %q, stderr %q", &out, &errs)
	}
	if got := w.File(t, res.Outcome.Stdout); got != out.String() {
		t.Errorf("stored stdout %q", got)
	}
	if got := w.File(t, res.Outcome.Stderr); got != errs.String() {
		t.Errorf("stored stderr %q", got)
	}
	if res.Outcome.Log != 11 {
		t.Errorf("log %d, want 11", res.Outcome.Log)
	}
}

type closedPipe struct{}

func (closedPipe) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func testClosedPipe(t *testing.T, w *Harness) {
	for name, task := range map[string]job.Task{"stdout": w.Task(t, Module("print")), "stderr": w.Task(t, Module("logs"))} {
		env := w.Env(t)
		env.Stdout, env.Stderr = io.Discard, closedPipe{}
		if name == "stdout" {
			env.Stdout = closedPipe{}
		}
		if _, err := w.Executor.Run(t.Context(), task, w.Limits, env); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// writerFunc is a function as an io.Writer.
type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// testLive has a guest that prints endlessly; the reader of its output ends the run at the
// first line.
func testLive(t *testing.T, w *Harness) {
	cause := errors.New("seen enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	var seen strings.Builder
	env := w.Env(t)
	env.Stderr = writerFunc(func(p []byte) (int, error) {
		seen.Write(p)
		if strings.Contains(seen.String(), "line\n") {
			cancel(cause)
		}
		return len(p), nil
	})
	if _, err := w.Executor.Run(ctx, w.Task(t, Module("logs")), w.Limits, env); !errors.Is(err, cause) {
		t.Errorf("error %v, want %v", err, cause)
	}
	if seen.String() != "line\n" {
		t.Errorf("saw %q", seen.String())
	}
}

// wantQuota runs task, which exceeds a limit.
func wantQuota(t *testing.T, w *Harness, task job.Task, code int) job.Outcome {
	t.Helper()
	o := w.Run(t, task).Outcome
	want(t, o, job.Quota, code, w.EmptyDir(t))
	if o.Limits == nil || *o.Limits != w.Limits.OrDefault() {
		t.Errorf("limits %+v, want %+v", o.Limits, w.Limits.OrDefault())
	}
	return o
}

func testGrow(t *testing.T, w *Harness) {
	w.Limits.Pages = 20
	if o := wantQuota(t, w, w.Task(t, Module("grow")), job.QuotaPages); o.Pages != 20 {
		t.Errorf("peak of %d pages, want 20", o.Pages)
	}
}

func testGrowMax(t *testing.T, w *Harness) {
	res := w.Run(t, w.Task(t, Module("growmax")))
	want(t, res.Outcome, job.OK, 0, w.EmptyDir(t))
	if res.Outcome.Pages != 3 {
		t.Errorf("peak of %d pages, want 3", res.Outcome.Pages)
	}
}

func testLogs(t *testing.T, w *Harness) {
	w.Limits.Log = 12
	o := wantQuota(t, w, w.Task(t, Module("logs")), job.QuotaLog)
	if got := w.File(t, o.Stderr); got != "line\nline\n" || o.Log != 10 {
		t.Errorf("stderr %q, log %d", got, o.Log)
	}
}

func testBlocks(t *testing.T, w *Harness) {
	w.Limits.Out = 1 << 20
	wantQuota(t, w, w.Task(t, Module("blocks")), job.QuotaOut)
	if n, _ := w.Blocks.Len(); n > 1000 {
		t.Errorf("%d blocks of output under a limit of 1 MiB", n)
	}
}

// testFuel runs guests with exactly the fuel that they need, and with one unit less.
func testFuel(t *testing.T, w *Harness) {
	in := w.Add(t, []byte("input"))
	for _, name := range []string{"copy", "print", "growmax", "trap"} {
		task := w.Task(t, Module(name), in)
		w.Limits.Fuel = 0
		free := w.Run(t, task).Outcome
		w.Limits.Fuel = free.Fuel
		if enough := w.Run(t, task).Outcome; free.Fuel == 0 || enough.State != free.State || enough.Fuel != free.Fuel {
			t.Errorf("%s: %d fuel, %s; with that limit %d, %s", name, free.Fuel, free.State, enough.Fuel, enough.State)
		}
		w.Limits.Fuel = free.Fuel - 1
		wantOutOfFuel(t, w, task)
	}
}

func testOutOfFuel(t *testing.T, w *Harness) {
	for _, name := range []string{"spin", "calls"} {
		w.Limits.Fuel = 12_345_678
		wantOutOfFuel(t, w, w.Task(t, Module(name)))
	}
}

// wantOutOfFuel runs task, which needs more fuel than its limit.
func wantOutOfFuel(t *testing.T, w *Harness, task job.Task) {
	t.Helper()
	o := w.Run(t, task).Outcome
	want(t, o, job.OutOfFuel, 0, w.EmptyDir(t))
	if o.Fuel != w.Limits.Fuel || o.Limits == nil || *o.Limits != w.Limits.OrDefault() {
		t.Errorf("%d fuel under %+v, want all of %+v", o.Fuel, o.Limits, w.Limits.OrDefault())
	}
}

func testStack(t *testing.T, w *Harness) {
	res := w.Run(t, w.Task(t, Module("recurse")))
	want(t, res.Outcome, job.Trap, job.TrapStack, w.EmptyDir(t))
	if !strings.Contains(res.Fault, "stack overflow") || !strings.Contains(res.Fault, "deeper") {
		t.Errorf("fault\n%s", res.Fault)
	}
}

func testTimeout(t *testing.T, w *Harness) {
	for _, name := range []string{"spin", "calls"} {
		ctx, cancel := context.WithTimeoutCause(t.Context(), 100*time.Millisecond, runtime.ErrTimeout)
		defer cancel()
		begin := time.Now()
		_, err := w.Executor.Run(ctx, w.Task(t, Module(name)), w.Limits, w.Env(t))
		if !errors.Is(err, runtime.ErrTimeout) {
			t.Errorf("%s: error %v, want %v", name, err, runtime.ErrTimeout)
		}
		if took := time.Since(begin); took > 10*time.Second {
			t.Errorf("module %s: a run with a timeout of 100ms ended after %v, want at most 10s", name, took)
		}
	}
}

func testCancel(t *testing.T, w *Harness) {
	cause := errors.New("enough")
	spinning, stop := context.WithCancelCause(t.Context())
	time.AfterFunc(50*time.Millisecond, func() { stop(cause) })
	if _, err := w.Executor.Run(spinning, w.Task(t, Module("spin")), w.Limits, w.Env(t)); !errors.Is(err, cause) {
		t.Errorf("spin: error %v, want %v", err, cause)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	env := w.Env(t)
	env.Progress = func(done, total int64) { cancel(cause) }
	if _, err := w.Executor.Run(ctx, w.Task(t, Module("calls")), w.Limits, env); !errors.Is(err, cause) {
		t.Errorf("error %v, want %v", err, cause)
	}
}

func testCancelledBefore(t *testing.T, w *Harness) {
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	if _, err := w.Executor.Run(ctx, w.Task(t, Module("ok")), w.Limits, w.Env(t)); !errors.Is(err, cause) {
		t.Errorf("error %v, want %v", err, cause)
	}
}

func testProgress(t *testing.T, w *Harness) {
	ctx, cancel := context.WithCancelCause(t.Context())
	var done, total int64
	env := w.Env(t)
	env.Progress = func(d, n int64) {
		done, total = d, n
		cancel(nil)
	}
	_, _ = w.Executor.Run(ctx, w.Task(t, Module("calls")), w.Limits, env)
	if done != 1 || total != 2 {
		t.Errorf("progress %d of %d, want 1 of 2", done, total)
	}
}

// wantMissing checks that err names c as missing, and is not a fault of the guest.
func wantMissing(t *testing.T, err error, c cid.Cid) {
	t.Helper()
	var missing *dag.NotFoundError
	if !errors.As(err, &missing) || missing.CID != c {
		t.Errorf("error %v, want one that names %s as missing", err, c)
	}
}

func testMissingModule(t *testing.T, w *Harness) {
	task := w.Task(t, Module("ok"))
	w.Blocks.Delete(task.Mod)
	_, err := w.Executor.Run(t.Context(), task, w.Limits, w.Env(t))
	wantMissing(t, err, task.Mod)
	wantMissing(t, w.Executor.Check(t.Context(), task, w.Limits, w.Env(t)), task.Mod)
}

func testMissingInput(t *testing.T, w *Harness) {
	in := w.Add(t, []byte("gone"))
	w.Blocks.Delete(in)
	_, err := w.Executor.Run(t.Context(), w.Task(t, Module("copy"), in), w.Limits, w.Env(t))
	wantMissing(t, err, in)
	if err != nil && strings.Contains(err.Error(), "wasm stack") {
		t.Errorf("the error shows the guest's stack: %v", err)
	}
}

func testRefused(t *testing.T, w *Harness) {
	for name, c := range map[string]struct {
		module []byte
		says   string
	}{
		"text":           {[]byte("#!/bin/sh\necho hello\n"), "text"},
		"component":      {[]byte("\x00asm\x0d\x00\x01\x00"), "component"},
		"truncated":      {Module("ok")[:20], "truncated"},
		"unknown import": {Module("unknown"), `unknown import "env"."foo"`},
	} {
		task := w.Task(t, c.module)
		_, err := w.Executor.Run(t.Context(), task, w.Limits, w.Env(t))
		for _, err := range []error{err, w.Executor.Check(t.Context(), task, w.Limits, w.Env(t))} {
			var refused *runtime.RefusedError
			if !errors.As(err, &refused) || !strings.Contains(refused.Reason, c.says) {
				t.Errorf("%s: error %v, want a refusal that contains %q", name, err, c.says)
			}
		}
	}
}

func testDeterministic(t *testing.T, w *Harness) {
	in := w.Add(t, bytes.Repeat([]byte{7}, 3_000_000))
	for _, name := range []string{"copy", "trap", "print", "growmax", "recurse"} {
		task := w.Task(t, Module(name), in)
		first, err := w.Run(t, task).Outcome.Encode()
		if err != nil {
			t.Fatal(err)
		}
		second, err := w.Run(t, task).Outcome.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(first, second) {
			t.Errorf("%s: two runs of the same Task differ", name)
		}
	}
}

func testTraits(t *testing.T, w *Harness) {
	tr := w.Executor.Traits()
	if tr.Engine == "" || len(tr.ABIs) == 0 {
		t.Errorf("traits %+v", tr)
	}
	if err := w.Executor.Check(t.Context(), w.Task(t, Module("ok")), w.Limits, w.Env(t)); err != nil {
		t.Errorf("check: %v", err)
	}
}
