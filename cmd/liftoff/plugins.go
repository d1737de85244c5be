//go:build !windows

package main

import (
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ipfs-liftoff/liftoff/node"
)

// pluginDirs is where plugins are looked for, behind the repo's own folder.
func (p *process) pluginDirs() []string { return filepath.SplitList(p.getenv("PATH")) }

func pluginsCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:  "plugins",
		Usage: "list the executors that are programs of their own",
		Description: `A plugin is a program named liftoff-executor-NAME, in the folder plugins of the repo or
on PATH. Each is started and asked; one that is not taken has a line that says why. A
module for a plugin is written NAME://MODULE: docker://alpine is an image.

What a plugin runs is not metered: its outcome says nothing of the next run, and is never
cached.`,
		Flags:  []cli.Flag{jsonFlag},
		Before: takes("nothing", 0, 0),
		CustomHelpTemplate: help(`$ liftoff plugins
docker  docker 20.10.24  docker  /usr/local/bin/liftoff-executor-docker
sql     not taken: not executable  /home/me/.liftoff/plugins/liftoff-executor-sql`),
		Action: p.with(func(c *cli.Context, s *node.Session) error { return p.plugins(c, s) }),
	}
}

func (p *process) plugins(c *cli.Context, s *node.Session) error {
	all, err := s.Plugins.Plugins(c.Context)
	if err != nil {
		return err
	}
	out := p.lines(c.Bool("json"))
	for _, f := range all {
		if f.Problem != "" {
			err = out.put(f, "%s\tnot taken: %s\t%s", clean(f.Name), clean(f.Problem), clean(f.Program))
		} else {
			err = out.put(f, "%s\t%s\t%s\t%s", clean(f.Name), clean(f.Version), clean(strings.Join(f.ABIs, ",")), clean(f.Program))
		}
		if err != nil {
			return err
		}
	}
	return out.Flush()
}
