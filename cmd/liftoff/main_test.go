//go:build !windows

package main

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "write what came out into the scripts in testdata")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"liftoff": main})
}

// TestScripts runs the sessions in testdata/script: each has a folder and a repo of its
// own, and the modules of testdata/guests in the folder guests. To the commands of
// testscript they add:
//
//	exits CODE command…   run command, which must end with that exit code
//	sets NAME             put the last line of stdout into the variable NAME
//	flips FILE AT TARGET  write FILE with a bit of its byte AT turned
//	lies OUTCOME LIE RECEIPT   write another outcome for OUTCOME's task, and a receipt for it
func TestScripts(t *testing.T) {
	guests, err := filepath.Abs("testdata/guests")
	if err != nil {
		t.Fatal(err)
	}
	docs, err := filepath.Abs("../../docs")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:           "testdata/script",
		UpdateScripts: *update,
		Setup: func(env *testscript.Env) error {
			env.Setenv("DOCS", docs)
			env.Setenv("LIFTOFF_PATH", filepath.Join(env.WorkDir, "repo"))
			return os.CopyFS(filepath.Join(env.WorkDir, "guests"), os.DirFS(guests))
		},
		Condition: func(condition string) (bool, error) {
			if condition == "root" {
				return os.Geteuid() == 0, nil
			}
			return false, errors.New("unknown condition " + condition)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "sets": sets, "flips": flips, "lies": lies,
		},
	})
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE command…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	have := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		have = exit.ExitCode()
	}
	if have != want {
		ts.Fatalf("exit code %d, want %d", have, want)
	}
}

func sets(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: sets NAME")
	}
	lines := strings.Split(strings.TrimSpace(ts.ReadFile("stdout")), "\n")
	ts.Setenv(args[0], lines[len(lines)-1])
}

// TestHelp looks at the help of every command.
func TestHelp(t *testing.T) {
	app := newApp(testProcess())
	var walk func(path []string, sub []string)
	seen := 0
	walk = func(path, sub []string) {
		for _, name := range sub {
			full := append(path[:len(path):len(path)], name)
			_, cmd, _, err := findCommand(app, full)
			if err != nil {
				t.Fatal(err)
			}
			checkHelp(t, append(full, "--help"))
			checkHelp(t, append([]string{"help"}, full...))
			seen++
			walk(full, commandNames(cmd.Subcommands))
		}
	}
	checkHelp(t, []string{"--help"})
	checkHelp(t, nil)
	walk(nil, commandNames(app.Commands))
	if seen < 40 {
		t.Errorf("the help of %d commands was looked at, there should be more", seen)
	}
}

func checkHelp(t *testing.T, words []string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), append([]string{"liftoff"}, words...), strings.NewReader(""), &stdout, &stderr, func(string) string { return "" })
	if code != 0 || stderr.Len() > 0 {
		t.Errorf("%q: exit code %d, stderr %q", words, code, stderr.String())
	}
	for _, want := range []string{"USAGE:\n   liftoff", "EXAMPLE:\n   $ ", "EXIT CODES:", "   127  not found", "   130  interrupted"} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("%q: no %q in the help:\n%s", words, want, stdout.String())
		}
	}
	for line := range strings.Lines(stdout.String()) {
		if strings.Contains(line, "<no value>") || strings.Contains(line, "{{") || strings.HasSuffix(line, " \n") {
			t.Errorf("%q: help line %q", words, line)
		}
	}
}

// TestPanic shows that a bug of ours is one line and exit code 125, never a trace.
func TestPanic(t *testing.T) {
	var stderr bytes.Buffer
	p := newProcess(strings.NewReader(""), &bytes.Buffer{}, &stderr, os.Getenv)
	code := p.fail(t.Context(), p.guard(func() error { panic("a\nb") }))
	const want = "liftoff: error: internal: a\\nb\nliftoff: hint: this is a bug in liftoff: " +
		"please report it with the command line and the output of: liftoff version\n"
	if code != 125 || stderr.String() != want {
		t.Errorf("exit code %d, stderr %q, want %q", code, stderr.String(), want)
	}
}
