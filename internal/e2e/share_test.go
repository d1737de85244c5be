package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// pipe runs `liftoff a… | liftoff b…` and returns b's stdout.
func (r repo) pipe(a, b []string) string {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	first, second := r.command(ctx, a...), r.command(ctx, b...)
	var errs [2]bytes.Buffer
	var out bytes.Buffer
	pr, pw, err := os.Pipe()
	if err != nil {
		r.t.Fatal(err)
	}
	first.Stdout, first.Stderr = pw, &errs[0]
	second.Stdin, second.Stdout, second.Stderr = pr, &out, &errs[1]
	if err := first.Start(); err != nil {
		r.t.Fatal(err)
	}
	if err := second.Start(); err != nil {
		r.t.Fatal(err)
	}
	pw.Close()
	pr.Close()
	if err := first.Wait(); err != nil {
		r.t.Fatalf("liftoff %s: %v\n%s", strings.Join(a, " "), err, &errs[0])
	}
	if err := second.Wait(); err != nil {
		r.t.Fatalf("liftoff %s: %v\n%s", strings.Join(b, " "), err, &errs[1])
	}
	return strings.TrimSuffix(out.String(), "\n")
}

// TestPipes runs two commands on one repo at once, each waiting for the other.
func TestPipes(t *testing.T) {
	size := 64 << 20
	if os.Getenv("LIFTOFF_TEST_LARGE") != "" {
		size = 1 << 30
	}
	r := newRepo(t)
	file := filepath.Join(t.TempDir(), "big")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	block := noise(rng, 4<<20)
	for i := 0; i < size; i += len(block) {
		copy(block, fmt.Sprint(i)) // all different
		if _, err := f.Write(block); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	root := r.run("add", "--quiet", file)
	if got := r.pipe([]string{"cat", root}, []string{"add", "--quiet", "-"}); got != root {
		t.Errorf("cat | add: got %s, want %s", got, root)
	}

	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("liftoff\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	got := r.pipe([]string{"run", upperWasm, "--stdin", text}, []string{"run", upperWasm, "--stdin", "-"})
	if got != "LIFTOFF" {
		t.Errorf("run | run: printed %q", got)
	}
	r.verify()
}

// TestRunsAtOnce starts eight runs on a repo that does not exist yet.
func TestRunsAtOnce(t *testing.T) {
	r := newRepo(t)
	var wg sync.WaitGroup
	got := make([]result, 8)
	for i := range got {
		wg.Go(func() {
			got[i] = r.try(strings.NewReader(fmt.Sprintf("job %d\n", i)), "run", upperWasm, "--stdin", "-")
		})
	}
	wg.Wait()
	for i, g := range got {
		if want := fmt.Sprintf("JOB %d\n", i); g.code != 0 || g.stdout != want {
			t.Errorf("run %d: exit code %d, stdout %q, want %q\n%s", i, g.code, g.stdout, want, g.stderr)
		}
	}
	r.verify()
}

// TestOwnerKilled kills the process that owns the repo while others are attached: each ends
// with 125 and a hint, or continues; what was reported before is complete.
func TestOwnerKilled(t *testing.T) {
	r := newRepo(t)
	kept := r.run("add", "--quiet", tree(t, 5, 50, 10_000))

	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	owner := r.command(ctx, "run", spinWasm)
	started, err := owner.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := owner.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(started, make([]byte, len("spinning\n"))); err != nil {
		t.Fatal(err)
	}

	// Attached commands with work in progress: an add whose input does not end.
	type guest struct {
		stdin  io.WriteCloser
		stderr bytes.Buffer
		wait   func() error
	}
	guests := make([]*guest, 3)
	for i := range guests {
		cmd := r.command(ctx, "add", "--quiet", "-")
		g := &guest{wait: cmd.Wait}
		if g.stdin, err = cmd.StdinPipe(); err != nil {
			t.Fatal(err)
		}
		cmd.Stderr = &g.stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := g.stdin.Write(noise(rand.New(rand.NewPCG(uint64(i), 3)), 3<<20)); err != nil {
			t.Fatal(err)
		}
		guests[i] = g
	}
	added := r.run("add", "--quiet", tree(t, 6, 50, 10_000)) // through the owner

	if err := owner.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	owner.Wait()
	for i, g := range guests {
		g.stdin.Close()
		switch code := exitCode(t, g.wait()); {
		case code == 0:
		case code == 125 && strings.Contains(g.stderr.String(), "liftoff: hint: "):
		default:
			t.Errorf("guest %d: exit code %d\n%s", i, code, &g.stderr)
		}
	}
	for _, root := range []string{kept, added} {
		if err := r.complete(root); err != nil {
			t.Error(err)
		}
	}
	r.verify()
}
