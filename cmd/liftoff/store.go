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
		Usage:       "look after the repo",
		Description: `The repo is the folder LIFTOFF_PATH, ~/.liftoff when that is not set.`,
		CustomHelpTemplate: help(`$ liftoff store verify
checked 2041 blocks (1.2 GiB), 0 damaged`),
		Subcommands: []*cli.Command{storeVerifyCommand(p), storeMigrateCommand(p)},
	}
}

func storeVerifyCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:  "verify",
		Usage: "read and hash every block of the repo",
		Description: `Prints a line for each damaged block (its CID, where it is, what is wrong) and then
how much was checked. The exit code is 125 when a block is damaged. It checks the repo's
own blocks, and not the CARs and folders that are attached: what is read of these is
checked when it is read.`,
		Flags:  []cli.Flag{jsonFlag},
		Before: takes("nothing", 0, 0),
		CustomHelpTemplate: help(`$ liftoff store verify
checked 2041 blocks (1.2 GiB), 0 damaged`),
		Action: p.with(func(c *cli.Context, s *node.Session) error { return p.storeVerify(c, s) }),
	}
}

func (p *process) storeVerify(c *cli.Context, s *node.Session) error {
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
		return hinted(fmt.Errorf("%s in the repo are damaged", count(saw.Damaged, "block")),
			"add or car import the same data again: a good block replaces a damaged one")
	}
	return nil
}
