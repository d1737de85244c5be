//go:build !windows

package main

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// line is a command line in the order that the flag parser needs: the command, its flags, "--", its arguments. The
// parser itself stops at the first argument.
type line struct {
	args   []string // for the parser
	rest   []string // the arguments of a guest: everything after "--"
	dashes bool     // there was a "--"
}

// parseLine finds the command in words and moves its flags to the front. The error is a *usageError that suggests the
// nearest command or flag.
func parseLine(app *cli.App, words []string) (line, error) {
	if len(words) > 0 {
		switch words[0] {
		case "help":
			if len(words) == 2 && !strings.HasPrefix(words[1], "-") && app.Command(words[1]) == nil {
				err := usagef("unknown command or help topic %s", quote(words[1]))
				if near := nearest(words[1], append(topicNames(), commandNames(app.Commands)...)); near != "" {
					return line{}, hinted(err, "did you mean: %s help %s", app.Name, near)
				}
				return line{}, hinted(err, "%s --help", app.Name)
			}
			words = append(words[1:len(words):len(words)], "--help")
		case "--version":
			words = append([]string{"version"}, words[1:]...)
		}
	}
	everywhere, words := leading(words)
	path, cmd, words, err := findCommand(app, words)
	if err != nil {
		return line{}, err
	}
	if len(path) > 0 {
		words = append(everywhere, words...)
	}
	known := cmd.Flags
	if len(path) == 0 {
		known = globalFlags
	}
	s, err := permute(known, words)
	if err != nil {
		return line{}, hinted(err, "%s --help", strings.Join(append([]string{app.Name}, path...), " "))
	}
	switch {
	case s.help:
		return line{args: append(path, "--help")}, nil
	case len(path) == 0 && len(words) == 0:
		return line{args: []string{"--help"}}, nil
	case len(cmd.Subcommands) > 0:
		full := strings.Join(append([]string{app.Name}, path...), " ")
		return line{}, hinted(usagef("%s needs a command: %s", full, strings.Join(commandNames(cmd.Subcommands), ", ")), "%s --help", full)
	case cmd.Name != guestArgsCommand:
		s.args, s.rest = append(s.args, s.rest...), nil
	}
	ordered := append(append(path, s.flags...), "--")
	return line{args: append(ordered, s.args...), rest: s.rest, dashes: s.dashes}, nil
}

// leading separates the global flags at the beginning of words from the rest.
func leading(words []string) (flags, rest []string) {
	rest = words
	for len(rest) > 0 {
		name, _, assigned := strings.Cut(strings.TrimLeft(rest[0], "-"), "=")
		f := flagNamed(globalFlags, name)
		if !strings.HasPrefix(rest[0], "-") || f == nil {
			break
		}
		n := 2
		if _, alone := f.(*cli.BoolFlag); alone || assigned {
			n = 1
		}
		if len(rest) < n {
			break
		}
		flags, rest = append(flags, rest[:n]...), rest[n:]
	}
	return flags, rest
}

// guestArgsCommand is the command whose words after "--" are the arguments of a guest.
const guestArgsCommand = "run"

// findCommand finds the command at the beginning of words. rest is what follows it.
func findCommand(app *cli.App, words []string) (path []string, cmd *cli.Command, rest []string, err error) {
	cmd = &cli.Command{Subcommands: app.Commands}
	for len(words) > 0 && len(cmd.Subcommands) > 0 && !strings.HasPrefix(words[0], "-") {
		next := cmd.Command(words[0])
		if next == nil {
			known := append([]string{app.Name}, path...)
			err := usagef("unknown command %s", strings.Join(append(path, quote(words[0])), " "))
			if near := nearest(words[0], commandNames(cmd.Subcommands)); near != "" {
				return nil, nil, nil, hinted(err, "did you mean: %s", strings.Join(append(known, near), " "))
			}
			return nil, nil, nil, hinted(err, "%s --help", strings.Join(known, " "))
		}
		path, cmd, words = append(path, next.Name), next, words[1:]
	}
	return path, cmd, words, nil
}

// sorted holds the words of one command, by kind.
type sorted struct {
	flags  []string // with their values
	args   []string // before "--"
	rest   []string // after it
	dashes bool     // there was a "--"
	help   bool     // help was requested; all other fields are empty
}

// permute sorts words into flags and arguments. "-" alone is an argument.
func permute(known []cli.Flag, words []string) (sorted, error) {
	var s sorted
	for len(words) > 0 {
		word := words[0]
		words = words[1:]
		switch {
		case word == "--":
			s.rest, s.dashes = words, true
			return s, nil
		case word == "-h" || word == "--help" || word == "-help":
			return sorted{help: true}, nil
		case word == "-" || !strings.HasPrefix(word, "-"):
			s.args = append(s.args, word)
			continue
		}
		name, _, assigned := strings.Cut(strings.TrimLeft(word, "-"), "=")
		f := flagNamed(known, name)
		if f == nil {
			return sorted{}, unknownFlag(known, word, name)
		}
		s.flags = append(s.flags, word)
		if _, alone := f.(*cli.BoolFlag); alone || assigned {
			continue
		}
		if len(words) == 0 {
			return sorted{}, usagef("%s needs a value", word)
		}
		s.flags = append(s.flags, words[0])
		words = words[1:]
	}
	return s, nil
}

func flagNamed(known []cli.Flag, name string) cli.Flag {
	for _, f := range known {
		if slices.Contains(f.Names(), name) {
			return f
		}
	}
	return nil
}

func unknownFlag(known []cli.Flag, word, name string) error {
	word, _, _ = strings.Cut(word, "=")
	var all []string
	for _, f := range known {
		all = append(all, f.Names()...)
	}
	switch near := nearest(name, all); len(near) {
	case 0:
		return usagef("unknown flag %s", quote(word))
	case 1:
		return usagef("unknown flag %s: did you mean -%s?", quote(word), near)
	default:
		return usagef("unknown flag %s: did you mean --%s?", quote(word), near)
	}
}

// nearest returns the name with the smallest edit distance to word, if that is at most 2 and at most half of word;
// else "".
func nearest(word string, names []string) string {
	best, least := "", 3
	for _, n := range names {
		if d := distance(word, n); d < least && 2*d <= len(word) {
			best, least = n, d
		}
	}
	return best
}

// distance is the edit distance of a and b: insertions, deletions and changes of bytes, and swaps of two neighbours.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	above := make([]int, len(b)+1) // the row before the last
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		next := make([]int, len(b)+1)
		next[0] = i + 1
		for j := range len(b) {
			d := row[j]
			if a[i] != b[j] {
				d = 1 + min(row[j], row[j+1], next[j])
			}
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				d = min(d, above[j-1]+1)
			}
			next[j+1] = d
		}
		above, row = row, next
	}
	return row[len(b)]
}

func commandNames(cmds []*cli.Command) []string {
	var out []string
	for _, c := range cmds {
		if !c.Hidden {
			out = append(out, c.Name)
		}
	}
	return out
}
