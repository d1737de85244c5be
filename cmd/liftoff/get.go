//go:build !windows

package main

import (
	"path"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ipfs-liftoff/liftoff/node"
)

// getFlags are those of get and job get.
var getFlags = []cli.Flag{
	&cli.PathFlag{Name: "output", Aliases: []string{"o"}, Usage: "write to `PATH`; else to the last part of the name"},
	&cli.BoolFlag{Name: "force", Usage: "write over what is there"},
}

func getCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:      "get",
		Usage:     "write files, directories and symlinks to the disk",
		ArgsUsage: "CID[/PATH]",
		Description: `Writes what the CID names into the current folder, or to --output, under a temporary
name first: an interrupted get leaves nothing half done. Nothing is written outside the
target, whatever names and symlinks the data holds. What is there is never written over,
unless --force is given: then files are replaced, with the mode that they had, and
directories are merged. A file can be written into a device or a FIFO, as it is; neither
is ever replaced, nor is a symlink: one that is the target stands for what it leads to,
and where a file of the data would come, below the target, it is refused.

` + refHelp,
		Flags:  getFlags,
		Before: takes("a CID", 1, 1),
		CustomHelpTemplate: help(`$ liftoff get bafybeid…/photos
photos
$ liftoff get bafyrei…/root -o result     # the output of an outcome
result`),
		Action: p.with(func(c *cli.Context, s *node.Session) error {
			args := c.Args().Slice()
			target := c.String("output")
			if target == "" {
				target = path.Base(strings.TrimRight(args[0], "/"))
				if err := checkEntryName(target); err != nil {
					return usagef("%s: name a place with --output", err)
				}
			}
			return p.get(c, s, args[0], target)
		}),
	}
}

func (p *process) get(c *cli.Context, s *node.Session, ref, target string) error {
	if err := checkTarget(target, c.Bool("force")); err != nil {
		return err
	}
	root, err := p.root(c.Context, s, ref)
	if err != nil {
		return err
	}
	bar := p.progress("get")
	defer bar.Close()
	blocks, stop := s.Reading(c.Context, root)
	defer stop()
	x := extraction{blocks: blocks, force: c.Bool("force"), progress: bar}
	if err := x.to(c.Context, root, target); err != nil {
		return err
	}
	bar.Close()
	return p.word(c, gotReport{root.String(), target}, target)
}
