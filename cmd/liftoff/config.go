//go:build !windows

package main

import (
	"github.com/urfave/cli/v2"
)

func configCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:  "config",
		Usage: "print the settings in force, and whence they are",
		Description: `Prints a line for each setting: its key, its value ("-" when there is none), and where
that comes from: default, config.yaml, a variable of the environment, or a flag. It takes
the flags of liftoff serve, to show what they would change.

The file config.yaml in the repo is YAML with these keys, a level for each dot; a key that
is not one of them is an error. The variable of a key is LIFTOFF_ and the key in capitals,
with _ for dots and dashes; lists have commas there. The variables win over the file, flags
over both. Tokens are not shown.

quota bounds what all blocks in the repo take, whoever put them; serve.disk, within it, what
the blocks of other peers' jobs take. The first has no flag: it holds for every command.

   quota: 500GiB
   serve:
     slots: 4
     label: {zone: garage, gpu: "no"}
     metrics: 127.0.0.1:9100`,
		Flags:  append(flagsOf("serve"), jsonFlag),
		Before: takes("nothing", 0, 0),
		CustomHelpTemplate: help(`$ LIFTOFF_SERVE_SLOTS=4 liftoff config --grace 30s | grep -e slots -e grace -e disk
serve.slots 4 LIFTOFF_SERVE_SLOTS
serve.disk 16GiB default
serve.grace 30s --grace`),
		Action: func(c *cli.Context) error {
			dir, err := p.repo()
			if err != nil {
				return err
			}
			all, err := p.settle(c, dir, "serve")
			if err != nil {
				return err
			}
			return printList(p, c, settingListing, settingReports(all)...)
		},
	}
}
