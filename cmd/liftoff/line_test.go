//go:build !windows

package main

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func testProcess() *process {
	return newProcess(strings.NewReader(""), io.Discard, io.Discard, func(string) string { return "" })
}

func TestParseLine(t *testing.T) {
	app := newApp(testProcess())
	for _, test := range []struct {
		words string
		args  string
		rest  string
	}{
		{"", "--help", ""},
		{"--help", "--help", ""},
		{"help", "--help", ""},
		{"help pin add", "pin add --help", ""},
		{"--version", "version --", ""},
		{"add x --quiet y", "add --quiet -- x y", ""},
		{"add --name n x", "add --name n -- x", ""},
		{"add x --name=n", "add --name=n -- x", ""},
		{"add x --name -n", "add --name -n -- x", ""}, // a value may look like a flag
		{"add -- --quiet", "add -- --quiet", ""},
		{"add - --quiet", "add --quiet -- -", ""},
		{"add x --help --nonsense", "add --help", ""},
		{"add x -- --help", "add -- x --help", ""},
		{"pin add x --name n y", "pin add --name n -- x y", ""},
		{"pin --help", "pin --help", ""},
		{"run m --input a=b -- -x --json", "run --input a=b -- m", "-x --json"},
		{"run --json m --file t", "run --json --file t -- m", ""},
		{"job logs j -f", "job logs -f -- j", ""},
		{"--no-color --api a:1 pin ls", "pin ls --no-color --api a:1 --", ""},
		{"cat help", "cat -- help", ""},
	} {
		l, err := parseLine(app, strings.Fields(test.words))
		if err != nil {
			t.Errorf("%q: %v", test.words, err)
			continue
		}
		if got := strings.Join(l.args, " "); got != test.args {
			t.Errorf("%q: args %q, want %q", test.words, got, test.args)
		}
		if got := strings.Join(l.rest, " "); got != test.rest {
			t.Errorf("%q: rest %q, want %q", test.words, got, test.rest)
		}
	}
}

func TestParseLineErrors(t *testing.T) {
	app := newApp(testProcess())
	for _, test := range []struct{ words, message, hint string }{
		{"rum x", "unknown command rum", "did you mean: liftoff run"},
		{"frobnicate", "unknown command frobnicate", "liftoff --help"},
		{"pin ad x", "unknown command pin ad", "did you mean: liftoff pin add"},
		{"rnu x", "unknown command rnu", "did you mean: liftoff run"},
		{"--nocolor id", "unknown flag --nocolor: did you mean --no-color?", "liftoff --help"},
		{"help nosuch", "unknown command or help topic nosuch", "liftoff --help"},
		{"help verfy", "unknown command or help topic verfy", "did you mean: liftoff help verify"},
		{"help exit-code", "unknown command or help topic exit-code", "did you mean: liftoff help exit-codes"},
		{"pin", "liftoff pin needs a command: add, ls, rm", "liftoff pin --help"},
		{"add --quite x", "unknown flag --quite: did you mean --quiet?", "liftoff add --help"},
		{"add --frobnicate=7", "unknown flag --frobnicate", "liftoff add --help"},
		{"add x --name", "--name needs a value", "liftoff add --help"},
		{"--jsn", "unknown flag --jsn", "liftoff --help"},
		{"a\x1b[31m", `unknown command "a\x1b[31m"`, "liftoff --help"},
	} {
		_, err := parseLine(app, strings.Fields(test.words))
		var usage *usageError
		if !errors.As(err, &usage) {
			t.Errorf("%q: %v, want a usage error", test.words, err)
			continue
		}
		if diff := cmp.Diff([]string{test.message, test.hint}, []string{err.Error(), hintOf(err)}); diff != "" {
			t.Errorf("%q (-want +got):\n%s", test.words, diff)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"add", "add", 0}, {"quite", "quiet", 1}, {"rnu", "run", 1}, {"kitten", "sitting", 3}} {
		if got := distance(test.a, test.b); got != test.want {
			t.Errorf("distance(%q, %q) = %d, want %d", test.a, test.b, got, test.want)
		}
		if got := distance(test.b, test.a); got != test.want {
			t.Errorf("distance(%q, %q) = %d, want %d", test.b, test.a, got, test.want)
		}
	}
}
