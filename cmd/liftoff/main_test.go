//go:build !windows

package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/urfave/cli/v2"
)

var update = flag.Bool("update", false, "write what came out into the scripts in testdata")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"liftoff": mainChecked})
}

// undeclared is the exit code of a liftoff in a script that ended with a code that commandExits does not declare.
const undeclared = 250

// undeclaredFile is the variable that names the file with the last of these.
const undeclaredFile = "LIFTOFF_TEST_UNDECLARED"

// mainChecked is main. It also checks the exit code: every session in a script is a test of commandExits.
func mainChecked() {
	ctx, stop := untilInterrupted()
	code := run(ctx, os.Args, os.Stdin, os.Stdout, os.Stderr, os.Getenv)
	stop()
	if command := commandOf(os.Args[1:]); !canEndWith(command, code) {
		message := fmt.Sprintf("exit code %d of %q is not in commandExits\n", code, command)
		fmt.Fprint(os.Stderr, message)
		if file := os.Getenv(undeclaredFile); file != "" { // also where a script does not look at the code
			os.WriteFile(file, []byte(message), 0o666) //nolint:errcheck // the code shows it, too
		}
		code = undeclared
	}
	os.Exit(code)
}

// canEndWith reports whether a command, named without "liftoff", may end with an exit code.
func canEndWith(command string, code int) bool {
	own := commandExits[command]
	return slices.Contains(commonExits, code) || slices.Contains(own, code) ||
		slices.Contains(own, guestCodes) && code >= 1 && code <= 255
}

// commandOf is the command that words begin with, as in commandExits, or "".
func commandOf(words []string) string {
	app := newApp(testProcess())
	_, words = leading(words)
	path, _, _, err := findCommand(app, words)
	if err != nil {
		return ""
	}
	return strings.Join(path, " ")
}

// TestScripts runs the sessions in testdata/script. Each has its own folder and repo, and
// the modules of testdata/guests in the folder guests. Additional commands:
//
//	exits CODE command…   run command, which must end with that exit code
//	sets NAME             set the variable NAME to the last line of stdout
//	flips FILE AT TARGET  write FILE to TARGET with a bit of its byte AT flipped
//	forges OUTCOME FORGED RECEIPT  write another outcome of OUTCOME's task, and a receipt for it
func TestScripts(t *testing.T) {
	guests, err := filepath.Abs("testdata/guests")
	if err != nil {
		t.Fatal(err)
	}
	docs, err := filepath.Abs("../../docs")
	if err != nil {
		t.Fatal(err)
	}
	undeclaredDir := t.TempDir()
	testscript.Run(t, testscript.Params{
		Dir:           "testdata/script",
		UpdateScripts: *update,
		Setup: func(env *testscript.Env) error {
			env.Setenv("DOCS", docs)
			file := filepath.Join(undeclaredDir, filepath.Base(env.WorkDir))
			env.Setenv(undeclaredFile, file)
			env.Defer(func() {
				if message, err := os.ReadFile(file); err == nil {
					t.Errorf("%s: %s", filepath.Base(file), message)
				}
			})
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
			"exits": exits, "sets": sets, "flips": flips, "forges": forges,
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

// TestHelp reads the help of every command.
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
			wants := []string{"USAGE:\n   liftoff", "EXAMPLE:\n   $ "}
			if len(cmd.Subcommands) == 0 {
				wants = append(wants, exitHelp(strings.Join(full, " ")))
			}
			checkHelp(t, append(full, "--help"), wants...)
			checkHelp(t, append([]string{"help"}, full...), wants...)
			seen++
			walk(full, commandNames(cmd.Subcommands))
		}
	}
	root := []string{"USAGE:\n   liftoff", "EXAMPLE:\n   $ ", "\nRUN JOBS:\n   run ", "\nREPO:\n   gc ", "GLOBAL FLAGS:", "TOPICS:"}
	for _, topic := range topics {
		root = append(root, "\n   "+topic.name+" ")
		checkHelp(t, []string{"help", topic.name}, "\n   ")
	}
	checkHelp(t, []string{"--help"}, root...)
	checkHelp(t, nil, root...)
	walk(nil, commandNames(app.Commands))
	if seen < 40 {
		t.Errorf("got %d commands, want at least 40", seen)
	}
	codes := []string{"   1-255  exit code of the guest"}
	for _, e := range exitCodes {
		codes = append(codes, fmt.Sprintf("\n   %-5d  %s\n", e.code, e.meaning))
	}
	checkHelp(t, []string{"help", "exit-codes"}, codes...)
}

// TestCommandExits: every command declares its exit codes, and every declared code is in the table.
func TestCommandExits(t *testing.T) {
	known := map[int]bool{guestCodes: true}
	for _, e := range exitCodes {
		known[e.code] = true
	}
	declared := maps.Clone(commandExits)
	var walk func(above string, cmds []*cli.Command)
	walk = func(above string, cmds []*cli.Command) {
		for _, c := range cmds {
			if len(c.Subcommands) > 0 {
				walk(above+c.Name+" ", c.Subcommands)
				continue
			}
			codes, ok := declared[above+c.Name]
			if !ok {
				t.Errorf("%s declares no exit codes", above+c.Name)
			}
			for _, code := range codes {
				if !known[code] {
					t.Errorf("%s: exit code %d is not in the table", above+c.Name, code)
				}
			}
			delete(declared, above+c.Name)
		}
	}
	walk("", newApp(testProcess()).Commands)
	for name := range declared {
		t.Errorf("commandExits has %q, which is not a command", name)
	}
	for command, want := range map[string]map[int]bool{
		"":     {0: true, exitUsage: true, exitTrap: false, 1: false},
		"run":  {0: true, 1: true, 255: true, exitTrap: true},
		"gc":   {0: true, exitFault: true, exitNotFound: false, 1: false},
		"cat":  {exitNotFound: true, exitRefused: false},
		"nope": {exitUsage: true, exitNotFound: false},
	} {
		for code, may := range want {
			if canEndWith(command, code) != may {
				t.Errorf("%q may end with %d: got %v, want %v", command, code, !may, may)
			}
		}
	}
}

// TestHelpExamples: the command lines in the examples have commands and flags that exist.
func TestHelpExamples(t *testing.T) {
	app := newApp(testProcess())
	seen := 0
	check := func(name, text string) {
		_, example, _ := strings.Cut(text, "EXAMPLE:\n")
		example, _, _ = strings.Cut(example, "\n\n")
		for line := range strings.Lines(example) {
			for _, part := range strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune("|><#()&;", r) }) {
				_, words, ok := strings.Cut(" "+part, " liftoff ")
				if !ok || !strings.Contains(line, "$ ") {
					continue
				}
				seen++
				if _, err := parseLine(app, strings.Fields(words)); err != nil {
					t.Errorf("%s: %q: %v", name, words, err)
				}
			}
		}
	}
	var walk func(cmds []*cli.Command)
	walk = func(cmds []*cli.Command) {
		for _, c := range cmds {
			check(c.Name, c.CustomHelpTemplate)
			walk(c.Subcommands)
		}
	}
	walk(app.Commands)
	check("liftoff", app.CustomAppHelpTemplate)
	if seen < 60 {
		t.Errorf("got %d command lines, want at least 60", seen)
	}
}

// TestFlagsMeanOneThing: a short flag stands for the same long flag in every command.
func TestFlagsMeanOneThing(t *testing.T) {
	want := map[string]string{"e": "env", "f": "follow", "i": "input", "o": "output", "q": "quiet", "v": "verbose"}
	var walk func(cmds []*cli.Command)
	walk = func(cmds []*cli.Command) {
		for _, c := range cmds {
			for _, f := range c.Flags {
				if doc := f.(cli.DocGenerationFlag); doc.TakesValue() != strings.HasPrefix(doc.GetUsage(), "`") && doc.GetUsage() != "" {
					t.Errorf("%s --%s: the usage names a value: %v, want %v", c.Name, f.Names()[0], !doc.TakesValue(), doc.TakesValue())
				}
				for _, name := range f.Names()[1:] {
					if want[name] != f.Names()[0] {
						t.Errorf("%s: -%s is --%s, want --%s", c.Name, name, f.Names()[0], want[name])
					}
				}
			}
			walk(c.Subcommands)
		}
	}
	walk(newApp(testProcess()).Commands)
}

func checkHelp(t *testing.T, words []string, wants ...string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), append([]string{"liftoff"}, words...), strings.NewReader(""), &stdout, &stderr, func(string) string { return "" })
	if code != 0 || stderr.Len() > 0 {
		t.Errorf("%q: exit code %d, stderr %q", words, code, stderr.String())
	}
	for _, want := range wants {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("%q: no %q in the help:\n%s", words, want, stdout.String())
		}
	}
	if !strings.HasSuffix(stdout.String(), "\n") {
		t.Errorf("%q: the help does not end with a newline", words)
	}
	for line := range strings.Lines(stdout.String()) {
		if strings.Contains(line, "<no value>") || strings.Contains(line, "{{") || strings.HasSuffix(line, " \n") {
			t.Errorf("%q: help line %q", words, line)
		}
	}
}

// TestPanic: a panic is one line and exit code 125, never a stack trace.
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
