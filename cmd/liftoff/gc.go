//go:build !windows

package main

import (
	"github.com/urfave/cli/v2"

	"github.com/ipfs-liftoff/liftoff/internal/ui"
	"github.com/ipfs-liftoff/liftoff/node"
)

func gcCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:  "gc",
		Usage: "remove what no pin keeps",
		Description: `Removes the blocks that no pin reaches and that no command is using, and gives their
room on the disk back.`,
		Flags:  []cli.Flag{jsonFlag},
		Before: takes("nothing", 0, 0),
		CustomHelpTemplate: help(`$ liftoff gc
removed 312 blocks (81.3 MiB), kept 2041 blocks (1.2 GiB)`),
		Action: p.with(func(c *cli.Context, s *node.Session) error {
			did, err := s.Maintenance.Collect(c.Context)
			if err != nil {
				return err
			}
			return p.fact(c, did, func(_ *ui.Screen, f *ui.Facts) { collectedFacts(f, did) })
		}),
	}
}
