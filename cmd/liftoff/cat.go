//go:build !windows

package main

import (
	"math"

	"github.com/ipfs/go-cid"
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
		Before: takes("a CID", 1, unbounded),
		CustomHelpTemplate: help(`$ liftoff cat bafybeid…/readme.txt
hello
$ liftoff cat bafyrei…/root/report.txt --length 1KiB     # of an outcome`),
		Action: p.with(func(c *cli.Context, s *node.Session) error { return p.cat(c, s) }),
	}
}

// sizeFlag reads a flag that holds a size, which is otherwise when it is left out.
func sizeFlag(c *cli.Context, name string, otherwise int64) (int64, error) {
	if !c.IsSet(name) {
		return otherwise, nil
	}
	n, err := parseSize(c.String(name))
	return int64(n), err
}

func (p *process) cat(c *cli.Context, s *node.Session) error {
	offset, err := sizeFlag(c, "offset", 0)
	if err != nil {
		return err
	}
	length, err := sizeFlag(c, "length", math.MaxInt64)
	if err != nil {
		return err
	}
	for _, arg := range c.Args().Slice() {
		root, err := p.root(c.Context, s, arg)
		if err != nil {
			return err
		}
		if err := p.catRange(c, s, root, offset, length); err != nil {
			return err
		}
	}
	return nil
}

func (p *process) catRange(c *cli.Context, s *node.Session, root cid.Cid, offset, length int64) error {
	blocks, stop := s.Blocks, func() {}
	if offset == 0 && length == math.MaxInt64 {
		blocks, stop = s.Reading(c.Context, root)
	}
	defer stop()
	f, err := dag.OpenFile(c.Context, blocks, root)
	if err != nil {
		return err
	}
	_, err = f.WriteRange(c.Context, p.stdout, offset, length)
	return err
}
