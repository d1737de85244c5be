//go:build !windows

package main

import (
	"github.com/urfave/cli/v2"

	"github.com/ipfs-liftoff/liftoff/node"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

func peersCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:  "peers",
		Usage: "list peers and what they can run",
		Description: `Prints a line for each peer of the running liftoff serve: its did:key, its role, its
connection (connected, relayed, or heard of only), round-trip time, free and total slots,
free memory, executors and labels; "-" for unknown.

The role is the closest relation of the peer to this node:

   self      this node
   admin     a member that can invite and revoke members
   member    a member of the cluster: sends jobs here and runs jobs of this node
   granted   its key is in --allow-did: sends jobs here
   provider  its address is in --connect: runs jobs of this node
   content   its peer id is in --allow-peer: an IPFS node that exchanges blocks
   open      any other peer while --open is set: sends jobs here

docs/operations.md has the rights of each role.`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "self", Usage: "show only this node, with its addresses"},
			jsonFlag,
		},
		Before: takes("nothing", 0, 0),
		CustomHelpTemplate: help(`$ liftoff peers
PEER                   ROLE    STATE         RTT  SLOTS  MEMORY  ENGINES             LABELS
did:key:z6Mki4…9gLYBJ  member  connected  7.42ms    2/2  16 GiB  liftoff_v1,wasi_p1  zone=g…`),
		Action: p.with(func(c *cli.Context, s *node.Session) error {
			var peers []api.Peer
			var err error
			if c.Bool("self") {
				peers = make([]api.Peer, 1)
				peers[0], err = s.Peers.Self(c.Context)
			} else {
				peers, err = s.Peers.Peers(c.Context)
			}
			if err != nil {
				return err
			}
			return printList(p, c, peerListing(c.Bool("self")), peers...)
		}),
	}
}
