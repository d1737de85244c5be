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
		Usage: "list the other nodes, and what they can run",
		Description: `Prints a line for each peer of the running liftoff serve: its did:key, its role, whether
it is connected, relayed or only heard of, the time to it and back, its free slots of
all, its free memory, its engines, and its labels; "-" where that is not known.

The role is the closest of what the peer is to this node:
   self      this node itself
   admin     a member that may invite and revoke members
   member    it belongs to the cluster: each may use the other
   granted   --allow-did lists its key: it may send jobs, and gets none
   provider  --connect gave its address: it gets jobs, and may send none
   content   --allow-peer lists it: an IPFS node to exchange blocks with, without jobs
   open      any other peer, under --open: it may send jobs, and gets none
docs/operations.md says what each may do.`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "self", Usage: "this node alone, and its addresses behind the rest"},
			jsonFlag,
		},
		Before: takes("nothing", 0, 0),
		CustomHelpTemplate: help(`$ liftoff peers
did:key:z6Mk… member connected 1.2ms 3/4 11.2 GiB liftoff_v1,wasi_p1 zone=garage`),
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
