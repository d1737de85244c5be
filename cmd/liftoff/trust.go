//go:build !windows

package main

import (
	"github.com/urfave/cli/v2"

	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node"
)

func trustCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:  "trust",
		Usage: "name the keys whose receipts count as runs of your own",
		Description: `A receipt of a key that is trusted answers liftoff run as an outcome computed here would.
Other people's receipts count for nothing until they are run again, with liftoff verify
--reexec. Receipts of the key that are here count at once.`,
		CustomHelpTemplate: help(`$ liftoff trust add did:key:z6Mk… --note "the build machine"
$ liftoff trust ls
did:key:z6Mk… 2030-01-01T12:00:00Z the build machine`),
		Subcommands: []*cli.Command{trustAddCommand(p), trustLsCommand(p), trustRmCommand(p)},
	}
}

func trustAddCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:        "add",
		Usage:       "trust a key",
		ArgsUsage:   "DID",
		Description: `Trusts a key, as liftoff id prints it on its machine. The note of one that is trusted is replaced.`,
		Flags:       []cli.Flag{&cli.StringFlag{Name: "note", Usage: "`TEXT` to remember it by"}},
		Before:      takes("a did:key", 1, 1),
		CustomHelpTemplate: help(`$ ssh there liftoff id
peer 12D3KooW…
did  did:key:z6Mk…
$ liftoff trust add did:key:z6Mk…`),
		Action: p.with(func(c *cli.Context, s *node.Session) error {
			args := c.Args().Slice()
			if err := checkDID(args[0]); err != nil {
				return err
			}
			return s.Trust.Trust(c.Context, args[0], c.String("note"))
		}),
	}
}

func checkDID(word string) error {
	if _, err := job.DID(word).Key(); err != nil {
		return hinted(usagef("%s", err), "liftoff id prints a machine's own, liftoff receipt ls those of receipts")
	}
	return nil
}

func trustLsCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:        "ls",
		Usage:       "list the keys that are trusted",
		Description: `Prints a line for each key: its did:key, since when it is trusted, the note.`,
		Flags:       []cli.Flag{jsonFlag},
		Before:      takes("nothing", 0, 0),
		CustomHelpTemplate: help(`$ liftoff trust ls
did:key:z6Mk… 2030-01-01T12:00:00Z the build machine`),
		Action: p.with(func(c *cli.Context, s *node.Session) error {
			keys, err := s.Trust.Trusted(c.Context)
			if err != nil {
				return err
			}
			return printList(p, c, trustListing, keys...)
		}),
	}
}

func trustRmCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:               "rm",
		Usage:              "trust keys no more",
		ArgsUsage:          "DID…",
		Description:        `Takes the trust back: their receipts answer nothing any more, and stay.`,
		Before:             takes("a did:key", 1, unbounded),
		CustomHelpTemplate: help(`$ liftoff trust rm did:key:z6Mk…`),
		Action: p.with(func(c *cli.Context, s *node.Session) error {
			for _, did := range c.Args().Slice() {
				if err := checkDID(did); err != nil {
					return err
				}
				if err := s.Trust.Distrust(c.Context, did); err != nil {
					return hinted(err, "liftoff trust ls")
				}
			}
			return nil
		}),
	}
}
