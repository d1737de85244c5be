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
		Usage: "say whose machines work for one another",
		Description: `A cluster is a key, and those who hold a membership signed for it. Its members run one
another's jobs and give one another their blocks; nobody else is let in. A repo belongs
to one cluster at most. liftoff serve makes one when there is none.`,
		CustomHelpTemplate: help(`$ liftoff cluster invite --uses 3
liftoff-join-1.…
$ ssh there liftoff serve --join liftoff-join-1.…
$ liftoff cluster ls
did:key:z6Mk… admin 2030-04-01T12:00:00Z self
did:key:z6Mk… member 2030-04-01T12:00:00Z`),
		Subcommands: []*cli.Command{clusterInitCommand(p), clusterInviteCommand(p), clusterJoinCommand(p), clusterLsCommand(p), clusterRevokeCommand(p)},
	}
}

func clusterInitCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:        "init",
		Usage:       "make a cluster",
		Description: `Makes a new cluster, whose first admin is this repo, and prints its did:key.`,
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
		Usage: "print a token that lets others join",
		Description: `Prints a token, one line. Whoever has it becomes a member, as often as --uses says: send
it on a way that you trust. Only an admin can invite. It is redeemed at the liftoff serve that runs on
this repo, at the addresses that it listens on or those of --addr.`,
		Flags: []cli.Flag{
			&cli.UintFlag{Name: "uses", Usage: "`N` machines may join with it; 1 when left out"},
			&cli.StringFlag{Name: "expires", Usage: "`DURATION` for which it is good; 24h when left out"},
			&cli.BoolFlag{Name: "admin", Usage: "who joins is an admin: invites, renews and revokes"},
			&cli.StringSliceFlag{Name: "addr", Usage: "`MULTIADDR` where it can be redeemed; may be repeated"},
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
		Name:        "join",
		Usage:       "become a member",
		ArgsUsage:   "TOKEN",
		Description: `Redeems a token of liftoff cluster invite at one of the addresses in it.`,
		Before:      takes("a token", 1, 1),
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
		Usage: "list the members that this repo knows",
		Description: `Prints a line for each member: its did:key, its role, until when it is one, and whether
it was revoked or is this repo itself.`,
		Flags:  []cli.Flag{jsonFlag},
		Before: takes("nothing", 0, 0),
		CustomHelpTemplate: help(`$ liftoff cluster ls
did:key:z6Mk… admin 2030-04-01T12:00:00Z self
did:key:z6Mk… member 2030-04-01T12:00:00Z revoked`),
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
		Usage:     "put members out",
		ArgsUsage: "DID…",
		Description: `Signs that these keys are members no more and tells all members, who cut their
connections. It cannot be taken back; a new invitation can follow. Only an admin can. The
token that a member has joined by lets nobody in any more. A key that is not known as a
member is revoked, too, with a warning: another admin may have let it in.`,
		Before:             takes("a did:key", 1, unbounded),
		CustomHelpTemplate: help(`$ liftoff cluster revoke did:key:z6Mk…`),
		Action: p.with(func(c *cli.Context, s *node.Session) error {
			members, err := s.Cluster.Members(c.Context)
			if err != nil {
				return err
			}
			for _, did := range c.Args().Slice() {
				if err := checkDID(did); err != nil {
					return err
				}
				if !slices.ContainsFunc(members, func(m api.Member) bool { return m.DID == did }) {
					p.warn("%s is not known as a member here: revoked all the same, should another admin have let it in", did)
				}
				if err := s.Cluster.Revoke(c.Context, did); err != nil {
					return err
				}
			}
			return nil
		}),
	}
}
