//go:build !windows

package main

import (
	"path"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ipfs-liftoff/liftoff/node"
)

// getFlags returns the flags of get and job get; target is the default of --output.
func getFlags(target string) []cli.Flag {
	return []cli.Flag{
		&cli.PathFlag{Name: "output", Aliases: []string{"o"}, Usage: "`PATH` output file or folder (default: " + target + ")"},
		&cli.BoolFlag{Name: "force", Usage: "replace existing files"},
	}
}

func getCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:      "get",
		Usage:     "write files and directories to the disk",
		ArgsUsage: "CID[/PATH]",
		Description: `Writes a file, directory or symlink to the current folder or to --output. It has a
temporary name until it is complete: an interrupted get leaves nothing behind. Nothing is
written outside the target, whatever names and symlinks the data holds.

Existing files are kept, and are an error, unless --force is set: then files are replaced,
with their old mode, and directories are merged. Symlinks are never replaced: one that is
the target is followed, one below the target is an error. A file can be written into a
device or a FIFO.

` + refHelp,
		Flags:  getFlags("the last part of the name"),
		Before: takes("a CID", 1, 1),
		CustomHelpTemplate: help(`$ liftoff get bafybeih…/a.txt
a.txt
$ liftoff get bafyreic…/root -o result     # the output of an outcome
result`),
		Action: p.with(func(c *cli.Context, s *node.Session) error {
			args := c.Args().Slice()
			target := c.String("output")
			if target == "" {
				target = path.Base(strings.TrimRight(args[0], "/"))
				if err := checkEntryName(target); err != nil {
					return hinted(usagef("choose a name for the output: %s", err), "liftoff get %s --output PATH", quote(args[0]))
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
