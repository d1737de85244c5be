//go:build !windows

package main

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/urfave/cli/v2"
)

// TestCompletionSources has every source belong to a command or a flag that exists.
func TestCompletionSources(t *testing.T) {
	app := newApp(newProcess(nil, nil, nil, os.Getenv))
	for command := range argumentSources {
		path, cmd, rest, err := findCommand(app, strings.Fields(command))
		if err != nil || len(rest) > 0 || strings.Join(path, " ") != command || cmd.ArgsUsage == "" {
			t.Errorf("%q is not a command with arguments: %v", command, err)
		}
	}
	for name := range flagSources {
		if !slices.ContainsFunc(commandPaths(app.Commands, nil), func(path []string) bool {
			_, cmd, _, err := findCommand(app, path)
			return err == nil && flagNamed(cmd.Flags, name) != nil
		}) {
			t.Errorf("no command has the flag --%s", name)
		}
	}
}

// TestCompletesIDs has every argument that is an id be completed.
func TestCompletesIDs(t *testing.T) {
	app := newApp(newProcess(nil, nil, nil, os.Getenv))
	var check func(cmds []*cli.Command, above string)
	check = func(cmds []*cli.Command, above string) {
		for _, c := range cmds {
			name := strings.TrimSpace(above + " " + c.Name)
			for _, id := range []string{"ID", "CID", "DID", "RECEIPT", "NAME", "TASK"} {
				if name == "receipt add" { // of another repo: a file
					continue
				}
				if strings.HasPrefix(strings.TrimLeft(c.ArgsUsage, "["), id) && argumentSources[name] == nil {
					t.Errorf("%s %s: the argument is not completed", name, c.ArgsUsage)
				}
			}
			check(c.Subcommands, name)
		}
	}
	check(app.Commands, "")
}

func TestJoinBroken(t *testing.T) {
	for _, test := range []struct{ words, want, done string }{
		{"run --where = lo", "run --where=lo", "--where="},
		{"run --where =", "run --where=", "--where="},
		{"run --where=lo", "run --where=lo", ""},
		{"run --need zone = g", "run --need zone=g", "zone="},
		{"trust rm did : key : z6M", "trust rm did:key:z6M", "did:key:"},
		{"pin rm a", "pin rm a", ""},
		{"", "", ""},
	} {
		words, done := joinBroken(strings.Fields(test.words))
		if diff := cmp.Diff(test.want, strings.Join(words, " ")); diff != "" || done != test.done {
			t.Errorf("%q: done %q, want %q; words (-want +got):\n%s", test.words, done, test.done, diff)
		}
	}
}
