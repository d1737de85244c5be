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
		Usage: "move blocks that have a file each into segments",
		Description: `A repo of the first format has a file for each block. Such a repo works as it is: what is
new goes to segments. This moves the rest, too. It can be interrupted and run again; damaged
blocks stay where they are.`,
		Flags:  []cli.Flag{jsonFlag},
		Before: takes("nothing", 0, 0),
		CustomHelpTemplate: help(`$ liftoff store migrate
moved 2041 blocks (1.2 GiB), left 0 damaged ones`),
		Action: p.with(func(c *cli.Context, s *node.Session) error {
			did, err := s.Storage.Migrate(c.Context)
			if err != nil {
				return err
			}
			return p.fact(c, did, func(_ *ui.Screen, f *ui.Facts) { migratedFacts(f, did) })
		}),
	}
}

// quota returns the room that blocks may take, in bytes; 0 is none.
func (s settings) quota() (int64, error) {
	var n uint64
	if err := into(s, "quota", &n, parseSize); err != nil {
		return 0, err
	}
	return int64(min(n, math.MaxInt64)), nil
}
