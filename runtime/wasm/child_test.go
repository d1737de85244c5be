package wasm

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/runtime"
	"github.com/ipfs-liftoff/liftoff/runtime/runtimetest"
)

// wrongChildren are children that fail, each in its own way.
var wrongChildren = map[string]func() int{
	"exit 3":  func() int { fmt.Fprintln(os.Stderr, "no such command"); return 3 },
	"garbage": func() int { io.Copy(io.Discard, os.Stdin); fmt.Println("hello"); return 0 },
	"panic":   func() int { io.Copy(io.Discard, os.Stdin); panic("nil map in the compiler") },
	"killed":  func() int { syscall.Kill(os.Getpid(), syscall.SIGKILL); select {} },
	"hang":    func() int { time.Sleep(time.Minute); return 0 },
	"memory": func() int {
		limited(256<<20, 60)
		var all [][]byte
		for len(all) < 1<<20 {
			all = append(all, bytes.Repeat([]byte{1}, 1<<20))
		}
		return len(all)
	},
	"spin": func() int {
		limited(1<<30, 1)
		n := 0
		for time.Now().Year() > 0 {
			n++
		}
		return n
	},
	// It writes another file in place of a compiled module.
	"forge": func() int {
		req := limited(1<<30, 60)
		os.MkdirAll(filepath.Join(req.Dir, req.Layout), 0o700)
		os.WriteFile(filepath.Join(req.Dir, req.Layout, strings.Repeat("ab", 32)), []byte("native code"), 0o600)
		json.NewEncoder(os.Stdout).Encode(childReport{Done: true})
		return 0
	},
	"no file": func() int {
		limited(1<<30, 60)
		json.NewEncoder(os.Stdout).Encode(childReport{Done: true})
		return 0
	},
}

// limited reads the request and the module, and sets the limits.
func limited(memory, seconds int64) (req childRequest) {
	r := bufio.NewReader(os.Stdin)
	head, _ := r.ReadSlice('\n')
	if err := json.Unmarshal(head, &req); err != nil {
		panic(err)
	}
	io.Copy(io.Discard, r)
	if err := setLimits(memory, seconds); err != nil {
		panic(err)
	}
	return req
}

// openApart returns a Harness with an Executor whose compiler behaves as how says.
func openApart(t *testing.T, dir, how string) *runtimetest.Harness {
	t.Helper()
	return runtimetest.NewHarness(open(t, Config{CacheDir: dir, Compiler: testCompiler(how)}))
}

func check(t *testing.T, ctx context.Context, w *runtimetest.Harness, module []byte, trusted bool) error {
	t.Helper()
	env := w.Env(t)
	env.Trusted = trusted
	return w.Executor.Check(ctx, w.Task(t, module), w.Limits, env)
}

func TestCompileApart(t *testing.T) {
	dir := t.TempDir() + "/cache"
	w := openApart(t, dir, "right")
	if o := w.Run(t, w.Task(t, runtimetest.Module("ok"))).Outcome; o.State != job.OK {
		t.Fatalf("outcome %+v", o)
	}
	// The second Executor loads the first one's file, without a child, which would fail.
	if err := check(t, t.Context(), openApart(t, dir, "exit 3"), runtimetest.Module("ok"), false); err != nil {
		t.Errorf("module in the cache: %v", err)
	}
	// The child validates the module, too.
	for name, code := range map[string][]byte{"stack underflow": {0x6a}, "wrong type": {0x42, 0}} {
		wantRefused(t, check(t, t.Context(), w, guest(code...).bytes(), false), "not a valid module")
		_ = name
	}
}

// TestTrustedIsCompiledHere compiles a trusted module with a compiler command that fails.
func TestTrustedIsCompiledHere(t *testing.T) {
	w := openApart(t, t.TempDir()+"/cache", "exit 3")
	if err := check(t, t.Context(), w, runtimetest.Module("ok"), true); err != nil {
		t.Error(err)
	}
}

// TestNoCacheNoUntrusted has no folder for the output of a child.
func TestNoCacheNoUntrusted(t *testing.T) {
	w := openApart(t, "", "right")
	if err := check(t, t.Context(), w, runtimetest.Module("ok"), false); !errors.Is(err, errNoStage) {
		t.Errorf("error %v", err)
	}
	if err := check(t, t.Context(), w, runtimetest.Module("ok"), true); err != nil {
		t.Errorf("trusted module: %v", err)
	}
}

func TestWrongChildren(t *testing.T) {
	for _, c := range []struct {
		how     string
		refused bool
		says    string
	}{
		{"panic", true, "wazero crashed while it compiled the module: panic: nil map"},
		{"memory", true, "module refused"}, // Go's message depends on where it reaches the limit
		{"exit 3", false, "exit status 3: no such command"},
		{"garbage", false, "report of compiler process"},
		{"killed", false, "signal: killed"},
		{"forge", false, errMiss.Error()},
		{"no file", false, errMiss.Error()},
	} {
		t.Run(c.how, func(t *testing.T) {
			if underRace && c.how == "memory" {
				t.Skip("SKIPPED: under the race detector memory is not limited")
			}
			w := openApart(t, t.TempDir()+"/cache", c.how)
			err := check(t, t.Context(), w, runtimetest.Module("ok"), false)
			var refused *runtime.RefusedError
			if err == nil || errors.As(err, &refused) != c.refused || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %v, want one that contains %q, a refusal: %v", err, c.says, c.refused)
			}
		})
	}
}

// TestChildIsCancelled cancels a compilation that would take a minute.
func TestChildIsCancelled(t *testing.T) {
	w := openApart(t, t.TempDir()+"/cache", "hang")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 200*time.Millisecond, runtime.ErrTimeout)
	defer cancel()
	start := time.Now()
	if err := check(t, ctx, w, runtimetest.Module("ok"), false); !errors.Is(err, runtime.ErrTimeout) {
		t.Errorf("error %v", err)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("cancelling took %v", took)
	}
}

// TestProcessorLimit has the system kill a child that spins. The child sets its own limit to
// one second; the test passes the same limit to classifyEnd.
func TestProcessorLimit(t *testing.T) {
	e := open(t, Config{CacheDir: t.TempDir() + "/cache", Compiler: testCompiler("spin")})
	if _, err := e.engine.runtime(t.Context()); err != nil {
		t.Fatal(err)
	}
	err := e.engine.ask(t.Context(), childRequest{Seconds: 1, Memory: 1 << 30}, nil, time.Minute)
	wantRefused(t, err, "more than 1s of processor time")
	err = e.engine.ask(t.Context(), childRequest{Seconds: 60, Memory: 1 << 30}, nil, 100*time.Millisecond)
	var refused *runtime.RefusedError
	if err == nil || errors.As(err, &refused) || !strings.Contains(err.Error(), "not done after 100ms") {
		t.Errorf("past its deadline: %v", err)
	}
}

// TestTwoCompileTheSame shares a cache between two Executors, each with its own children.
func TestTwoCompileTheSame(t *testing.T) {
	dir := t.TempDir() + "/cache"
	harnesses := []*runtimetest.Harness{openApart(t, dir, "right"), openApart(t, dir, "right")}
	var all sync.WaitGroup
	for _, name := range []string{"ok", "copy", "print"} {
		for _, w := range harnesses {
			task := w.Task(t, runtimetest.Module(name))
			if name == "print" {
				task.ABI, task.Fn = job.ABIWASI, "_start"
			}
			env := w.Env(t)
			all.Go(func() {
				if err := w.Executor.Check(t.Context(), task, w.Limits, env); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			})
		}
	}
	all.Wait()
}
