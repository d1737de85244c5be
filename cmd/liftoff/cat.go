//go:build !windows

package main

import (
	"math"

	"github.com/urfave/cli/v2"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/node"
)

func catCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:      "cat",
		Usage:     "write files to stdout",
		ArgsUsage: "CID[/PATH]…",
		Description: `Writes the bytes of each file to stdout, one file behind the other. With --offset and
--length, a part of each; only the blocks of that part are read.

` + refHelp,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "offset", Usage: "leave out the first `SIZE` bytes"},
			&cli.StringFlag{Name: "length", Usage: "write at most `SIZE` bytes"},
		},
		CustomHelpTemplate: help(`$ liftoff cat bafybeid…/readme.txt
hello
$ liftoff cat bafyrei…/root/report.txt --length 1KiB     # of an outcome`),
		Action: p.with(func(c *cli.Context, s *node.Session) error { return p.cat(c, s) }),
	}
}

func (p *process) cat(c *cli.Context, s *node.Session) error {
	args, err := arguments(c, "a CID", 1, unbounded)
	if err != nil {
		return err
	}
	offset, length := uint64(0), uint64(math.MaxInt64)
	if c.IsSet("offset") {
		if offset, err = parseSize(c.String("offset")); err != nil {
			return err
		}
	}
	if c.IsSet("length") {
		if length, err = parseSize(c.String("length")); err != nil {
			return err
		}
	}
	for _, arg := range args {
		root, err := p.root(c.Context, s, arg)
		if err != nil {
			return err
		}
		f, err := dag.OpenFile(c.Context, s.Blocks, root)
		if err != nil {
			return err
		}
		if _, err := f.WriteRange(c.Context, p.stdout, int64(offset), int64(length)); err != nil {
			return err
		}
	}
	return nil
}
