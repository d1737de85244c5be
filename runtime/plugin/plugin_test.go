package plugin

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/runtime"
	"github.com/ipfs-liftoff/liftoff/runtime/plugin/wire"
	"github.com/ipfs-liftoff/liftoff/runtime/runtimetest"
)

func TestSuite(t *testing.T) {
	runtimetest.Foreign(t, open(t, "test", Config{}), testTask)
}

func TestWhatAGuestIsGiven(t *testing.T) {
	x := open(t, "test", Config{})
	w := runtimetest.NewHarness(x)
	w.Limits = job.Limits{Fuel: 1, Pages: 2, Out: 1 << 20, Tmp: 1 << 21, Log: 1 << 22}
	env := w.Env(t)
	env.Network = true
	res, err := x.Run(t.Context(), testTask(t, w, "limits"), w.Limits, env)
	if err != nil {
		t.Fatal(err)
	}
	if got := w.File(t, res.Outcome.Stdout); got != "{Fuel:1 Memory:131072 Out:1048576 Tmp:2097152 Log:4194304} network true" {
		t.Errorf("guest's limits: got %s", got)
	}
	if got := w.File(t, w.Run(t, testTask(t, w, "module")).Outcome.Stdout); got != "the module" {
		t.Errorf("module: got %q", got)
	}
	block := dag.NewBlock(cid.DagCBOR, []byte("\xa1\x61a\x01"))
	if err := w.Blocks.Put(t.Context(), block); err != nil {
		t.Fatal(err)
	}
	task := testTask(t, w, "module")
	task.Mod = block.CID()
	if got := w.File(t, w.Run(t, task).Outcome.Stdout); got != string(block.Data()) {
		t.Errorf("module that is a block: got %q", got)
	}
	var done, total int64
	env = w.Env(t)
	env.Progress = func(d, n int64) { done, total = d, n }
	if _, err := x.Run(t.Context(), testTask(t, w, "progress"), w.Limits, env); err != nil || done != 1 || total != 2 {
		t.Errorf("progress %d of %d, %v", done, total, err)
	}
}

func TestEnds(t *testing.T) {
	x := open(t, "test", Config{})
	w := runtimetest.NewHarness(x)
	w.Limits = job.Limits{Fuel: 1000, Pages: 10}
	if o := w.Run(t, testTask(t, w, "out of fuel")).Outcome; o.State != job.OutOfFuel || o.Fuel != 1000 {
		t.Errorf("out of fuel: %+v", o)
	}
	if o := w.Run(t, testTask(t, w, "out of memory")).Outcome; o.State != job.Quota || o.Code != job.QuotaPages || o.Pages != 10 {
		t.Errorf("out of memory: %+v", o)
	}
	res := w.Run(t, testTask(t, w, "usage"))
	if o := res.Outcome; o.State != job.OK || o.Fuel != 1000 || o.Pages != 10 || res.Elapsed < 0 {
		t.Errorf("end event over the limits: %+v", res)
	}
	var refused *runtime.RefusedError
	for _, arg := range []string{"refuse", "refuse later"} {
		if _, err := x.Run(t.Context(), testTask(t, w, arg), w.Limits, w.Env(t)); !errors.As(err, &refused) {
			t.Errorf("%s: %v", arg, err)
		}
	}
	_, err := x.Run(t.Context(), testTask(t, w, "error"), w.Limits, w.Env(t))
	if err == nil || errors.As(err, &refused) || !strings.Contains(err.Error(), "the engine is broken") {
		t.Errorf("machine fault: %v", err)
	}
}

// TestDeath has programs that die during a run. The next run starts a new process.
func TestDeath(t *testing.T) {
	x := open(t, "test", Config{})
	w := runtimetest.NewHarness(x)
	_, err := x.Run(t.Context(), testTask(t, w, "die"), w.Limits, w.Env(t))
	if err == nil || !strings.Contains(err.Error(), "exit status 7") || !strings.Contains(err.Error(), "out of luck") {
		t.Errorf("error without the program's exit status and stderr: %v", err)
	}
	w.Run(t, testTask(t, w, "ok"))
	env := w.Env(t)
	env.Stdout = writer(func() { _ = syscall.Kill(x.process.cmd.Process.Pid, syscall.SIGKILL) })
	_, err = x.Run(t.Context(), testTask(t, w, "spin"), w.Limits, env)
	if err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("killed program: %v", err)
	}
	w.Run(t, testTask(t, w, "ok"))
}

// TestEndOfNode checks that the program ends with the node: its stdin is closed.
func TestEndOfNode(t *testing.T) {
	x := open(t, "test", Config{})
	if _, err := x.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	p := x.process
	p.alive.Close()
	select {
	case <-p.gone:
	case <-time.After(20 * time.Second):
		t.Error("the program still runs")
	}
	if p.err != nil {
		t.Errorf("program ended with %v", p.err)
	}
}

func TestClose(t *testing.T) {
	x := open(t, "test", Config{})
	w := runtimetest.NewHarness(x)
	w.Run(t, testTask(t, w, "ok"))
	dir := filepath.Dir(x.program)
	p := x.process
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	<-p.gone
	if _, err := x.Run(t.Context(), testTask(t, w, "ok"), w.Limits, w.Env(t)); err == nil {
		t.Error("a closed plugin ran a task")
	}
	if err := New("test", filepath.Join(dir, Prefix+"test"), Config{}).Close(); err != nil {
		t.Errorf("close a plugin that never ran: %v", err)
	}
}

func TestResolve(t *testing.T) {
	x := open(t, "test", Config{})
	i, err := x.Resolve(t.Context(), "good")
	if err != nil || i.Ref != "good" || !bytes.HasPrefix(i.Digest, []byte("good\x00")) {
		t.Errorf("%+v, %v", i, err)
	}
	var refused *runtime.RefusedError
	if _, err := x.Resolve(t.Context(), "bad"); !errors.As(err, &refused) {
		t.Errorf("error %v", err)
	}
}

func TestInputsAreBounded(t *testing.T) {
	x := open(t, "test", Config{MaxInput: 1000, MaxFiles: 3})
	w := runtimetest.NewHarness(x)
	task := testTask(t, w, "ok")
	task.In = []job.Input{{CID: w.Add(t, make([]byte, 1001))}}
	if _, err := x.Run(t.Context(), task, w.Limits, w.Env(t)); err == nil || !strings.Contains(err.Error(), "too many bytes") {
		t.Errorf("bytes: %v", err)
	}
	small := job.Input{CID: w.Add(t, []byte("x"))}
	task.In = []job.Input{small, small, small, small}
	if _, err := x.Run(t.Context(), task, w.Limits, w.Env(t)); err == nil || !strings.Contains(err.Error(), "too many files") {
		t.Errorf("files: %v", err)
	}
}

// TestHoles has a guest that leaves a sparse file of 1 TiB, which is one distinct block.
func TestHoles(t *testing.T) {
	x := open(t, "test", Config{})
	w := runtimetest.NewHarness(x)
	if o := w.Run(t, testTask(t, w, "sparse", "1099511627776")).Outcome; o.State != job.Quota || o.Code != job.QuotaOut {
		t.Errorf("%s %d, %d bytes", o.State, o.Code, o.Size)
	}
	if o := w.Run(t, testTask(t, w, "sparse", "10000000")).Outcome; o.State != job.OK {
		t.Errorf("%s %d", o.State, o.Code)
	}
}

func TestStaysWithin(t *testing.T) {
	for _, c := range []struct {
		target string
		depth  int
		want   bool
	}{
		{"a", 0, true},
		{"a/b", 0, true},
		{"..", 0, false},
		{"..", 1, true},
		{"../..", 1, false},
		{"./../a", 1, true},
		{"a/..", 1, false},
		{"../a/../b", 3, false},
		{"/a", 5, false},
		{"", 1, false},
		{".", 0, true},
		{"..//..", 1, false},
		{"a\x00", 1, false},
	} {
		if got := staysWithin(c.target, c.depth); got != c.want {
			t.Errorf("staysWithin(%q, %d) = %v", c.target, c.depth, got)
		}
	}
}

// TestSet lists programs of which one is usable.
func TestSet(t *testing.T) {
	dir := programsIn(t, "test", "other", "greedy", "idle", "old", "ailing", "silent", "fails", "exits", "UPPER")
	second := programsIn(t, "test")
	for name, mode := range map[string]os.FileMode{"dull": 0o644, "open": 0o757} {
		path := filepath.Join(dir, Prefix+name)
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, Prefix+"folder"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "something-else"), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	s := NewSet([]string{"relative", dir, "/nonexistent", second, dir}, Config{Start: 4 * time.Second, Grace: 100 * time.Millisecond})
	defer s.Close()
	want := map[string]string{
		"test": "", "other": `reports the name "test"`, "greedy": `"wasi_p1"`, "idle": "0 ABIs", "old": "protocol 9",
		"ailing": "the engine is \ufffd[31moff", "silent": "did not answer", "fails": "no such engine",
		"exits": "process ended", "UPPER": "characters", "dull": "not executable", "open": "writable by all", "folder": "not a regular file",
	}
	shadowed := 0
	for _, f := range s.List(t.Context()) {
		if f.Program == filepath.Join(second, Prefix+"test") {
			shadowed++
			if f.Err == nil || !strings.Contains(f.Err.Error(), "shadowed by") {
				t.Errorf("second plugin of the same name: %v", f.Err)
			}
			continue
		}
		says, ok := want[f.Name]
		delete(want, f.Name)
		switch {
		case !ok:
			t.Errorf("found %+v", f)
		case says == "" && (f.Err != nil || f.Traits.Version != "test 1"):
			t.Errorf("%s: unusable: %v", f.Name, f.Err)
		case says != "" && (f.Err == nil || !strings.Contains(f.Err.Error(), says)):
			t.Errorf("%s: error %v, want one that contains %q", f.Name, f.Err, says)
		}
	}
	if len(want) > 0 || shadowed != 1 {
		t.Errorf("not listed: %v, shadowed %d", want, shadowed)
	}

	x, err := s.For(t.Context(), testABI)
	if err != nil || x.name != "test" {
		t.Errorf("For(%s): %v, %v", testABI, x, err)
	}
	var refused *runtime.RefusedError
	if _, err := s.For(t.Context(), "x_fails"); err == nil || errors.As(err, &refused) || !strings.Contains(err.Error(), "no such engine") {
		t.Errorf("ABI whose plugin fails: %v", err)
	}
	empty := NewSet(nil, Config{})
	if _, err := empty.For(t.Context(), job.ABIDocker); !errors.As(err, &refused) || !strings.Contains(refused.Reason, "liftoff-executor-docker") {
		t.Errorf("ABI without a plugin: %v", err)
	}
	if _, err := empty.Named("../../bin/sh"); err == nil {
		t.Error("a path was accepted as a name")
	}
}

func TestListenByHand(t *testing.T) {
	none := func(string) string { return "" }
	if _, err := wire.Listen(none); err == nil || !strings.Contains(err.Error(), "which liftoff starts") {
		t.Errorf("error %v", err)
	}
	newer := func(string) string { return "8,9" }
	if _, err := wire.Listen(newer); err == nil || !strings.Contains(err.Error(), "8,9") {
		t.Errorf("error %v", err)
	}
}

// BenchmarkRun measures the overhead of the process boundary: a guest that does nothing runs in
// the plugin's own process.
func BenchmarkRun(b *testing.B) {
	x := open(b, "test", Config{})
	w := runtimetest.NewHarness(x)
	task := testTask(b, w, "ok")
	for b.Loop() {
		w.Run(b, task)
	}
}

// BenchmarkStart measures what the first run costs in addition: program start and handshake.
func BenchmarkStart(b *testing.B) {
	program := filepath.Join(programsIn(b, "test"), Prefix+"test")
	for b.Loop() {
		x := New("test", program, Config{})
		if _, err := x.Probe(b.Context()); err != nil {
			b.Fatal(err)
		}
		x.Close()
	}
}
