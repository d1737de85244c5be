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
		Usage: "show the peer id and the did:key of this repo",
		Description: `Prints the two names of the repo's key: the libp2p peer id, and the did:key that receipts
and clusters use. The key is created at its first use.`,
		Flags:  []cli.Flag{jsonFlag},
		Before: takes("nothing", 0, 0),
		CustomHelpTemplate: help(`$ liftoff id
peer  12D3KooW…
did   did:key:z6Mk…`),
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
