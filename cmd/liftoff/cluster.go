//go:build !windows

package main

import (
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/ipfs-liftoff/liftoff/node"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

func clusterCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:  "cluster",
		Usage: "manage the group of machines that share jobs and data",
		Description: `The members of a cluster run each other's jobs and read each other's blocks. Other peers
have no access. A member has a membership that is signed for the key of the cluster. A
repo belongs to one cluster at most; liftoff serve creates one for a repo without.`,
		CustomHelpTemplate: help(`$ liftoff cluster invite --uses 3
liftoff-join-1.…
$ ssh there liftoff serve --join liftoff-join-1.…
$ liftoff cluster ls
MEMBER         ROLE    EXPIRES  NOTES
did:key:z6Mk…  admin   in 90d   self
did:key:z6Mk…  member  in 90d   -`),
		Subcommands: []*cli.Command{clusterInitCommand(p), clusterInviteCommand(p), clusterJoinCommand(p), clusterLsCommand(p), clusterRevokeCommand(p)},
	}
}

func clusterInitCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:        "init",
		Usage:       "create a cluster",
		Description: `Creates a cluster with this repo as its first admin, and prints the did:key of the cluster.`,
		Before:      takes("nothing", 0, 0),
		CustomHelpTemplate: help(`$ liftoff cluster init
did:key:z6Mk…`),
		Action: p.with(func(c *cli.Context, s *node.Session) error {
			f, err := s.Cluster.InitCluster(c.Context)
			if err != nil {
				return err
			}
			return p.word(c, f, f.DID)
		}),
	}
}

func clusterInviteCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:  "invite",
		Usage: "print a join token for new members",
		Description: `Prints a join token, one line. Each machine that presents it becomes a member, up to --uses
machines: send it over a channel that you trust. Only an admin can invite. The token names
the addresses of the liftoff serve on this repo, which must be running when it is used.`,
		Flags: []cli.Flag{
			&cli.UintFlag{Name: "uses", Usage: "`N` number of machines that can join with the token (default: 1)"},
			&cli.StringFlag{Name: "expires", Usage: "`DURATION` validity of the token (default: 24h)"},
			&cli.BoolFlag{Name: "admin", Usage: "let the new members invite, renew and revoke"},
			&cli.StringSliceFlag{Name: "addr", Usage: "`MULTIADDR` address of this node for new members; repeatable (default: those of serve)"},
		},
		Before: takes("nothing", 0, 0),
		CustomHelpTemplate: help(`$ liftoff cluster invite --uses 3 --expires 7d
liftoff-join-1.…`),
		Action: p.with(func(c *cli.Context, s *node.Session) error {
			i := api.Invitation{Uses: int(min(c.Uint("uses"), 1<<20)), Addrs: c.StringSlice("addr")}
			if text := c.String("expires"); text != "" {
				var err error
				if i.Valid, err = parseDuration(text); err != nil {
					return err
				}
			}
			if c.Bool("admin") {
				i.Role = api.RoleAdmin
			}
			token, err := s.Cluster.Invite(c.Context, i)
			if err != nil {
				return err
			}
			return p.word(c, invitationReport{token}, token)
		}),
	}
}

func clusterJoinCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:      "join",
		Usage:     "join a cluster",
		ArgsUsage: "JOIN-TOKEN",
		Description: `Joins the cluster that a join token of liftoff cluster invite names. The node that issued
the token must be reachable.`,
		Before: takes("a join token", 1, 1),
		CustomHelpTemplate: help(`$ liftoff cluster join liftoff-join-1.…
did:key:z6Mk… member`),
		Action: p.with(func(c *cli.Context, s *node.Session) error {
			args := c.Args().Slice()
			f, err := s.Cluster.JoinCluster(c.Context, args[0])
			if err != nil {
				return err
			}
			return p.word(c, f, f.DID+" "+f.Role)
		}),
	}
}

func clusterLsCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:  "ls",
		Usage: "list members",
		Description: `Prints a line for each known member: its did:key, its role, the end of its membership, and
"revoked" or "self".`,
		Flags:  []cli.Flag{jsonFlag},
		Before: takes("nothing", 0, 0),
		CustomHelpTemplate: help(`$ liftoff cluster ls
MEMBER         ROLE    EXPIRES  NOTES
did:key:z6Mk…  admin   in 90d   self
did:key:z6Mk…  member  in 90d   revoked`),
		Action: p.with(func(c *cli.Context, s *node.Session) error {
			members, err := s.Cluster.Members(c.Context)
			if err != nil {
				return err
			}
			return printList(p, c, memberListing, members...)
		}),
	}
}

func clusterRevokeCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:      "revoke",
		Usage:     "remove members",
		ArgsUsage: "DID…",
		Description: `Revokes the memberships of these keys and informs all members, which close their
connections. The join token that a removed member used becomes invalid. A revocation is
final, but the machine can be invited again. Only an admin can revoke.

A key that is not a known member is revoked, too, with a warning: another admin may have
invited it.`,
		Before:             takes("a did:key", 1, unbounded),
		CustomHelpTemplate: help(`$ liftoff cluster revoke did:key:z6Mk…`),
		Action: p.with(func(c *cli.Context, s *node.Session) error {
			for _, did := range c.Args().Slice() {
				if err := checkDID(did); err != nil {
					return hinted(err, "liftoff cluster ls")
				}
			}
			members, err := s.Cluster.Members(c.Context)
			if err != nil {
				return err
			}
			for _, did := range c.Args().Slice() {
				if !slices.ContainsFunc(members, func(m api.Member) bool { return m.DID == did }) {
					p.warn("%s is not a known member; revoked anyway, as another admin may have invited it", did)
				}
				if err := s.Cluster.Revoke(c.Context, did); err != nil {
					return err
				}
			}
			return nil
		}),
	}
}
