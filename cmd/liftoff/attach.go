//go:build !windows

package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ipfs-liftoff/liftoff/internal/ui"
	"github.com/ipfs-liftoff/liftoff/node"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

func attachCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:      "attach",
		Usage:     "read CARs and folders where they lie",
		ArgsUsage: "PATH…",
		Description: `Has the blocks of a CAR file, or of a folder, count as here from now on, for every command,
and prints its roots. Nothing is copied: all of it is read and hashed once, and what is kept
of it is an index. A folder gets the CID that add would give it. A file that changes is hashed
when it is read, and refused when it holds something else; attach it again to have it read
anew. What is attached is searched after the repo, in the order in which it was attached.`,
		Flags:  []cli.Flag{jsonFlag},
		Before: takes("a CAR or a folder", 1, unbounded),
		CustomHelpTemplate: help(`$ liftoff attach /data/photos /data/archive.car
bafybeid… dir 81318274 /data/photos
bafybeih… car 10737418240 /data/archive.car
$ liftoff cat bafybeid…/beach.jpg > beach.jpg`),
		Action: p.with(func(c *cli.Context, s *node.Session) error {
			args := c.Args().Slice()
			out := newSources(p, c)
			for _, path := range args {
				kind, full, err := attachable(path)
				if err != nil {
					return err
				}
				a, err := s.Storage.Attach(c.Context, kind, full, true)
				if err != nil {
					return err
				}
				if err := out.put(a); err != nil {
					return err
				}
			}
			return out.Flush()
		}),
	}
}

// attachable returns what path is, and its absolute form.
func attachable(path string) (kind, full string, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", "", pathError(path, err)
	}
	kind = api.SourceCAR
	if info.IsDir() {
		kind = api.SourceDir
	}
	full, err = filepath.Abs(path)
	return kind, full, err
}

func detachCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:               "detach",
		Usage:              "forget what was attached",
		ArgsUsage:          "PATH…",
		Description:        `Forgets CARs and folders, and their indexes. The files stay as they are.`,
		Before:             takes("a path", 1, unbounded),
		CustomHelpTemplate: help(`$ liftoff detach /data/photos`),
		Action: p.with(func(c *cli.Context, s *node.Session) error {
			args := c.Args().Slice()
			for _, path := range args {
				full, err := filepath.Abs(path)
				if err != nil {
					return err
				}
				err = s.Storage.Detach(c.Context, full)
				if err != nil && codeOf(err) == exitNotFound {
					return hinted(err, "liftoff stats")
				}
				if err != nil {
					return err
				}
			}
			return nil
		}),
	}
}

func statsCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:  "stats",
		Usage: "print where blocks are and how many",
		Description: `Prints a line for the repo and for each CAR and folder that is attached, in the order in
which they are searched: what it is, how many blocks it has, their bytes, its path.`,
		Flags:  []cli.Flag{jsonFlag},
		Before: takes("nothing", 0, 0),
		CustomHelpTemplate: help(`$ liftoff stats
repo 2041 blocks 1290312 bytes /home/ada/.liftoff
dir 812 blocks 81318274 bytes /data/photos`),
		Action: p.with(func(c *cli.Context, s *node.Session) error {
			all, err := s.Storage.Sources(c.Context)
			if err != nil {
				return err
			}
			st := storageStatsOf(all)
			return p.fact(c, st, func(_ *ui.Screen, f *ui.Facts) { storageFacts(f, st) })
		}),
	}
}

// blocksFlag attaches something for one command.
var blocksFlag = &cli.StringSliceFlag{
	Name:  "blocks",
	Usage: "also read blocks from `KIND=PATH`, car=FILE or dir=FOLDER, in place, for this command; may be given several times",
}

// readers are the commands that read what blocks hold.
var readers = []string{"run", "verify", "get", "cat", "ls", "stat", "inspect", "car export", "dag get", "block get", "stats"}

// offerBlocks gives the commands that read blocks the flag --blocks.
func offerBlocks(cmds []*cli.Command) {
	for _, c := range cmds {
		if slices.Contains(readers, c.Name) {
			c.Flags = append(slices.Clone(c.Flags), blocksFlag)
		}
		for _, sub := range c.Subcommands {
			if slices.Contains(readers, c.Name+" "+sub.Name) {
				sub.Flags = append(slices.Clone(sub.Flags), blocksFlag)
			}
		}
	}
}

// attachFlags attaches what --blocks names, as long as the process that owns the repo lives.
func attachFlags(c *cli.Context, s *node.Session) error {
	for _, spec := range c.StringSlice(blocksFlag.Name) {
		kind, path, ok := strings.Cut(spec, "=")
		if !ok || kind != api.SourceCAR && kind != api.SourceDir {
			return usagef("--blocks %s: write it as car=FILE or dir=FOLDER", quote(spec))
		}
		is, full, err := attachable(path)
		if err != nil {
			return err
		}
		if is != kind {
			return usagef("--blocks %s: it is no %s", quote(spec), kind)
		}
		if err := attachOnce(c.Context, s, kind, full); err != nil {
			return err
		}
	}
	return nil
}

// attachOnce leaves alone what is attached for good.
func attachOnce(ctx context.Context, s *node.Session, kind, path string) error {
	_, err := s.Storage.Attach(ctx, kind, path, false)
	return err
}
