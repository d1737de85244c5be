//go:build !windows

package main

import (
	"github.com/urfave/cli/v2"

	"github.com/ipfs-liftoff/liftoff/internal/ui"
	"github.com/ipfs-liftoff/liftoff/node"
)

func idCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:  "id",
		Usage: "print who signs this repo's receipts",
		Description: `Prints the two names of the repo's key, which is made when it is first needed: the peer
id, by which libp2p knows it, and the did:key, by which receipts do.`,
		Flags:  []cli.Flag{jsonFlag},
		Before: takes("nothing", 0, 0),
		CustomHelpTemplate: help(`$ liftoff id
peer 12D3KooW…
did  did:key:z6Mk…`),
		Action: p.with(func(c *cli.Context, s *node.Session) error {
			id, err := s.Identity.Identity(c.Context)
			if err != nil {
				return err
			}
			return p.fact(c, id, func(_ *ui.Screen, f *ui.Facts) {
				f.Add("peer", ui.Text(id.PeerID))
				f.Add("did", ui.Text(id.DID))
			})
		}),
	}
}
