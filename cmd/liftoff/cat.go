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
		Description: `Writes the bytes of the files to stdout, one after the other. With --offset and --length
it writes a part of each file and reads only the blocks of that part.

` + refHelp,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "offset", Usage: "`SIZE` bytes to skip at the beginning of each file (default: 0)"},
			&cli.StringFlag{Name: "length", Usage: "`SIZE` bytes of each file (default: all)"},
		},
		Before: takes("a CID", 1, unbounded),
		CustomHelpTemplate: help(`$ liftoff cat bafybeih…/a.txt
hello
$ liftoff cat bafyreic…/root/greeting.txt --length 4     # of an outcome
hell`),
		Action: p.with(func(c *cli.Context, s *node.Session) error { return p.cat(c, s) }),
	}
}

// sizeFlag returns the value of a flag that is a size, or otherwise when the flag is not set.
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
