//go:build !windows

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// TestManPages writes the man pages: each command has one, which names each of its flags.
func TestManPages(t *testing.T) {
	dir := t.TempDir()
	p := newProcess(strings.NewReader(""), &bytes.Buffer{}, &bytes.Buffer{}, os.Getenv)
	if err := p.writeShare(dir); err != nil {
		t.Fatal(err)
	}
	var check func(cmds []*cli.Command, above string)
	check = func(cmds []*cli.Command, above string) {
		for _, c := range cmds {
			name := above + "-" + c.Name
			page, err := os.ReadFile(filepath.Join(dir, "man/man1", name+".1"))
			if err != nil {
				t.Error(err)
				continue
			}
			text := strings.ReplaceAll(string(page), `\-`, "-")
			for _, want := range []string{".SH NAME", name + " - ", ".SH SYNOPSIS", ".SH DESCRIPTION", ".SH OPTIONS", ".SH EXAMPLES", ".SH EXIT STATUS"} {
				if want == ".SH EXIT STATUS" && len(c.Subcommands) > 0 {
					continue // each of its commands has its own
				}
				if !strings.Contains(text, want) {
					t.Errorf("%s.1 has no %q", name, want)
				}
			}
			for _, f := range c.VisibleFlags() {
				if !strings.Contains(text, "--"+f.Names()[0]) {
					t.Errorf("%s.1 does not name --%s", name, f.Names()[0])
				}
			}
			check(c.Subcommands, name)
		}
	}
	check(newApp(p).Commands, "liftoff")
	for _, name := range []string{"man/man1/liftoff.1", "man/man7/liftoff-exit-codes.7", "bash-completion/completions/liftoff", "zsh/site-functions/_liftoff", "fish/vendor_completions.d/liftoff.fish"} {
		if b, err := os.ReadFile(filepath.Join(dir, name)); err != nil || len(b) == 0 {
			t.Errorf("%s: %d bytes, %v", name, len(b), err)
		}
	}
}

func TestManPage(t *testing.T) {
	const help = `liftoff x: do a_b *things*

USAGE:
   liftoff x [flags] PATH…

   A paragraph with <angles> and liftoff_v1.

      key: value

FLAGS:
   --long, -l NAME  first line
                    second line
   --help, -h       show help

EXAMPLE:
   $ liftoff x .hidden
   'quoted'

EXIT CODES:
   0    done
`
	page := string(manPage("liftoff-x", help))
	for _, want := range []string{
		"do a_b *things*", "liftoff x [flags] PATH…", "with <angles> and liftoff_v1", "key: value", "second line",
		"$ liftoff x .hidden", `\&'quoted'`, ".SH EXIT STATUS",
	} {
		if !strings.Contains(strings.ReplaceAll(page, `\-`, "-"), want) {
			t.Errorf("the page has no %q:\n%s", want, page)
		}
	}
}
