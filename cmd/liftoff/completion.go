//go:build !windows

package main

import (
	"fmt"

	"github.com/urfave/cli/v2"
)

// completions are the scripts by shell. Each calls completeCommand and completes file names
// when that prints nothing.
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
		Name:      "completion",
		Usage:     "print a completion script for a shell",
		ArgsUsage: "bash|zsh|fish",
		Description: `Prints a script for the shell. It completes commands, flags and their values, and what
is in the repo: job ids, pin names, receipts, CIDs, peers and labels. "make install" and the
release archives install the same scripts.`,
		Before: takes("a shell: bash, zsh or fish", 1, 1),
		CustomHelpTemplate: help(`$ source <(liftoff completion bash)     # in ~/.bashrc
$ source <(liftoff completion zsh)      # in ~/.zshrc
$ liftoff completion fish | source      # in ~/.config/fish/config.fish`),
		Action: func(c *cli.Context) error {
			args := c.Args().Slice()
			script, ok := completions[args[0]]
			if !ok {
				return hinted(usagef("no completion for %s", quote(args[0])), "liftoff completion bash")
			}
			_, err := fmt.Fprint(p.stdout, script)
			return err
		},
	}
}
