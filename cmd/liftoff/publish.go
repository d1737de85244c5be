//go:build !windows

package main

import (
	"github.com/urfave/cli/v2"

	"github.com/ipfs-liftoff/liftoff/node"
)

func publishCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:      "publish",
		Usage:     "make data available to peers outside the cluster",
		ArgsUsage: "[CID[/PATH]…]",
		Description: `Publishes DAGs: the peers of serve --allow-peer and --allow-did, and with --open every
peer, can read their blocks, also from jobs. Other blocks stay private. Pin published data,
so that liftoff gc does not delete it.

Without a CID, prints a line for each published DAG: its CID and the time.

` + refHelp,
		Flags:  []cli.Flag{jsonFlag},
		Before: takes("a CID", 0, unbounded),
		CustomHelpTemplate: help(`$ liftoff publish bafybeih…
$ liftoff publish
CID        PUBLISHED
bafybeih…  now`),
		Action: p.with(func(c *cli.Context, s *node.Session) error {
			if c.Args().Len() == 0 {
				return p.listPublished(c, s)
			}
			for _, ref := range c.Args().Slice() {
				root, err := p.root(c.Context, s, ref)
				if err != nil {
					return err
				}
				if err := s.Publishing.Publish(c.Context, root); err != nil {
					return err
				}
			}
			return nil
		}),
	}
}

func (p *process) listPublished(c *cli.Context, s *node.Session) error {
	all, err := s.Publishing.Published(c.Context)
	if err != nil {
		return err
	}
	return printList(p, c, publishedListing, all...)
}

func unpublishCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:               "unpublish",
		Usage:              "stop publishing",
		ArgsUsage:          "CID[/PATH]…",
		Description:        `Undoes liftoff publish. Peers keep the blocks that they have already read.`,
		Before:             takes("a CID", 1, unbounded),
		CustomHelpTemplate: help(`$ liftoff unpublish bafybeih…`),
		Action: p.with(func(c *cli.Context, s *node.Session) error {
			for _, ref := range c.Args().Slice() {
				at, err := p.resolve(c.Context, s, ref)
				if err != nil {
					return err
				}
				if err := s.Publishing.Unpublish(c.Context, at.CID); err != nil {
					return hinted(err, "liftoff publish")
				}
			}
			return nil
		}),
	}
}
