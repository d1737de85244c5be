//go:build !windows

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/ipfs-liftoff/liftoff/abi"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/node"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

func addCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:      "add",
		Usage:     "store files and directories",
		ArgsUsage: "PATH…",
		Description: `Stores and pins each path: a file, a symlink, or a directory with everything below it. "-"
is stdin. Prints a line for each: its CID, the bytes of its files, its name. Nothing is
pinned when a file cannot be read or changes while it is read.

After an interruption, run the same command again: it reads everything again and writes
only the blocks that are missing. Blocks of the interrupted command stay until the next
liftoff gc.`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "print CIDs only"},
			jsonFlag,
			&cli.BoolFlag{Name: "hidden", Usage: "include hidden files (names starting with a dot)"},
			&cli.BoolFlag{Name: "wrap", Usage: "put all paths into one directory"},
			&cli.StringFlag{Name: "name", Usage: "`NAME` name of the pin (default: the CID)"},
			&cli.BoolFlag{Name: "no-pin", Usage: "do not pin: the next gc deletes the data"},
			noSyncFlag,
			&cli.StringFlag{Name: "profile", Value: dag.UnixFSv1.Name, Usage: "`NAME` UnixFS profile: " + dag.UnixFSv1.Name + ", or " + dag.UnixFSv0.Name + " for Qm… CIDs (default: " + dag.UnixFSv1.Name + ")"},
		},
		Before: takes("a path", 1, unbounded),
		CustomHelpTemplate: help(`$ liftoff add photos notes.txt
CID        SIZE  NAME
bafybeih…  12 B  photos
bafkreif…  14 B  notes.txt
$ tar c photos | liftoff add --quiet -
bafkreif…`),
		Action: p.with(func(c *cli.Context, s *node.Session) error { return p.add(c, s) }),
	}
}

// added is a line of add.
type added struct {
	CID  string `json:"cid"`
	Size uint64 `json:"size"`
	Name string `json:"name"`
	Kind string `json:"kind"`

	entry dag.Entry
}

func (p *process) add(c *cli.Context, s *node.Session) error {
	paths := c.Args().Slice()
	if c.Bool("no-pin") && c.IsSet("name") {
		return usagef("--name and --no-pin exclude each other")
	}
	profile, err := dag.ProfileByName(c.String("profile"))
	if err != nil {
		return usagef("%s", err)
	}
	a := adder{p: p, blocks: s.Blocks, options: dag.TreeOptions{Profile: profile, Hidden: c.Bool("hidden")}}
	all, err := a.all(c.Context, paths)
	if err != nil {
		return err
	}
	if c.Bool("wrap") {
		if all, err = wrap(c.Context, s.Blocks, profile, all); err != nil {
			return err
		}
	}
	if err := syncUnless(c, s); err != nil {
		return err
	}
	if !c.Bool("no-pin") {
		if err := pinAdded(c, s, all); err != nil {
			return err
		}
	}
	if c.Bool("quiet") && !c.Bool("json") {
		var cids []string
		for _, one := range all {
			cids = append(cids, one.CID)
		}
		return p.words(cids...)
	}
	return printList(p, c, addedListing, all...)
}

// adder stores local files as blocks and shows its progress.
type adder struct {
	p       *process
	blocks  dag.Blocks
	options dag.TreeOptions
}

func (a adder) all(ctx context.Context, paths []string) ([]added, error) {
	bar := a.p.progress("add")
	defer bar.Close()
	var all []added
	for _, path := range paths {
		entry, err := a.one(ctx, path, bar)
		if err != nil {
			return nil, err
		}
		name := filepath.Base(path)
		if path == "-" {
			name = "-"
		}
		all = append(all, newAdded(name, entry))
	}
	return all, nil
}

// one adds a path; "-" is stdin.
func (a adder) one(ctx context.Context, path string, bar *display) (dag.Entry, error) {
	if path == "-" {
		in := a.p.input(ctx)
		defer in.Close()
		entry, err := dag.AddFile(ctx, a.blocks, bar.reader(in), a.options.Profile)
		if err != nil {
			return dag.Entry{}, fmt.Errorf("add stdin: %w", err)
		}
		return entry, nil
	}
	if _, err := os.Lstat(path); err != nil {
		return dag.Entry{}, pathError(path, err)
	}
	full, err := filepath.Abs(path)
	if err != nil {
		return dag.Entry{}, err
	}
	folder, name := filepath.Split(full)
	if name == "" {
		name = "."
	}
	options, before := a.options, int64(0)
	options.Progress = func(now dag.Progress) {
		bar.add(now.Bytes - before)
		before = now.Bytes
	}
	return dag.AddTree(ctx, a.blocks, os.DirFS(folder), name, options)
}

func newAdded(name string, e dag.Entry) added {
	kind := "file"
	switch e.Kind {
	case abi.KindDirectory:
		kind = "directory"
	case abi.KindSymlink:
		kind = "symlink"
	}
	return added{CID: e.CID.String(), Size: e.Size, Name: name, Kind: kind, entry: e}
}

// wrap makes a directory that holds everything that was added.
func wrap(ctx context.Context, blocks dag.Blocks, profile dag.Profile, all []added) ([]added, error) {
	w := dag.NewDirWriter(blocks, profile)
	for _, one := range all {
		if one.Name == "-" {
			return nil, usagef("--wrap: stdin has no file name")
		}
		if err := w.Add(one.Name, one.entry); err != nil {
			return nil, usagef("--wrap: %s", err)
		}
	}
	entry, err := w.Finish(ctx)
	if err != nil {
		return nil, err
	}
	return []added{newAdded(".", entry)}, nil
}

// pinAdded pins each root under its CID, or all of them under the name of --name.
func pinAdded(c *cli.Context, s *node.Session, all []added) error {
	var pins []api.Pin
	name := c.String("name")
	for _, one := range all {
		root := api.Root{CID: one.entry.CID, Recursive: true}
		if name != "" && len(pins) > 0 {
			pins[0].Roots = append(pins[0].Roots, root)
			continue
		}
		pin := api.Pin{Name: name, Roots: []api.Root{root}, Created: time.Now()}
		if name == "" {
			pin.Name = one.CID
		}
		pins = append(pins, pin)
	}
	for _, pin := range pins {
		if err := s.Pins.Pin(c.Context, pin); err != nil {
			return err
		}
	}
	return nil
}

// noSyncFlag is for data that exists elsewhere, too.
var noSyncFlag = &cli.BoolFlag{Name: "no-sync", Usage: "do not wait for the disk: a power failure may lose the data, a killed process does not"}

// syncUnless waits for the disk, unless --no-sync is set.
func syncUnless(c *cli.Context, s *node.Session) error {
	if c.Bool(noSyncFlag.Name) {
		return nil
	}
	return s.Data.Sync(c.Context)
}

// isCAR reports whether a local path has the name of a CAR file.
func isCAR(path string) bool { return strings.HasSuffix(strings.ToLower(path), ".car") }
