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
		Usage: "choose whose results are accepted without running them again",
		Description: `A receipt of a trusted key answers liftoff run like a cached result of this repo. That
includes receipts that are already in the repo. Receipts of other keys are accepted only
after liftoff verify --reexec.`,
		CustomHelpTemplate: help(`$ liftoff trust add did:key:z6Mk… --note "the build machine"
$ liftoff trust ls
KEY            TRUSTED  NOTE
did:key:z6Mk…  26s ago  the build machine`),
		Subcommands: []*cli.Command{trustAddCommand(p), trustLsCommand(p), trustRmCommand(p)},
	}
}

func trustAddCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:      "add",
		Usage:     "trust a key",
		ArgsUsage: "DID",
		Description: `Trusts a did:key, as liftoff id shows it on the other machine. The note of a trusted key is
replaced.`,
		Flags:  []cli.Flag{&cli.StringFlag{Name: "note", Usage: "`TEXT` note for trust ls (default: none)"}},
		Before: takes("a did:key", 1, 1),
		CustomHelpTemplate: help(`$ ssh -t there liftoff id
peer  12D3KooW…
did   did:key:z6Mk…
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
		return hinted(usagef("%s", err), "liftoff id on the other machine, or liftoff receipt ls")
	}
	return nil
}

func trustLsCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:        "ls",
		Usage:       "list trusted keys",
		Description: `Prints a line for each key: its did:key, when it was added, its note.`,
		Flags:       []cli.Flag{jsonFlag},
		Before:      takes("nothing", 0, 0),
		CustomHelpTemplate: help(`$ liftoff trust ls
KEY            TRUSTED  NOTE
did:key:z6Mk…  26s ago  the build machine`),
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
		Usage:              "stop trusting keys",
		ArgsUsage:          "DID…",
		Description:        `Removes keys from the trusted ones. Their receipts stay, but do not answer liftoff run.`,
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
