//go:build !windows

package main

import (
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
		Name:  "attach",
		Usage: "use CAR files and folders in place, without copying them",
		Description: `The blocks of an attached file can be used like those of the repo, but do not count for the
quota, and gc and store check do not touch them. They are searched after the repo's own, in
the order in which they were attached. For a single command, use its flag --blocks instead.`,
		CustomHelpTemplate: help(`$ liftoff attach add photos
CID            KIND  STATE  BLOCKS   SIZE  PATH
bafybe…v2o2nq  dir   ok          4  165 B  /home/ada/photos
$ liftoff cat bafybeih…/a.txt
hello
$ liftoff attach rm photos`),
		Subcommands: []*cli.Command{attachAddCommand(p), attachLsCommand(p), attachRmCommand(p)},
	}
}

func attachAddCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:      "add",
		Usage:     "attach CAR files and folders",
		ArgsUsage: "PATH…",
		Description: `Reads and hashes each file once, keeps an index of its blocks, and prints a line for each
root. Nothing is copied. A folder has the CID that liftoff add would give it.

A file that has changed since then is refused when it is read. Attach it again to update
the index.`,
		Flags:  []cli.Flag{jsonFlag},
		Before: takes("a CAR file or a folder", 1, unbounded),
		CustomHelpTemplate: help(`$ liftoff attach add photos archive.car
CID            KIND  STATE  BLOCKS   SIZE  PATH
bafybe…v2o2nq  dir   ok          4  165 B  /home/ada/photos
bafybe…v2o2nq  car   ok          4  165 B  /home/ada/archive.car`),
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

func attachLsCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:  "ls",
		Usage: "list attached files and their state",
		Description: `Prints a line for each root of the attached CAR files and folders, in the order in which
they are searched. The state is

   ok        no file has changed since it was attached
   changed   a file has changed or is missing: attach it again
   missing   the path does not exist
   damaged   the index of its blocks cannot be read: remove it and attach it again`,
		Flags:  []cli.Flag{jsonFlag},
		Before: takes("nothing", 0, 0),
		CustomHelpTemplate: help(`$ liftoff attach ls
CID            KIND  STATE    BLOCKS   SIZE  PATH
bafybe…v2o2nq  dir   ok            4  165 B  /home/ada/photos
bafybe…v2o2nq  car   changed       4  165 B  /home/ada/archive.car`),
		Action: p.with(func(c *cli.Context, s *node.Session) error {
			all, err := s.Storage.Sources(c.Context)
			if err != nil {
				return err
			}
			out := newSources(p, c)
			for _, a := range all {
				if a.Kind == api.SourceRepo {
					continue
				}
				if err := out.put(a); err != nil {
					return err
				}
			}
			return out.Flush()
		}),
	}
}

// attachable returns the kind of path and its absolute form.
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

func attachRmCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:               "rm",
		Usage:              "detach CAR files and folders",
		ArgsUsage:          "PATH…",
		Description:        `Removes the indexes of attached files from the repo. The files themselves stay.`,
		Before:             takes("a path", 1, unbounded),
		CustomHelpTemplate: help(`$ liftoff attach rm photos`),
		Action: p.with(func(c *cli.Context, s *node.Session) error {
			args := c.Args().Slice()
			for _, path := range args {
				full, err := filepath.Abs(path)
				if err != nil {
					return err
				}
				err = s.Storage.Detach(c.Context, full)
				if err != nil && codeOf(err) == exitNotFound {
					return hinted(err, "liftoff attach ls")
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
		Usage: "show block counts and sizes of the repo and attached files",
		Description: `Prints the path of the repo, the number and size of its blocks, the disk space of its block
files, and how many files are attached, with the number and size of their blocks.

This counts everything that the repo holds. For one file, directory or DAG: liftoff stat.`,
		Flags:  []cli.Flag{jsonFlag},
		Before: takes("nothing", 0, 0),
		CustomHelpTemplate: help(`$ liftoff stats
repo             /home/ada/.liftoff
blocks           14
size             2 KiB
disk             4.8 KiB
attached         2
attached blocks  8
attached size    330 B`),
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

// blocksFlag attaches a file or a folder for one command.
var blocksFlag = &cli.StringSliceFlag{
	Name:  "blocks",
	Usage: "`KIND=PATH` CAR file (car=FILE) or folder (dir=FOLDER), attached for this command; repeatable",
}

// readers lists the commands that have the flag --blocks: those that read content.
var readers = []string{"run", "verify", "get", "cat", "ls", "stat", "inspect", "car export", "dag get", "block get", "stats"}

// offerBlocks adds the flag --blocks to the commands in readers.
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

// attachFlags attaches the files of --blocks. They stay attached until the owner of the repo ends.
func attachFlags(c *cli.Context, s *node.Session) error {
	for _, spec := range c.StringSlice(blocksFlag.Name) {
		kind, path, ok := strings.Cut(spec, "=")
		if !ok || kind != api.SourceCAR && kind != api.SourceDir {
			return usagef("--blocks %s: want car=FILE or dir=FOLDER", quote(spec))
		}
		is, full, err := attachable(path)
		if err != nil {
			return err
		}
		if is != kind {
			return usagef("--blocks %s: %s is a %s, want a %s", quote(spec), quote(path), is, kind)
		}
		if _, err := s.Storage.Attach(c.Context, kind, full, false); err != nil {
			return err
		}
	}
	return nil
}
