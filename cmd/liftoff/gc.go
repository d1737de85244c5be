//go:build !windows

package main

import (
	"github.com/urfave/cli/v2"

	"github.com/ipfs-liftoff/liftoff/internal/ui"
	"github.com/ipfs-liftoff/liftoff/node"
)

func gcCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:        "gc",
		Usage:       "delete unpinned blocks",
		Description: `Deletes the blocks that no pin and no running command keeps, and frees their disk space.`,
		Flags:       []cli.Flag{jsonFlag},
		Before:      takes("nothing", 0, 0),
		CustomHelpTemplate: help(`$ liftoff gc
removed  1 block (6 B)
kept     15 blocks (12 KiB)`),
		Action: p.with(func(c *cli.Context, s *node.Session) error {
			did, err := s.Maintenance.Collect(c.Context)
			if err != nil {
				return err
			}
			return p.fact(c, did, func(_ *ui.Screen, f *ui.Facts) { collectedFacts(f, did) })
		}),
	}
}
