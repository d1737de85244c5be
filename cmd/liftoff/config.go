//go:build !windows

package main

import (
	"github.com/urfave/cli/v2"
)

func configCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:  "config",
		Usage: "show the effective settings and where each one comes from",
		Description: `Prints a line for each setting: its key, its value ("-" for none), and its source: default,
config.yaml, an environment variable, or a flag. The flags are those of liftoff serve, to
show their effect. Tokens are not shown.

Settings are read from config.yaml in the repo, from the environment and from flags; the
last of these wins. The file is YAML, one level for each dot of a key. Unknown keys are
errors, and so are unknown variables LIFTOFF_SERVE_*: see liftoff help environment.

   quota: 500GiB
   serve:
     slots: 4
     label: {zone: garage, gpu: "no"}
     metrics: 127.0.0.1:9100

The key quota, which has no flag, limits the disk space of all blocks in the repo
(default: no limit). serve.disk limits the part of it for other peers.`,
		Flags:  append(flagsOf("serve"), jsonFlag),
		Before: takes("nothing", 0, 0),
		CustomHelpTemplate: help(`$ export LIFTOFF_SERVE_SLOTS=4
$ liftoff config --grace 30s | grep -e slots -e grace -e disk
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
