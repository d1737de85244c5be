//go:build !windows

package main

import (
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/ipfs-liftoff/liftoff/internal/ui"
	"github.com/ipfs-liftoff/liftoff/node"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

func storeCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:        "store",
		Usage:       "check and migrate the repo",
		Description: `The repo is the folder LIFTOFF_PATH (default: ~/.liftoff).`,
		CustomHelpTemplate: help(`$ liftoff store check
checked  15 blocks (12 KiB)
damaged  0`),
		Subcommands: []*cli.Command{storeCheckCommand(p), storeMigrateCommand(p)},
	}
}

func storeCheckCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:  "check",
		Usage: "read and hash every block of the repo",
		Description: `Prints a line for each damaged block (its CID, its file, the error) and then how much was
checked. A damaged block is an error. It checks the repo's own blocks, and not the CARs and
folders that are attached: their blocks are checked when they are read.`,
		Flags:  []cli.Flag{jsonFlag},
		Before: takes("nothing", 0, 0),
		CustomHelpTemplate: help(`$ liftoff store check
checked  15 blocks (12 KiB)
damaged  0`),
		Action: p.with(func(c *cli.Context, s *node.Session) error { return p.storeCheck(c, s) }),
	}
}

func (p *process) storeCheck(c *cli.Context, s *node.Session) error {
	out := newRows(p, c, damageListing)
	var unwritten error
	saw, err := s.Maintenance.Check(c.Context, func(d api.Damage) { unwritten = errors.Join(unwritten, out.put(d)) })
	if err := errors.Join(err, unwritten, out.Flush()); err != nil {
		return err
	}
	if err := p.fact(c, saw, func(_ *ui.Screen, f *ui.Facts) { checkedFacts(f, saw) }); err != nil {
		return err
	}
	if saw.Damaged > 0 {
		return hinted(fmt.Errorf("%s damaged", count(saw.Damaged, "block")),
			"liftoff add or car import the same data again: a good block replaces a damaged one")
	}
	return nil
}
