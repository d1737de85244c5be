package wasi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/sys"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/runtime"
)

// The programs that the tests run, built once.
var (
	host    wazero.Runtime
	goGuest wazero.CompiledModule
	cGuest  wazero.CompiledModule // nil without a C compiler for WASI
)

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (int, error) {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "wasi-guests")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	host = wazero.NewRuntime(ctx)
	defer host.Close(ctx)
	if err := Instantiate(ctx, host); err != nil {
		return 0, err
	}
	build := exec.Command("go", "build", "-o", dir+"/go.wasm", "./testdata/guest")
	build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
	if goGuest, err = compile(ctx, build, dir+"/go.wasm"); err != nil {
		return 0, err
	}
	if clang, err := exec.LookPath("clang"); err == nil {
		// A clang without WASI does not count: its tests are skipped.
		cc := exec.Command(clang, "--target=wasm32-wasi", "--sysroot=/usr", "-O1", "-o", dir+"/c.wasm", "testdata/guest.c")
		if cGuest, err = compile(ctx, cc, dir+"/c.wasm"); err != nil {
			fmt.Fprintln(os.Stderr, "no C guest:", err)
		}
	}
	return m.Run(), nil
}

func compile(ctx context.Context, build *exec.Cmd, file string) (wazero.CompiledModule, error) {
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", build, err, out)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return host.CompileModule(ctx, b)
}

// outcome is the result of a guest.
type outcome struct {
	stdout, stderr string
	exit           int
	err            error // the error that ended the run
	s              *System
	out            string // the root of /out
}

// runGuest runs a program like an executor.
func runGuest(t *testing.T, guest wazero.CompiledModule, cfg Config, args ...string) outcome {
	t.Helper()
	return runGuestContext(context.Background(), t, guest, cfg, args...)
}

func runGuestContext(ctx context.Context, t *testing.T, guest wazero.CompiledModule, cfg Config, args ...string) outcome {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if cfg.Stdout == nil {
		cfg.Stdout = &stdout
	}
	cfg.Stderr = &stderr
	cfg.Args = append([]string{"guest"}, args...)
	c := newCaller(t, cfg)
	ctx = c.s.Context(ctx)
	mod, err := host.InstantiateModule(ctx, guest, wazero.NewModuleConfig().WithName(""))
	o := outcome{stdout: stdout.String(), stderr: stderr.String(), s: c.s}
	var exit *sys.ExitError
	switch {
	case errors.As(err, &exit):
		o.exit = int(exit.ExitCode())
	case err != nil:
		o.err = err
		return o
	}
	if mod != nil {
		_ = mod.Close(ctx)
	}
	e, err := c.s.FinishOut(ctx, &dag.MemBlocks{})
	if err != nil {
		t.Fatal(err)
	}
	o.out = e.CID.String()
	return o
}

// passes runs a trial of the Go program that must exit with 0.
func passes(t *testing.T, cfg Config, args ...string) outcome {
	t.Helper()
	o := runGuest(t, goGuest, cfg, args...)
	if o.err != nil || o.exit != 0 {
		t.Fatalf("%v: exit %d, %v\n%s%s", args, o.exit, o.err, o.stdout, o.stderr)
	}
	return o
}

// testInputs returns a set of inputs: a file, a tree, a large directory, a file of several
// leaves and one without a name.
func testInputs(t *testing.T) (Config, *dag.MemBlocks) {
	t.Helper()
	bs := &dag.MemBlocks{}
	tree := dirOf(t, bs, map[string]dag.Entry{
		"sub": dirOf(t, bs, map[string]dag.Entry{
			"leaf": fileOf(t, bs, "leaf"),
			"up":   linkOf(t, bs, "../sub/leaf"),
		}),
		"out": linkOf(t, bs, "../text"),
		"abs": linkOf(t, bs, "/in/text"),
	})
	big := map[string]dag.Entry{}
	for i := range 10_000 {
		name := fmt.Sprintf("f%04d", i)
		big[name] = fileOf(t, bs, "body of "+name)
	}
	return Config{
		Blocks: bs,
		Inputs: []job.Input{
			{Name: "text", CID: fileOf(t, bs, "some text").CID},
			{Name: "tree", CID: tree.CID},
			{Name: "big", CID: dirOf(t, bs, big).CID},
			{Name: "long", CID: fileOf(t, bs, longText).CID},
			{CID: fileOf(t, bs, "by index").CID},
		},
	}, bs
}

// longText has several leaves.
var longText = strings.Repeat("0123456789abcdef", 200_000)

func fileOf(t *testing.T, bs dag.Blocks, content string) dag.Entry {
	t.Helper()
	e, err := dag.AddFile(context.Background(), bs, strings.NewReader(content), dag.UnixFSv1)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func linkOf(t *testing.T, bs dag.Blocks, target string) dag.Entry {
	t.Helper()
	e, err := dag.AddSymlink(context.Background(), bs, target, dag.UnixFSv1)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func dirOf(t *testing.T, bs dag.Blocks, entries map[string]dag.Entry) dag.Entry {
	t.Helper()
	w := dag.NewDirWriter(bs, dag.UnixFSv1)
	for name, e := range entries {
		if err := w.Add(name, e); err != nil {
			t.Fatal(err)
		}
	}
	e, err := w.Finish(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestGoProgram(t *testing.T) {
	cfg, _ := testInputs(t)
	for _, trial := range []string{"files", "dirs", "links", "many", "deep", "escape"} {
		t.Run(trial, func(t *testing.T) {
			a := passes(t, cfg, trial)
			if b := passes(t, cfg, trial); a.out != b.out || a.s.TmpPeak() != b.s.TmpPeak() {
				t.Errorf("second run: got %s, want %s as in the first", b.out, a.out)
			}
		})
	}
}

func TestWordsAndExit(t *testing.T) {
	o := passes(t, Config{Env: []string{"A=b=c", "EMPTY="}}, "words", "x y", "")
	if want := `["x y" ""] ["A=b=c" "EMPTY="]` + "\n"; o.stdout != want || o.stderr != "to stderr\n" {
		t.Errorf("%q and %q, want %q", o.stdout, o.stderr, want)
	}
	if o := runGuest(t, goGuest, Config{}, "exit"); o.exit != 7 || o.err != nil {
		t.Errorf("exit %d, %v", o.exit, o.err)
	}
}

func TestStdin(t *testing.T) {
	cfg, bs := testInputs(t)
	if o := passes(t, cfg, "stdin"); o.stdout != "0\n" {
		t.Errorf("empty stdin: got %q", o.stdout)
	}
	cfg.Stdin = fileOf(t, bs, longText).CID
	if o := passes(t, cfg, "stdin"); o.stdout != longText+fmt.Sprintf("%d\n", len(longText)) {
		t.Errorf("wrong stdin: %d bytes", len(o.stdout))
	}
	cfg.Stdin = cfg.Inputs[1].CID
	var refused *runtime.RefusedError
	if _, err := New(context.Background(), cfg); !errors.As(err, &refused) {
		t.Errorf("directory as stdin: %v", err)
	}
	missing := dag.NewBlock(cid.Raw, []byte("not put")).CID()
	var absent *dag.NotFoundError
	if _, err := New(context.Background(), Config{Blocks: bs, Stdin: missing}); !errors.As(err, &absent) {
		t.Errorf("missing stdin: %v", err)
	}
}

func TestClock(t *testing.T) {
	o := passes(t, Config{}, "clock")
	if want := "2020-01-01T00:00:00Z\n2020-01-02T01:10:00Z\n"; o.stdout != want {
		t.Errorf("clock: got %q, want %q", o.stdout, want)
	}
}

func TestRandomIsTheSeeds(t *testing.T) {
	a, b := passes(t, Config{}, "random"), passes(t, Config{}, "random")
	c := passes(t, Config{Seed: [32]byte{1}}, "random")
	if a.stdout != b.stdout {
		t.Errorf("same seed: got\n%s\nand\n%s", a.stdout, b.stdout)
	}
	if a.stdout == c.stdout {
		t.Error("different seeds give the same bytes")
	}
}

func TestTree(t *testing.T) {
	cfg, _ := testInputs(t)
	cfg.Inputs = slices.Delete(cfg.Inputs, 2, 3) // without the large directory
	o := passes(t, cfg, "tree")
	want := `/ d--------- d--------- 0
/in d--------- d--------- 0
/in/3 ---------- ---------- 8
/in/long ---------- ---------- 3200000
/in/text ---------- ---------- 9
/in/tree d--------- d--------- 0
/in/tree/abs L--------- L--------- 8
/in/tree/out L--------- L--------- 7
/in/tree/sub d--------- d--------- 0
/in/tree/sub/leaf ---------- ---------- 4
/in/tree/sub/up L--------- L--------- 11
/out d--------- d--------- 0
/tmp d--------- d--------- 0
`
	if o.stdout != want {
		t.Errorf("tree: got\n%s\nwant\n%s", o.stdout, want)
	}
	cfg.NoOut = true
	if o := passes(t, cfg, "tree"); strings.Contains(o.stdout, "\n/out") || !strings.Contains(o.stdout, "\n/tmp") {
		t.Errorf("without /out: got\n%s", o.stdout)
	}
}

func TestReadByRange(t *testing.T) {
	cfg, _ := testInputs(t)
	o := passes(t, cfg, "sum", "/in/long")
	lines := strings.Split(o.stdout, "\n")
	if lines[1] != fmt.Sprintf("%x %x", longText[1<<20-5:1<<20+5], longText[len(longText)-10:]) {
		t.Errorf("ranges: %s", lines[1])
	}
	if lines[0] != fmt.Sprintf("%x", sha256.Sum256([]byte(longText))) {
		t.Errorf("sha256 %s, want %s", lines[0], fmt.Sprintf("%x", sha256.Sum256([]byte(longText))))
	}
}

func TestLimitsEndTheRun(t *testing.T) {
	for _, x := range []struct {
		trial []string
		code  int
	}{
		{[]string{"sparse", "/out/f"}, job.QuotaOut},
		{[]string{"sparse", "/tmp/f"}, job.QuotaTmp},
		{[]string{"fill"}, job.QuotaOut},
		{[]string{"inodes"}, job.QuotaOut},
	} {
		t.Run(strings.Join(x.trial, " "), func(t *testing.T) {
			o := runGuest(t, goGuest, Config{OutLimit: 8 << 20, TmpLimit: 8 << 20}, x.trial...)
			var quota *runtime.QuotaError
			if !errors.As(o.err, &quota) || quota.Code != x.code {
				t.Fatalf("%v, exit %d, %s", o.err, o.exit, o.stdout)
			}
			files, err := filepath.Glob(o.s.cfg.Scratch + "/*")
			if err != nil || len(files) > 1 {
				t.Errorf("scratch: got %v, %v", files, err)
			}
		})
	}
	if o := passes(t, Config{OutLimit: 1, TmpLimit: 8 << 20}, "tmp"); o.s.TmpPeak() != 1<<20+inodeCharge {
		t.Errorf("peak of /tmp: got %d", o.s.TmpPeak())
	}
}

func TestFlood(t *testing.T) {
	if o := passes(t, Config{}, "flood"); o.stdout != fmt.Sprintln(maxOpen-4) {
		t.Errorf("%s descriptors", o.stdout)
	}
}

func TestMissingBlockEndsTheRun(t *testing.T) {
	cfg, bs := testInputs(t)
	leaf := fileOf(t, bs, "some text").CID
	bs.Delete(leaf)
	o := runGuest(t, goGuest, cfg, "missing", "/in/text")
	var missing *dag.NotFoundError
	if !errors.As(o.err, &missing) || missing.CID != leaf {
		t.Fatalf("%v, exit %d: %s", o.err, o.exit, o.stdout)
	}
	if o := passes(t, cfg, "missing", "/in/tree/sub/leaf"); o.stdout != "" {
		t.Errorf("%s", o.stdout)
	}
}

type brokenPipe struct{}

var errPipe = errors.New("broken pipe")

func (brokenPipe) Write([]byte) (int, error) { return 0, errPipe }

func TestWriterEndsTheRun(t *testing.T) {
	if o := runGuest(t, goGuest, Config{Stdout: brokenPipe{}}, "words"); !errors.Is(o.err, errPipe) {
		t.Errorf("%v, exit %d", o.err, o.exit)
	}
}

func TestCancelEndsTheRun(t *testing.T) {
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(runtime.ErrTimeout)
	if o := runGuestContext(ctx, t, goGuest, Config{}, "words"); !errors.Is(o.err, runtime.ErrTimeout) {
		t.Errorf("%v, exit %d", o.err, o.exit)
	}
}

// counted counts the blocks that a run reads.
type counted struct {
	dag.Blocks
	gets map[cid.Cid]int
}

func (c *counted) Get(ctx context.Context, id cid.Cid) (dag.Block, error) {
	c.gets[id]++
	return c.Blocks.Get(ctx, id)
}

func TestInputsAreLazy(t *testing.T) {
	cfg, bs := testInputs(t)
	c := &counted{bs, map[cid.Cid]int{}}
	cfg.Blocks = c
	passes(t, cfg, "missing", "/in/big/f4711")
	if len(c.gets) > 4 {
		t.Errorf("reading one of 10,000 files: %d blocks", len(c.gets))
	}
	c.gets = map[cid.Cid]int{}
	passes(t, cfg, "words")
	if len(c.gets) != 0 {
		t.Errorf("reading nothing: %d blocks", len(c.gets))
	}
}

func TestCProgram(t *testing.T) {
	if cGuest == nil {
		t.Skip("no clang with a WASI C library (Debian: clang lld wasi-libc libclang-rt-14-dev-wasm32)")
	}
	cfg, _ := testInputs(t)
	o := runGuest(t, cGuest, cfg, "an argument")
	if o.err != nil || o.exit != 3 || o.stdout != "2 an argument\n" {
		t.Errorf("exit %d, %v\n%s", o.exit, o.err, o.stdout)
	}
}

// section returns a section of a module.
func section(id byte, body ...string) string {
	s := strings.Join(body, "")
	return string([]byte{id, byte(len(s))}) + s
}

// TestModuleWithoutMemory checks that a module without a memory gets EFAULT for every pointer,
// and that its run continues.
func TestModuleWithoutMemory(t *testing.T) {
	module := "\x00asm\x01\x00\x00\x00" +
		section(1, "\x02\x60\x02\x7f\x7f\x01\x7f\x60\x00\x00") +
		section(2, "\x01\x16", ModuleName, "\x0dclock_res_get", "\x00\x00") +
		section(3, "\x01\x01") +
		section(7, "\x01\x06_start\x00\x01") +
		// if clock_res_get(0, 0) != EFAULT { unreachable }
		section(10, "\x01\x0f\x00\x41\x00\x41\x00\x10\x00\x41\x15\x47\x04\x40\x00\x0b\x0b")
	guest, err := host.CompileModule(context.Background(), []byte(module))
	if err != nil {
		t.Fatal(err)
	}
	if o := runGuest(t, guest, Config{}); o.err != nil || o.exit != 0 {
		t.Errorf("exit %d, %v", o.exit, o.err)
	}
}

// TestGuestsSideBySide runs many guests on one runtime concurrently, each with its own System.
func TestGuestsSideBySide(t *testing.T) {
	for i := range 4 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			o := passes(t, Config{Env: []string{fmt.Sprint("I=", i)}}, "words")
			if want := fmt.Sprintf("[] [\"I=%d\"]\n", i); o.stdout != want {
				t.Errorf("%q, want %q", o.stdout, want)
			}
		})
	}
}
