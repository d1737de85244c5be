package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ipfs-liftoff/liftoff/runtime/docker/dockertest"
)

// The programs that TestMain builds, once for all tests.
var (
	liftoff    string // the binary
	upperWasm  string // a WASI guest: stdin in upper case to stdout
	spinWasm   string // a WASI guest: prints "spinning", then spins
	copyWasm   string // a WASI guest: copies /in/0 to /out/copy
	workWasm   string // a WASI guest: counts for a while, prints the count
	hashWasm   string // a WASI guest: reads /in/0 from beginning to end
	sparseWasm string // a WASI guest: reads parts of /in/0
)

func TestMain(m *testing.M) {
	if token := os.Getenv(rogueVar); token != "" {
		fmt.Fprintln(os.Stderr, serveRogue(token))
		os.Exit(1)
	}
	code := build(m)
	dockertest.StopShared()
	os.Exit(code)
}

func build(m *testing.M) int {
	dir, err := os.MkdirTemp("", "liftoff-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	liftoff = filepath.Join(dir, "liftoff")
	if err := gobuild(liftoff, nil, "../../cmd/liftoff"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for name, out := range map[string]*string{"upper": &upperWasm, "spin": &spinWasm, "copy": &copyWasm, "work": &workWasm, "hash": &hashWasm, "sparse": &sparseWasm} {
		*out = filepath.Join(dir, name+".wasm")
		if err := gobuild(*out, []string{"GOOS=wasip1", "GOARCH=wasm"}, "./testdata/"+name); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return m.Run()
}

func gobuild(out string, env []string, pkg string) error {
	cmd := exec.Command("go", "build", "-o", out, pkg)
	cmd.Env = append(os.Environ(), env...)
	if b, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w\n%s", pkg, err, b)
	}
	return nil
}

// repo is a repo of one test, and the commands that run on it.
type repo struct {
	t   testing.TB
	dir string
}

func newRepo(t testing.TB) repo {
	t.Helper()
	return repo{t, filepath.Join(t.TempDir(), "repo")}
}

func (r repo) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, liftoff, args...)
	cmd.Env = append(os.Environ(), "LIFTOFF_PATH="+r.dir)
	return cmd
}

// result is the output of a command and how it ended.
type result struct {
	stdout, stderr string
	code           int
}

// try runs a command to its end, for at most two minutes.
func (r repo) try(stdin io.Reader, args ...string) result {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := r.command(ctx, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &stdout, &stderr
	err := cmd.Run()
	if ctx.Err() != nil {
		r.t.Fatalf("liftoff %s: timeout\n%s", strings.Join(args, " "), &stderr)
	}
	if err != nil && cmd.ProcessState == nil {
		r.t.Fatal(err)
	}
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// run runs a command that has to succeed and returns its stdout, without the last newline.
func (r repo) run(args ...string) string {
	r.t.Helper()
	got := r.try(nil, args...)
	if got.code != 0 {
		r.t.Fatalf("liftoff %s: exit code %d\n%s", strings.Join(args, " "), got.code, got.stderr)
	}
	return strings.TrimSuffix(got.stdout, "\n")
}

// complete returns an error unless the whole DAG below root can be read and hashed.
func (r repo) complete(root string) error {
	cmd := r.command(context.Background(), "car", "export", root)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("export %s: %w\n%s", root, err, &stderr)
	}
	return nil
}

// verify fails the test if a block of the repo does not match its CID.
func (r repo) verify() {
	r.t.Helper()
	if got := r.try(nil, "store", "check"); got.code != 0 {
		r.t.Fatalf("store check: exit code %d\n%s%s", got.code, got.stdout, got.stderr)
	}
}

// tree creates a folder of n files of up to max bytes, with content from seed.
func tree(t testing.TB, seed uint64, n, max int) string {
	t.Helper()
	dir := t.TempDir()
	rng := rand.New(rand.NewPCG(seed, 1))
	for i := range n {
		sub := filepath.Join(dir, fmt.Sprint(i%7))
		if err := os.MkdirAll(sub, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(sub, fmt.Sprint(i)), noise(rng, rng.IntN(max+1)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func noise(rng *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := 0; i < n; i += 8 {
		v := rng.Uint64()
		for j := i; j < min(i+8, n); j++ {
			b[j] = byte(v)
			v >>= 8
		}
	}
	return b
}

// exitCode returns the exit code of a command that has been waited for.
func exitCode(t testing.TB, err error) int {
	t.Helper()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	t.Fatal(err)
	return -1
}
