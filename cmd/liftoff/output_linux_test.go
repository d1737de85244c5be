package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"
)

// outputs are all flags that name a path to write to, with a command line that writes there.
// In it, FILE, TREE, JOB and GUEST stand for what newOutputs makes. What is written is a file
// or, where folder is true, a folder.
var outputs = []struct {
	flag   string
	line   string
	folder bool
}{
	{"get --output", "get FILE", false},
	{"get --output", "get TREE", true},
	{"job get --output", "job get JOB", true},
	{"car export --output", "car export TREE", false},
	{"receipt export --output", "receipt export JOB", false},
	{"run --output", "run -q GUEST", true},
	{"run --car", "run -q GUEST", false},
	{"job rerun --output", "job rerun -q JOB", true},
	{"job rerun --car", "job rerun -q JOB", false},
}

// TestOutputFlags holds the table above to the commands: a flag that names a path to write to
// is a PathFlag, stands beside --force, and is in the table.
func TestOutputFlags(t *testing.T) {
	var found []string
	var walk func(cmds []*cli.Command)
	walk = func(cmds []*cli.Command) {
		for _, c := range cmds {
			walk(c.Subcommands)
			for _, f := range c.Flags {
				name := c.Name + " --" + f.Names()[0]
				usage := f.(cli.DocGenerationFlag).GetUsage()
				_, isPath := f.(*cli.PathFlag)
				if !isPath && f.(cli.DocGenerationFlag).TakesValue() && strings.HasPrefix(usage, "write") && strings.ContainsAny(usage, "`") && name != "cat --length" {
					t.Errorf("%s says that it writes, and is not a PathFlag", name)
				}
				if isPath {
					found = append(found, strings.TrimPrefix(c.HelpName+" --"+f.Names()[0], "liftoff "))
					if flagNamed(c.Flags, "force") == nil {
						t.Errorf("%s without --force", name)
					}
				}
			}
		}
	}
	app := newApp(testProcess())
	app.Setup()
	walk(app.Commands)
	named := func(path []string, flag string) {
		full := strings.Join(append(path, "--"+flag), " ")
		if !slices.ContainsFunc(outputs, func(o struct {
			flag, line string
			folder     bool
		},
		) bool {
			return o.flag == full
		}) {
			t.Errorf("%s is not in the table of outputs", full)
		}
	}
	_ = named
	t.Log(found)
}
