package plugin

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/runtime"
	"github.com/ipfs-liftoff/liftoff/runtime/runtimetest"
)

const books = "title,year,sold\nEmma,1815,2000\nUlysses,1922,1000\nPersuasion,1817,500\n"

// sql opens the example plugin, which is written in Python.
func sql(t *testing.T) *runtimetest.Harness {
	t.Helper()
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("SKIP: no python3")
	}
	dir, err := filepath.Abs("example")
	if err != nil {
		t.Fatal(err)
	}
	x, err := NewSet([]string{dir}, Config{}).For(t.Context(), "x_sql")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { x.Close() })
	return runtimetest.NewHarness(x)
}

func sqlTask(t *testing.T, w *runtimetest.Harness, script string) job.Task {
	return job.Task{
		ABI: "x_sql", Mod: w.Add(t, []byte(script)), Fn: job.FnRun, Det: job.DetNone, Nonce: []byte("nonce"), Out: job.OutProfile,
		In: []job.Input{{Name: "books.csv", CID: w.Add(t, []byte(books))}},
	}
}

func TestExample(t *testing.T) {
	w := sql(t)
	for _, c := range []struct{ script, prints string }{
		{"SELECT title FROM books WHERE year < 1900 ORDER BY title", "title\nEmma\nPersuasion\n"},
		{"CREATE VIEW v AS SELECT sum(sold) AS n FROM books; SELECT n FROM v; -- done", "n\n3500\n"},
		{"SELECT ';' AS a, '\"' AS b", "a,b\n;,\"\"\"\"\n"},
	} {
		o := w.Run(t, sqlTask(t, w, c.script)).Outcome
		if got := w.File(t, o.Stdout); o.State != job.OK || got != c.prints {
			t.Errorf("%s: %s %d, %q %q, want %q", c.script, o.State, o.Code, got, w.File(t, o.Stderr), c.prints)
		}
		if got := w.File(t, w.At(t, o.Root, "result.csv")); got != w.File(t, o.Stdout) {
			t.Errorf("%s: result.csv holds %q", c.script, got)
		}
	}
}

// TestExampleIsolates runs scripts that try more than SQL over their inputs.
func TestExampleIsolates(t *testing.T) {
	w := sql(t)
	target := filepath.Join(t.TempDir(), "target")
	for _, script := range []string{
		"SELEC 1", "SELECT * FROM nothing",
		"ATTACH '" + target + "' AS a; CREATE TABLE a.t (x)",
		"VACUUM INTO '" + target + "'",
		"SELECT load_extension('" + target + "')",
		"PRAGMA temp_store_directory = '/'",
		"SELECT readfile('/etc/passwd')",
	} {
		if o := w.Run(t, sqlTask(t, w, script)).Outcome; o.State != job.Exit || o.Code != 1 || o.Root != w.EmptyDir(t) {
			t.Errorf("%s: %s %d, %q", script, o.State, o.Code, w.File(t, o.Stdout))
		}
	}
	if _, err := os.Stat(target); err == nil {
		t.Error("a script wrote a file")
	}
	var refused *runtime.RefusedError
	bad := sqlTask(t, w, "\xff\xfe")
	if _, err := w.Executor.Run(t.Context(), bad, w.Limits, w.Env(t)); !errors.As(err, &refused) {
		t.Errorf("script that is not text: %v", err)
	}
}

const endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c"

func TestExampleEnds(t *testing.T) {
	w := sql(t)
	task := sqlTask(t, w, endless)
	w.Limits.Fuel = 200_000_000
	if o := w.Run(t, task).Outcome; o.State != job.OutOfFuel {
		t.Errorf("%s %d", o.State, o.Code)
	}
	w.Limits.Fuel = 0
	ctx, cancel := context.WithTimeoutCause(t.Context(), 300*time.Millisecond, runtime.ErrTimeout)
	defer cancel()
	if _, err := w.Executor.Run(ctx, task, w.Limits, w.Env(t)); !errors.Is(err, runtime.ErrTimeout) {
		t.Errorf("error %v", err)
	}
	in := w.Add(t, []byte("gone"))
	w.Blocks.Delete(in)
	task.In = []job.Input{{CID: in}}
	if _, err := w.Executor.Run(t.Context(), task, w.Limits, w.Env(t)); err == nil || !strings.Contains(err.Error(), in.String()) {
		t.Errorf("error %v", err)
	}
}
