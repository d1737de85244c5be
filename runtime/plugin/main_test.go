package plugin

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/runtime/plugin/wire"
	"github.com/ipfs-liftoff/liftoff/runtime/runtimetest"
	"github.com/ipfs-liftoff/liftoff/runtime/runtimetest/guest"
)

// TestMain is also the program of every plugin in these tests: the name under which it is
// started selects its behaviour.
func TestMain(m *testing.M) {
	if name, ok := strings.CutPrefix(filepath.Base(os.Args[0]), Prefix); ok {
		os.Exit(programs[name](name))
	}
	os.Exit(m.Run())
}

// programs are the plugins, by name: working and broken ones.
var programs = map[string]func(name string) int{
	"test":    func(name string) int { return serve(testEngine{name: name}) },
	"other":   func(name string) int { return serve(testEngine{name: "test"}) }, // reports another name
	"greedy":  func(name string) int { return serve(testEngine{name: name, abis: []string{"wasi_p1"}}) },
	"idle":    func(name string) int { return serve(testEngine{name: name, abis: []string{}}) },
	"old":     func(name string) int { return serve(testEngine{name: name, protocol: 9}) },
	"ailing":  func(name string) int { return serve(testEngine{name: name, problem: "the engine is \x1b[31moff"}) },
	"silent":  func(string) int { time.Sleep(time.Hour); return 0 },
	"fails":   func(string) int { fmt.Fprintln(os.Stderr, "no such engine"); return 4 },
	"exits":   func(string) int { return 0 },
	"hostile": hostile,
}

func serve(e wire.Engine) int {
	l, err := wire.Listen(os.Getenv)
	if err == nil {
		err = wire.Serve(context.Background(), l, os.Stdin, e)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// testEngine runs the guests of the suite in the plugin's process, and ends the process on
// "die".
type testEngine struct {
	name     string
	protocol int
	abis     []string
	problem  string
}

const testABI = "x_test"

func (e testEngine) Traits(context.Context) wire.Traits {
	t := wire.Traits{Protocol: wire.Version, Engine: e.name, Version: "test 1", ABIs: []string{testABI}, Problem: e.problem}
	if e.protocol != 0 {
		t.Protocol = e.protocol
	}
	if e.abis != nil {
		t.ABIs = e.abis
	}
	return t
}

func (e testEngine) Check(_ context.Context, t wire.Task) (bool, error) {
	if len(t.Args) > 0 && t.Args[0] == "refuse" {
		return false, wire.Refusef("not for me")
	}
	return true, nil
}

func (e testEngine) Resolve(_ context.Context, ref string) (d [32]byte, err error) {
	if ref != "good" {
		return d, wire.Refusef("unknown reference %q", ref)
	}
	copy(d[:], ref)
	return d, nil
}

func (e testEngine) Run(ctx context.Context, r wire.Run, s *wire.Stream) (wire.End, error) {
	switch r.Task.Args[0] {
	case "die":
		fmt.Fprintln(os.Stderr, "out of luck")
		os.Exit(7)
	case "error":
		return wire.End{}, fmt.Errorf("the engine is broken")
	case "refuse later":
		return wire.End{}, wire.Refusef("not for me after all")
	case "hang": // ignores ctx
		s.Stdout().Write([]byte("hanging\n"))
		time.Sleep(time.Hour)
	case "limits":
		fmt.Fprintf(s.Stdout(), "%+v network %v", r.Limits, r.Network)
		return wire.End{}, nil
	case "progress":
		return wire.End{}, s.Progress(1, 2)
	case "module":
		b, err := os.ReadFile(filepath.Join(r.Dir, "module"))
		if err != nil {
			b = r.Task.Module.Block
		}
		_, err = s.Stdout().Write(b)
		return wire.End{}, err
	case "out of fuel":
		return wire.End{Limit: wire.LimitFuel}, nil
	case "out of memory":
		return wire.End{Limit: wire.LimitMemory}, nil
	case "usage":
		return wire.End{Fuel: 1 << 60, Memory: 1 << 60, Prepare: 1 << 60}, nil
	}
	var stdin *os.File
	if r.Task.Stdin {
		f, err := os.Open(filepath.Join(r.Dir, "stdin"))
		if err != nil {
			return wire.End{}, err
		}
		defer f.Close()
		stdin = f
	}
	var env []string
	for k, v := range r.Task.Env {
		env = append(env, k+"="+v)
	}
	w := guest.Env{Root: r.Dir, Args: r.Task.Args, Env: env, Stdout: s.Stdout(), Stderr: s.Stderr(), Stdin: strings.NewReader("")}
	if stdin != nil {
		w.Stdin = stdin
	}
	return wire.End{Exit: guest.Act(ctx, w), Fuel: 1, Memory: 1}, nil
}

// programsIn returns a folder of plugins, each a link to this program.
func programsIn(t testing.TB, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if err := os.Symlink(self, filepath.Join(dir, Prefix+name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// open returns the executor of one of programs.
func open(t testing.TB, name string, cfg Config) *Executor {
	t.Helper()
	x := New(name, filepath.Join(programsIn(t, name), Prefix+name), cfg)
	t.Cleanup(func() { x.Close() })
	return x
}

// testTask returns a Task of testABI.
func testTask(t testing.TB, w *runtimetest.Harness, args ...string) job.Task {
	return job.Task{
		ABI: testABI, Mod: w.Add(t, []byte("the module")), Fn: job.FnRun, Args: args,
		Det: job.DetNone, Nonce: []byte("nonce"), Out: job.OutProfile,
	}
}
