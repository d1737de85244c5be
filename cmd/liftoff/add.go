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
		Description: `Stores files, directories with all below them, and symlinks (as such), and pins and
prints each: its CID, the bytes of its files, its name. "-" is stdin. A file that cannot
be read, or that changes meanwhile, is an error, and then nothing is pinned.

An add that was interrupted has printed and pinned nothing that it had not finished. Typed
again it reads and hashes everything once more, and writes only the blocks that are not
there yet. What it had stored waits until the next gc, or until a quota needs the room.`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "print the CIDs alone"},
			jsonFlag,
			&cli.BoolFlag{Name: "hidden", Usage: "take in what has a name that begins with a dot"},
			&cli.BoolFlag{Name: "wrap", Usage: "make one directory of all paths"},
			&cli.StringFlag{Name: "name", Usage: "pin under `NAME`; else under the CID"},
			&cli.BoolFlag{Name: "no-pin", Usage: "do not keep it: the next gc takes it"},
			noSyncFlag,
			&cli.StringFlag{Name: "profile", Value: dag.UnixFSv1.Name, Usage: "rules by which CIDs are made: `NAME` is " + dag.UnixFSv1.Name + " when left out, " + dag.UnixFSv0.Name + " for classic Qm… CIDs"},
		},
		Before: takes("a path", 1, unbounded),
		CustomHelpTemplate: help(`$ liftoff add photos/ notes.txt
bafybeid… 81318274 photos
bafkreie… 1290 notes.txt
$ tar c photos | liftoff add --quiet -
bafybeih…`),
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
		return usagef("--name names a pin, and --no-pin makes none")
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

// adder puts local files into blocks and shows how far it has come.
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

// one adds a path, or stdin for "-".
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

// wrap makes one directory of all that was added.
func wrap(ctx context.Context, blocks dag.Blocks, profile dag.Profile, all []added) ([]added, error) {
	w := dag.NewDirWriter(blocks, profile)
	for _, one := range all {
		if one.Name == "-" {
			return nil, usagef("stdin has no name in a directory: leave out --wrap")
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

// pinAdded pins each root under its CID, or all under the name that the user gave.
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

// noSyncFlag is for those who have the data elsewhere, too.
var noSyncFlag = &cli.BoolFlag{Name: "no-sync", Usage: "do not wait for the disk: what is printed survives a kill, and perhaps not a loss of power"}

// syncUnless waits for the disk, but for --no-sync.
func syncUnless(c *cli.Context, s *node.Session) error {
	if c.Bool(noSyncFlag.Name) {
		return nil
	}
	return s.Data.Sync(c.Context)
}

// isCAR reports whether a local path looks like a CAR file.
func isCAR(path string) bool { return strings.HasSuffix(strings.ToLower(path), ".car") }
