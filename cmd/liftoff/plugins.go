//go:build !windows

package main

import (
	"path/filepath"

	"github.com/urfave/cli/v2"

	"github.com/ipfs-liftoff/liftoff/node"
)

// pluginDirs returns the folders that are searched for plugins after the repo's own one.
func (p *process) pluginDirs() []string { return filepath.SplitList(p.getenv("PATH")) }

func pluginsCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:  "plugins",
		Usage: "list plugins, the executors other than WebAssembly",
		Description: `A plugin is a program named liftoff-executor-NAME, in the folder plugins of the repo or in
PATH. Prints a line for each: its name, its version, its ABIs, its path, and why it is not
used. A module for a plugin is written NAME://MODULE, as in docker://alpine.

A plugin is not metered and not deterministic: its outcomes are never cached.`,
		Flags:  []cli.Flag{jsonFlag},
		Before: takes("nothing", 0, 0),
		CustomHelpTemplate: help(`$ liftoff plugins
NAME    VERSION          ABIS    PROGRAM                                 PROBLEM
docker  docker 20.10.24  docker  /usr/local/bin/liftoff-executor-docker  -
sql     -                -       /home/ada/.liftoff/plugins/liftoff-exe…  not executable`),
		Action: p.with(func(c *cli.Context, s *node.Session) error { return p.plugins(c, s) }),
	}
}

func (p *process) plugins(c *cli.Context, s *node.Session) error {
	all, err := s.Plugins.Plugins(c.Context)
	if err != nil {
		return err
	}
	return printList(p, c, pluginListing, all...)
}
