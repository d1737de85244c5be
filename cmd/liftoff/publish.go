//go:build !windows

package main

import (
	"github.com/urfave/cli/v2"

	"github.com/ipfs-liftoff/liftoff/node"
)

func publishCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:      "publish",
		Usage:     "let peers outside the cluster have data",
		ArgsUsage: "[CID[/PATH]…]",
		Description: `Serves what each CID names, and all below it, to the peers of serve --allow-peer and
--allow-did, and under --open to every peer; their jobs read it here. Nothing else goes to
them. Pin it, too: what is collected cannot be served.
Without a CID, prints what is published, and since when.

` + refHelp,
		Flags:  []cli.Flag{jsonFlag},
		Before: takes("a CID", 0, unbounded),
		CustomHelpTemplate: help(`$ liftoff publish bafybeid…
$ liftoff publish
bafybeid… 2030-01-01T12:00:00Z`),
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
		Usage:              "let them have it no more",
		ArgsUsage:          "CID[/PATH]…",
		Description:        `Ends what liftoff publish began. Peers keep what they have got.`,
		Before:             takes("a CID", 1, unbounded),
		CustomHelpTemplate: help(`$ liftoff unpublish bafybeid…`),
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
