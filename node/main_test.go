package node_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"go.uber.org/goleak"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node"
	"github.com/ipfs-liftoff/liftoff/node/api"
	"github.com/ipfs-liftoff/liftoff/runtime"
)

// TestMain is also the main function of the processes that the tests start: an actor does what its environment
// names.
func TestMain(m *testing.M) {
	if act := os.Getenv("NODE_TEST_ACT"); act != "" {
		if err := acts[act](os.Getenv("NODE_TEST_DIR")); err != nil {
			fmt.Printf("error %v\n", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// script is an Executor whose guests are Go functions, chosen by the Task's Fn. Like every Executor it keeps the
// printed output.
type script map[string]func(ctx context.Context, t job.Task, env runtime.Env) (runtime.Result, error)

func (s script) Traits() runtime.Traits {
	return runtime.Traits{Engine: "script", ABIs: []string{job.ABIWASI}, Deterministic: true}
}

func (s script) Check(context.Context, job.Task, job.Limits, runtime.Env) error { return nil }

func (s script) Run(ctx context.Context, t job.Task, _ job.Limits, env runtime.Env) (runtime.Result, error) {
	f, ok := s[t.Fn]
	if !ok {
		return runtime.Result{}, runtime.Refusef("no export %q", t.Fn)
	}
	out, errs := dag.NewFileWriter(ctx, env.Blocks, dag.UnixFSv1), dag.NewFileWriter(ctx, env.Blocks, dag.UnixFSv1)
	env.Stdout, env.Stderr = both(out, env.Stdout), both(errs, env.Stderr)
	r, err := f(ctx, t, env)
	if err != nil {
		return r, err
	}
	r.Outcome.Log = uint64(out.Size() + errs.Size())
	for _, stream := range []struct {
		w    *dag.FileWriter
		file *cid.Cid
	}{{out, &r.Outcome.Stdout}, {errs, &r.Outcome.Stderr}} {
		if stream.w.Size() == 0 {
			continue
		}
		e, err := stream.w.Finish()
		if err != nil {
			return r, err
		}
		*stream.file = e.CID
	}
	return r, nil
}

// both writes to a and, unless it is nil, to b.
func both(a, b io.Writer) io.Writer {
	if b == nil {
		return a
	}
	return io.MultiWriter(a, b)
}

// result puts content as the run's output and returns the Result of a successful run.
func result(ctx context.Context, t job.Task, env runtime.Env, content string) (runtime.Result, error) {
	b := dag.NewBlock(cid.Raw, []byte(content))
	if err := env.Blocks.Put(ctx, b); err != nil {
		return runtime.Result{}, err
	}
	c, err := t.CID()
	if err != nil {
		return runtime.Result{}, err
	}
	return runtime.Result{Outcome: job.Outcome{Task: c, State: job.OK, Root: b.CID(), Size: uint64(len(content))}}, nil
}

// guests are the scripts that tests and actors run.
var guests = script{
	"hello": func(ctx context.Context, t job.Task, env runtime.Env) (runtime.Result, error) {
		if env.Stdout != nil {
			if _, err := io.WriteString(env.Stdout, "hello\n"); err != nil {
				return runtime.Result{}, err
			}
		}
		if env.Stderr != nil {
			io.WriteString(env.Stderr, "to stderr\n")
		}
		if env.Progress != nil {
			env.Progress(1, 2)
		}
		return result(ctx, t, env, "hello")
	},
	"same": func(_ context.Context, t job.Task, _ runtime.Env) (runtime.Result, error) {
		c, err := t.CID()
		return runtime.Result{Outcome: job.Outcome{Task: c, State: job.OK, Root: t.In[0].CID}, Refs: []cid.Cid{t.In[0].CID}}, err
	},
	"lines": func(ctx context.Context, t job.Task, env runtime.Env) (runtime.Result, error) {
		for i := range 1_000_000 {
			if _, err := fmt.Fprintf(env.Stdout, "line %d\n", i); err != nil {
				return runtime.Result{}, err
			}
		}
		return result(ctx, t, env, "lines")
	},
	"wait": func(ctx context.Context, t job.Task, env runtime.Env) (runtime.Result, error) {
		if env.Stdout != nil {
			io.WriteString(env.Stdout, "waiting\n")
		}
		<-ctx.Done()
		return runtime.Result{}, context.Cause(ctx)
	},
	"read": func(ctx context.Context, t job.Task, env runtime.Env) (runtime.Result, error) {
		for _, in := range t.In {
			if _, err := readAll(ctx, env.Blocks, in.CID); err != nil {
				return runtime.Result{}, err
			}
		}
		if _, err := readAll(ctx, env.Blocks, t.Mod); err != nil {
			return runtime.Result{}, err
		}
		r, err := result(ctx, t, env, "read")
		if err == nil {
			_, err = env.Blocks.Get(ctx, r.Outcome.Root) // the run's own output is not counted
		}
		return r, err
	},
}

// readAll reads every block below c and returns how many there are.
func readAll(ctx context.Context, bs dag.Blocks, c cid.Cid) (int, error) {
	b, err := bs.Get(ctx, c)
	if err != nil {
		return 0, err
	}
	links, err := dag.Links(b)
	if err != nil {
		return 0, err
	}
	n := 1
	for _, l := range links {
		m, err := readAll(ctx, bs, l)
		if err != nil {
			return 0, err
		}
		n += m
	}
	return n, nil
}

func config(dir string) node.Config {
	return node.Config{Dir: dir, Executors: runtime.Executors{guests}}
}

// join joins dir and closes the session when the test ends.
func join(t testing.TB, dir string) *node.Session {
	t.Helper()
	s, err := node.Join(t.Context(), config(dir))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Abort() })
	return s
}

func put(t testing.TB, s *node.Session, data string) cid.Cid {
	t.Helper()
	b := dag.NewBlock(cid.Raw, []byte(data))
	if err := s.Blocks.Put(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	return b.CID()
}

func task(mod cid.Cid, fn string, in ...cid.Cid) job.Task {
	t := job.Task{ABI: job.ABIWASI, Mod: mod, Fn: fn, Det: job.Det2, Out: job.OutProfile}
	for _, c := range in {
		t.In = append(t.In, job.Input{CID: c})
	}
	return t
}

func codeOf(err error) api.Code {
	var e *api.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// acts are the programs of an actor. Each prints lines that the test waits for.
var acts = map[string]func(dir string) error{
	// join, print whether it owns the repo, stay until stdin ends, close
	"stay": func(dir string) error {
		s, err := node.Join(context.Background(), config(dir))
		if err != nil {
			return err
		}
		fmt.Println("joined", s.Owner)
		io.Copy(io.Discard, os.Stdin)
		if err := s.Close(); err != nil {
			return err
		}
		fmt.Println("left")
		return nil
	},
	// join, put a block, close; repeatedly
	"rejoin": func(dir string) error {
		for i := range 25 {
			s, err := node.Join(context.Background(), config(dir))
			if err != nil {
				return err
			}
			b := dag.NewBlock(cid.Raw, fmt.Appendf(nil, "%d %d", os.Getpid(), i))
			if err := s.Blocks.Put(context.Background(), b); err != nil {
				return fmt.Errorf("round %d, owner %v: %w", i, s.Owner, err)
			}
			if has, err := s.Data.Has(context.Background(), b.CID()); err != nil || !has {
				return fmt.Errorf("round %d: has %v, %w", i, has, err)
			}
			if err := s.Close(); err != nil {
				return err
			}
			fmt.Println("put", b.CID())
		}
		return nil
	},
	// join, put and pin until that fails
	"work": func(dir string) error {
		s, err := node.Join(context.Background(), config(dir))
		if err != nil {
			return err
		}
		fmt.Println("joined", s.Owner)
		for i := 0; ; i++ {
			b := dag.NewBlock(cid.Raw, fmt.Appendf(nil, "%d %d", os.Getpid(), i))
			if err := s.Blocks.Put(context.Background(), b); err != nil {
				return fmt.Errorf("%v: %w", codeOf(err), err)
			}
			err := s.Pins.Pin(context.Background(), api.Pin{
				Name: b.CID().String(), Roots: []api.Root{{CID: b.CID()}},
			})
			if err != nil {
				return fmt.Errorf("%v: %w", codeOf(err), err)
			}
			fmt.Println("pinned", b.CID())
		}
	},
	// as an unprivileged user: join, read the block that stdin names, try to run
	"read": func(dir string) error {
		if os.Geteuid() == 0 {
			if err := errors.Join(syscall.Setgid(65534), syscall.Setuid(65534)); err != nil {
				return err
			}
		}
		s, err := node.Join(context.Background(), config(dir))
		if err != nil {
			return err
		}
		defer s.Close()
		fmt.Println("joined", s.Owner)
		var name string
		if _, err := fmt.Scanln(&name); err != nil {
			return err
		}
		c, err := cid.Decode(name)
		if err != nil {
			return err
		}
		b, err := s.Blocks.Get(context.Background(), c)
		if err != nil {
			return err
		}
		fmt.Printf("got %s\n", b.Data())
		_, err = s.Jobs.Run(context.Background(), api.Request{Task: task(c, "hello")}, api.Watch{})
		return fmt.Errorf("%v: %w", codeOf(err), err)
	},
	// join and run more guests than there are processors, in loops without a host call
	"spin": func(dir string) error {
		s, err := node.Join(context.Background(), node.Config{Dir: dir})
		if err != nil {
			return err
		}
		mod := dag.NewBlock(cid.Raw, []byte("\x00asm\x01\x00\x00\x00"+
			"\x01\x04\x01\x60\x00\x00"+ // type () -> ()
			"\x03\x02\x01\x00"+
			"\x05\x03\x01\x00\x01"+
			"\x07\x13\x02\x06memory\x02\x00\x06_start\x00\x00"+
			"\x0a\x09\x01\x07\x00\x03\x40\x0c\x00\x0b\x0b")) // loop br 0 end
		if err := s.Blocks.Put(context.Background(), mod); err != nil {
			return err
		}
		fmt.Println("joined", s.Owner)
		ended := make(chan error)
		for range goruntime.GOMAXPROCS(0) + 1 {
			go func() {
				_, err := s.Jobs.Run(context.Background(), api.Request{Task: task(mod.CID(), "_start")}, api.Watch{})
				ended <- err
			}()
		}
		return <-ended
	},
	// join and run a guest that never ends
	"run": func(dir string) error {
		s, err := node.Join(context.Background(), config(dir))
		if err != nil {
			return err
		}
		mod := dag.NewBlock(cid.Raw, []byte("mod"))
		if err := s.Blocks.Put(context.Background(), mod); err != nil {
			return err
		}
		fmt.Println("joined", s.Owner)
		_, err = s.Jobs.Run(context.Background(), api.Request{Task: task(mod.CID(), "wait")}, api.Watch{Stdout: os.Stdout})
		return fmt.Errorf("%v: %w", codeOf(err), err)
	},
}

// actor is another process.
type actor struct {
	*exec.Cmd
	in    io.WriteCloser
	lines *bufio.Scanner
}

// start starts a process that does act in dir. It is killed when the test ends.
func start(t testing.TB, act, dir string) *actor {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	a := &actor{Cmd: exec.Command(exe)}
	a.Env = append(os.Environ(), "NODE_TEST_ACT="+act, "NODE_TEST_DIR="+dir)
	a.Stderr = os.Stderr
	if a.in, err = a.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := a.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	a.lines = bufio.NewScanner(out)
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		a.Process.Kill()
		a.Wait()
	})
	return a
}

// line returns the next line that the process prints, "" at the end.
func (a *actor) line() string {
	if a.lines.Scan() {
		return a.lines.Text()
	}
	return ""
}

// want reads the next line and checks it.
func (a *actor) want(t testing.TB, want string) {
	t.Helper()
	if got := a.line(); got != want {
		t.Fatalf("process %d printed %q, want %q", a.Process.Pid, got, want)
	}
}

// eventually waits until ok is true.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("timed out waiting for: %s", what)
		}
	}
}

func exists(path ...string) bool {
	_, err := os.Lstat(filepath.Join(path...))
	return err == nil
}

func contains(t testing.TB, s string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(s, p) {
			t.Errorf("got %q, want it to contain %q", s, p)
		}
	}
}
