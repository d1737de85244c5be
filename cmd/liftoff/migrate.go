//go:build !windows

package main

import (
	"math"

	"github.com/urfave/cli/v2"

	"github.com/ipfs-liftoff/liftoff/internal/ui"
	"github.com/ipfs-liftoff/liftoff/node"
)

func storeMigrateCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:  "migrate",
		Usage: "move blocks of an old repo into segments",
		Description: `A repo of the first format has a file for each block. It works, and new blocks go to
segments; this moves the old blocks, too. It can be interrupted and run again. Damaged
blocks stay where they are.`,
		Flags:  []cli.Flag{jsonFlag},
		Before: takes("nothing", 0, 0),
		CustomHelpTemplate: help(`$ liftoff store migrate
moved    0 blocks (0 B)
damaged  0`),
		Action: p.with(func(c *cli.Context, s *node.Session) error {
			did, err := s.Storage.Migrate(c.Context)
			if err != nil {
				return err
			}
			return p.fact(c, did, func(_ *ui.Screen, f *ui.Facts) { migratedFacts(f, did) })
		}),
	}
}

// quota returns the disk space that blocks may use, in bytes; 0: no limit.
func (s settings) quota() (int64, error) {
	var n uint64
	if err := into(s, "quota", &n, parseSize); err != nil {
		return 0, err
	}
	return int64(min(n, math.MaxInt64)), nil
}
