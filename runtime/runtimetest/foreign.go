package runtimetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/runtime"
)

// Foreign tests an executor of an engine other than WebAssembly, and the Outcomes of its
// guests. task returns the Task whose guest behaves as package guest says; its module is in
// h.Blocks. The tests share one executor, as the runs of a node do.
func Foreign(t *testing.T, x runtime.Executor, task func(t testing.TB, w *Harness, args ...string) job.Task) {
	for _, s := range []struct {
		name string
		test func(*foreign, *testing.T)
	}{
		{"ok", (*foreign).ok},
		{"exit", (*foreign).exit},
		{"copy", (*foreign).copy},
		{"input names", (*foreign).inputNames},
		{"stdin", (*foreign).stdin},
		{"words", (*foreign).words},
		{"print", (*foreign).print},
		{"print to a closed pipe", (*foreign).closedPipe},
		{"print is live", (*foreign).live},
		{"log limit", (*foreign).logLimit},
		{"output limit", (*foreign).outLimit},
		{"tmp limit", (*foreign).tmpLimit},
		{"limit of files", (*foreign).files},
		{"special file", (*foreign).special},
		{"timeout", (*foreign).timeout},
		{"cancel", (*foreign).cancel},
		{"cancelled before", (*foreign).cancelledBefore},
		{"missing input", (*foreign).missingInput},
		{"hostile inputs", (*foreign).hostileInputs},
		{"many at once", (*foreign).many},
		{"traits", (*foreign).traits},
	} {
		t.Run(s.name, func(t *testing.T) {
			s.test(&foreign{Harness: NewHarness(x), make: task}, t)
		})
	}
}

type foreign struct {
	*Harness
	make func(t testing.TB, w *Harness, args ...string) job.Task
}

func (f *foreign) task(t testing.TB, args ...string) job.Task { return f.make(t, f.Harness, args...) }

func (f *foreign) ok(t *testing.T) {
	o := f.Run(t, f.task(t, "ok")).Outcome
	want(t, o, job.OK, 0, f.EmptyDir(t))
	if o.Stdout.Defined() || o.Stderr.Defined() || o.Log != 0 {
		t.Errorf("outcome %+v", o)
	}
}

func (f *foreign) exit(t *testing.T) {
	for code, arg := range map[int]string{1: "1", 3: "3", 255: "255"} {
		want(t, f.Run(t, f.task(t, "exit", arg)).Outcome, job.Exit, code, f.EmptyDir(t))
	}
}

// tree adds a directory with a file, a folder and a symlink.
func (f *foreign) tree(t *testing.T, large []byte) cid.Cid {
	dir := t.TempDir()
	for name, b := range map[string][]byte{"large": large, "a/b/small": []byte("small"), "a/empty": nil} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("../../large", filepath.Join(dir, "a/b/link")); err != nil {
		t.Fatal(err)
	}
	e, err := dag.AddTree(t.Context(), &f.Blocks, os.DirFS(dir), ".", dag.TreeOptions{Profile: dag.UnixFSv1})
	if err != nil {
		t.Fatal(err)
	}
	return e.CID
}

func (f *foreign) copy(t *testing.T) {
	large := bytes.Repeat([]byte("0123456789abcdef\n"), 200_000) // several leaves
	tree := f.tree(t, large)
	task := f.task(t, "copy")
	task.In = []job.Input{{Name: "tree", CID: tree}}
	o := f.Run(t, task).Outcome
	want(t, o, job.OK, 0, cid.Undef)
	if got := f.At(t, o.Root, "tree"); got != tree {
		t.Errorf("the copy of %s is %s", tree, got)
	}
	if o.Size < 3_000_000/17 || o.Size > uint64(len(large))+8192 {
		t.Errorf("size %d", o.Size)
	}
}

func (f *foreign) inputNames(t *testing.T) {
	a, b := f.Add(t, []byte("a")), f.Add(t, []byte("b"))
	block := dag.NewBlock(cid.DagCBOR, []byte{0xa0})
	if err := f.Blocks.Put(t.Context(), block); err != nil {
		t.Fatal(err)
	}
	task := f.task(t, "copy")
	task.In = []job.Input{{Name: "größe", CID: a}, {CID: b}, {Name: "block", CID: block.CID()}}
	root := f.Run(t, task).Outcome.Root
	for name, content := range map[string]string{"größe": "a", "1": "b", "block": "\xa0"} {
		if got := f.File(t, f.At(t, root, name)); got != content {
			t.Errorf("input %s holds %q, want %q", name, got, content)
		}
	}
}

func (f *foreign) stdin(t *testing.T) {
	in := bytes.Repeat([]byte("stdin "), 100_000)
	task := f.task(t, "stdin")
	task.Stdin = f.Add(t, in)
	o := f.Run(t, task).Outcome
	if got := f.File(t, o.Stdout); got != string(in) {
		t.Errorf("stdin: got %d bytes, want %d (%s %d)", len(got), len(in), o.State, o.Code)
	}
	if o = f.Run(t, f.task(t, "stdin")).Outcome; o.State != job.OK || o.Stdout.Defined() {
		t.Errorf("without stdin: %+v", o)
	}
}

func (f *foreign) words(t *testing.T) {
	task := f.task(t, "words", "", "a b", "日本語", "-x")
	task.Env = map[string]string{"T_A": "", "T_B": "x=y z"}
	if got := f.File(t, f.Run(t, task).Outcome.Stdout); got != "\"\"\n\"a b\"\n\"日本語\"\n\"-x\"\n\"T_A=\"\n\"T_B=x=y z\"\n" {
		t.Errorf("the guest saw\n%s", got)
	}
}

func (f *foreign) print(t *testing.T) {
	var out, errs bytes.Buffer
	env := f.Env(t)
	env.Stdout, env.Stderr = &out, &errs
	res, err := f.Executor.Run(t.Context(), f.task(t, "print"), f.Limits, env)
	if err != nil {
		t.Fatal(err)
	}
	want(t, res.Outcome, job.Exit, 3, f.EmptyDir(t))
	if out.String() != "hello\n" || errs.String() != "oops\x00" {
		t.Errorf("live: stdout %q, stderr %q", &out, &errs)
	}
	if got := f.File(t, res.Outcome.Stdout) + f.File(t, res.Outcome.Stderr); got != "hello\noops\x00" || res.Outcome.Log != 11 {
		t.Errorf("stored %q, log %d", got, res.Outcome.Log)
	}
}

func (f *foreign) closedPipe(t *testing.T) {
	env := f.Env(t)
	env.Stdout, env.Stderr = io.Discard, closedPipe{}
	if _, err := f.Executor.Run(t.Context(), f.task(t, "lines"), f.Limits, env); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("error %v", err)
	}
}

func (f *foreign) live(t *testing.T) {
	cause := errors.New("seen enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	env := f.Env(t)
	env.Stderr = writerFunc(func(p []byte) (int, error) {
		cancel(cause)
		return len(p), nil
	})
	if _, err := f.Executor.Run(ctx, f.task(t, "lines"), f.Limits, env); !errors.Is(err, cause) {
		t.Errorf("error %v, want %v", err, cause)
	}
}

func (f *foreign) logLimit(t *testing.T) {
	f.Limits.Log = 12
	o := wantQuota(t, f.Harness, f.task(t, "lines"), job.QuotaLog)
	if got := f.File(t, o.Stderr); got != "line\nline\nli" || o.Log != 12 {
		t.Errorf("stderr %q, log %d", got, o.Log)
	}
}

func (f *foreign) outLimit(t *testing.T) {
	f.Limits.Out = 1 << 20
	wantQuota(t, f.Harness, f.task(t, "fill", "out"), job.QuotaOut)
}

func (f *foreign) tmpLimit(t *testing.T) {
	f.Limits.Tmp = 1 << 20
	wantQuota(t, f.Harness, f.task(t, "fill", "tmp"), job.QuotaTmp)
}

func (f *foreign) files(t *testing.T) {
	f.Limits.Out = 1 << 20
	wantQuota(t, f.Harness, f.task(t, "files"), job.QuotaOut)
}

// wantRefused runs task, which has to be refused as a fault of the Task.
func (f *foreign) wantRefused(t *testing.T, task job.Task, says string) {
	t.Helper()
	_, err := f.Executor.Run(t.Context(), task, f.Limits, f.Env(t))
	var refused *runtime.RefusedError
	if !errors.As(err, &refused) || !strings.Contains(refused.Reason, says) {
		t.Errorf("error %v, want a refusal that contains %q", err, says)
	}
}

func (f *foreign) special(t *testing.T) {
	f.wantRefused(t, f.task(t, "socket"), "neither a file nor a directory")
}

func (f *foreign) timeout(t *testing.T) {
	ctx, cancel := context.WithTimeoutCause(t.Context(), 500*time.Millisecond, runtime.ErrTimeout)
	defer cancel()
	begin := time.Now()
	_, err := f.Executor.Run(ctx, f.task(t, "spin"), f.Limits, f.Env(t))
	if !errors.Is(err, runtime.ErrTimeout) {
		t.Errorf("error %v, want %v", err, runtime.ErrTimeout)
	}
	if took := time.Since(begin); took > 20*time.Second {
		t.Errorf("a run of 500ms ended after %v", took)
	}
}

func (f *foreign) cancel(t *testing.T) {
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	env := f.Env(t)
	env.Stdout = writerFunc(func(p []byte) (int, error) { // it spins
		cancel(cause)
		return len(p), nil
	})
	if _, err := f.Executor.Run(ctx, f.task(t, "spin"), f.Limits, env); !errors.Is(err, cause) {
		t.Errorf("error %v, want %v", err, cause)
	}
}

func (f *foreign) cancelledBefore(t *testing.T) {
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	if _, err := f.Executor.Run(ctx, f.task(t, "ok"), f.Limits, f.Env(t)); !errors.Is(err, cause) {
		t.Errorf("error %v, want %v", err, cause)
	}
}

func (f *foreign) missingInput(t *testing.T) {
	in := f.Add(t, []byte("gone"))
	task := f.task(t, "copy")
	task.In = []job.Input{{CID: in}}
	f.Blocks.Delete(in)
	_, err := f.Executor.Run(t.Context(), task, f.Limits, f.Env(t))
	wantMissing(t, err, in)
}

// hostileInputs runs inputs that would lead out of their folder.
func (f *foreign) hostileInputs(t *testing.T) {
	for _, target := range []string{"/etc/passwd", "..", "../../x", "a/../../x", "./../x"} {
		link, err := dag.AddSymlink(t.Context(), &f.Blocks, target, dag.UnixFSv1)
		if err != nil {
			t.Fatal(err)
		}
		d := dag.NewDirWriter(&f.Blocks, dag.UnixFSv1)
		if err := d.Add("link", link); err != nil {
			t.Fatal(err)
		}
		dir, err := d.Finish(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		task := f.task(t, "copy")
		task.In = []job.Input{{Name: "in", CID: dir.CID}}
		f.wantRefused(t, task, "outside of its input")
	}
	task := f.task(t, "copy")
	task.In = []job.Input{{Name: "in", CID: dag.NewBlock(cid.DagProtobuf, []byte("\xff\xff")).CID()}}
	if err := f.Blocks.Put(t.Context(), dag.NewBlock(cid.DagProtobuf, []byte("\xff\xff"))); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Executor.Run(t.Context(), task, f.Limits, f.Env(t)); err != nil {
		var refused *runtime.RefusedError
		if !errors.As(err, &refused) {
			t.Errorf("task with a malformed dag-pb input: got error %v, want a *runtime.RefusedError", err)
		}
	}
}

// many runs guests concurrently: each gets its own answer.
func (f *foreign) many(t *testing.T) {
	var g sync.WaitGroup
	for i := range 8 {
		task := f.task(t, "words", strings.Repeat("x", i+1))
		env := f.Env(t)
		g.Go(func() {
			res, err := f.Executor.Run(t.Context(), task, f.Limits, env)
			if err != nil {
				t.Errorf("run %d: %v", i, err)
				return
			}
			if want := uint64(i + 4); res.Outcome.Log != want {
				t.Errorf("run %d printed %d bytes, want %d", i, res.Outcome.Log, want)
			}
		})
	}
	g.Wait()
}

func (f *foreign) traits(t *testing.T) {
	tr := f.Executor.Traits()
	if tr.Engine == "" || tr.Version == "" || len(tr.ABIs) == 0 || tr.Deterministic {
		t.Errorf("traits %+v", tr)
	}
	if err := f.Executor.Check(t.Context(), f.task(t, "ok"), f.Limits, f.Env(t)); err != nil {
		t.Errorf("check: %v", err)
	}
	task := f.task(t, "ok")
	task.ABI = "x_no_such_engine"
	f.wantRefused(t, task, "does not run abi")
}
