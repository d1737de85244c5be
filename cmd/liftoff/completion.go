//go:build !windows

package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"
)

// completeCommand is the hidden command that the shells' scripts call with the words
// typed so far, the last of which is being completed. It prints one candidate for
// each line, or nothing where a file name is wanted.
const completeCommand = "__complete"

// The scripts. Each falls back to file names where there are no candidates.
var completions = map[string]string{
	"bash": `_liftoff() {
    local IFS=$'\n'
    COMPREPLY=($(liftoff __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _liftoff liftoff
`,
	"zsh": `#compdef liftoff
_liftoff() {
    local -a found
    found=("${(@f)$(liftoff __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    if [[ -n "${found[1]}" ]]; then
        compadd -- "${found[@]}"
    else
        _files
    fi
}
compdef _liftoff liftoff
`,
	"fish": `function __liftoff
    set -l words (commandline -opc) (commandline -ct)
    liftoff __complete $words[2..-1] 2>/dev/null
end
complete -c liftoff -a '(__liftoff)'
`,
}

func completionCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:        "completion",
		Usage:       "print a shell completion script",
		ArgsUsage:   "bash|zsh|fish",
		Description: `Prints a script with which the shell completes commands and flags.`,
		Before:      takes("a shell: bash, zsh or fish", 1, 1),
		CustomHelpTemplate: help(`$ source <(liftoff completion bash)     # in ~/.bashrc
$ source <(liftoff completion zsh)      # in ~/.zshrc
$ liftoff completion fish | source      # in ~/.config/fish/config.fish`),
		Action: func(c *cli.Context) error {
			args := c.Args().Slice()
			script, ok := completions[args[0]]
			if !ok {
				return hinted(usagef("no completion for %s, want bash, zsh or fish", quote(args[0])), "liftoff completion bash")
			}
			_, err := fmt.Fprint(p.stdout, script)
			return err
		},
	}
}

// complete prints the words that may stand in place of the last one.
func (p *process) complete(app *cli.App, words []string) error {
	if len(words) == 0 {
		words = []string{""}
	}
	last := words[len(words)-1]
	_, cmd, rest, err := findCommand(app, words[:len(words)-1])
	if err != nil {
		return nil // a command that does not exist: nothing to offer
	}
	for _, w := range rest {
		if w == "--" {
			return nil
		}
	}
	var candidates []string
	switch {
	case strings.HasPrefix(last, "-"):
		candidates = flagWords(cmd.Flags)
	case len(rest) == 0 && cmd.Name == "completion":
		candidates = []string{"bash", "zsh", "fish"}
	case len(rest) == 0:
		candidates = commandNames(cmd.Subcommands)
	}
	for _, word := range candidates {
		if strings.HasPrefix(word, last) {
			if _, err := fmt.Fprintln(p.stdout, word); err != nil {
				return err
			}
		}
	}
	return nil
}

func flagWords(flags []cli.Flag) []string {
	words := []string{"--help"}
	for _, f := range flags {
		for _, name := range f.Names() {
			if len(name) > 1 {
				words = append(words, "--"+name)
			}
		}
	}
	return words
}
