//go:build !windows

package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/cpuguy83/go-md2man/v2/md2man"
	"github.com/urfave/cli/v2"
)

// manCommand is the hidden command with which "make install" and "make release" write the
// man pages and the completion scripts below a directory, as below /usr/local/share.
const manCommand = "__man"

// writeShare writes man/man1/*.1, man/man7/*.7 and the completion scripts of bash, zsh and fish below dir.
func (p *process) writeShare(dir string) error {
	var errs []error
	write := func(name string, data []byte) {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			errs = append(errs, err)
			return
		}
		errs = append(errs, os.WriteFile(name, data, 0o644))
	}
	for _, path := range commandPaths(newApp(p).Commands, nil) {
		text, err := p.helpText(path)
		if err != nil {
			return err
		}
		name := strings.Join(append([]string{"liftoff"}, path...), "-")
		write(filepath.Join("man/man1", name+".1"), manPage(name, text))
	}
	for _, t := range topics {
		write(filepath.Join("man/man7", "liftoff-"+t.name+".7"), topicPage(t))
	}
	write("bash-completion/completions/liftoff", []byte(completions["bash"]))
	write("zsh/site-functions/_liftoff", []byte(completions["zsh"]))
	write("fish/vendor_completions.d/liftoff.fish", []byte(completions["fish"]))
	return errors.Join(errs...)
}

// commandPaths returns the words that name each visible command, nil for liftoff itself
// first.
func commandPaths(cmds []*cli.Command, above []string) [][]string {
	paths := [][]string{above}
	for _, c := range cmds {
		if !c.Hidden {
			paths = append(paths, commandPaths(c.Subcommands, append(above[:len(above):len(above)], c.Name))...)
		}
	}
	return paths
}

// helpText returns what the command named by path prints with --help.
func (p *process) helpText(path []string) (string, error) {
	var out bytes.Buffer
	app := newApp(newProcess(strings.NewReader(""), &out, io.Discard, p.getenv))
	err := app.Run(append(append([]string{app.Name}, path...), "--help"))
	if err != nil {
		return "", fmt.Errorf("help of %s: %w", strings.Join(path, " "), err)
	}
	return out.String(), nil
}

// section is a part of a help text: a title in capitals, and lines without the margin.
type section struct {
	title string
	lines []string
}

var (
	titleLine = regexp.MustCompile(`^([A-Z][A-Z, ]+):$`)
	rowLine   = regexp.MustCompile(`^(\S.*?)  +(\S.*)$`) // two columns
)

// manPage makes a man page of a help text. The titles that man pages have other names for
// get these names.
func manPage(name, help string) []byte {
	head, sections := splitHelp(help)
	_, usage, _ := strings.Cut(head, ": ")
	var md strings.Builder
	fmt.Fprintf(&md, "%% %s 1\n\n# NAME\n\n%s - %s\n\n", strings.ToUpper(name), name, escaped(cmp.Or(usage, head)))
	for _, s := range sections {
		switch s.title {
		case "USAGE":
			synopsis, rest := cutParagraph(s.lines)
			fmt.Fprintf(&md, "# SYNOPSIS\n\n%s\n\n# DESCRIPTION\n\n", escaped(strings.Join(synopsis, " ")))
			writeProse(&md, rest)
		case "FLAGS":
			writeSection(&md, section{"OPTIONS", s.lines})
		case "EXAMPLE":
			writeSection(&md, section{"EXAMPLES", s.lines})
		case "EXIT CODES":
			writeSection(&md, section{"EXIT STATUS", s.lines})
		default:
			writeSection(&md, s)
		}
	}
	if name != "liftoff" {
		md.WriteString("# SEE ALSO\n\n**liftoff**(1), **liftoff-exit-codes**(7)\n")
	}
	return md2man.Render([]byte(md.String()))
}

// topicPage makes a man page of a help topic.
func topicPage(t topic) []byte {
	var md strings.Builder
	fmt.Fprintf(&md, "%% LIFTOFF-%s 7\n\n# NAME\n\nliftoff-%s - %s\n\n# DESCRIPTION\n\n", strings.ToUpper(t.name), t.name, escaped(t.usage))
	writeProse(&md, strings.Split(t.text(), "\n"))
	md.WriteString("# SEE ALSO\n\n**liftoff**(1)\n")
	return md2man.Render([]byte(md.String()))
}

// splitHelp returns the first line of a help text and its sections.
func splitHelp(help string) (head string, sections []section) {
	for i, line := range strings.Split(help, "\n") {
		if i == 0 {
			head = line
			continue
		}
		if m := titleLine.FindStringSubmatch(line); m != nil {
			sections = append(sections, section{title: m[1]})
			continue
		}
		if n := len(sections); n > 0 {
			sections[n-1].lines = append(sections[n-1].lines, strings.TrimPrefix(line, "   "))
		}
	}
	return head, sections
}

func cutParagraph(lines []string) (first, rest []string) {
	for i, l := range lines {
		if l == "" {
			return lines[:i], lines[i+1:]
		}
	}
	return lines, nil
}

func writeSection(md *strings.Builder, s section) {
	fmt.Fprintf(md, "# %s\n\n", s.title)
	if s.title == "EXAMPLES" {
		writeCode(md, s.lines)
		return
	}
	writeProse(md, s.lines)
}

// writeProse writes paragraphs. Lines in two columns become a list of terms, lines that are
// set in further become preformatted text.
func writeProse(md *strings.Builder, lines []string) {
	inTable := false
	for len(lines) > 0 {
		line := lines[0]
		row := rowLine.FindStringSubmatch(line)
		switch {
		case line == "":
			md.WriteString("\n")
			inTable, lines = false, lines[1:]
		case row != nil:
			fmt.Fprintf(md, "\n**%s**\n: %s\n", escaped(row[1]), escaped(row[2]))
			inTable, lines = true, lines[1:]
		case inTable && strings.HasPrefix(line, " "):
			md.WriteString("  " + escaped(strings.TrimSpace(line)) + "\n")
			lines = lines[1:]
		case strings.HasPrefix(line, " "):
			n := 0
			for n < len(lines) && (lines[n] == "" || strings.HasPrefix(lines[n], " ")) {
				n++
			}
			writeCode(md, lines[:n])
			lines = lines[n:]
		default:
			md.WriteString(escaped(line) + "\n")
			lines = lines[1:]
		}
	}
	md.WriteString("\n")
}

func writeCode(md *strings.Builder, lines []string) {
	md.WriteString("\n```\n" + strings.TrimRight(strings.Join(lines, "\n"), "\n") + "\n```\n\n")
}

// escaped has Markdown read s as plain text.
var escapes = strings.NewReplacer(`\`, `\\`, "*", `\*`, "_", `\_`, "`", "\\`", "<", `\<`, ">", `\>`, "[", `\[`, "]", `\]`, "#", `\#`)

func escaped(s string) string { return escapes.Replace(s) }
