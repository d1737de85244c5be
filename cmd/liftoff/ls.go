//go:build !windows

package main

import (
	"context"
	"errors"
	"path"

	"github.com/urfave/cli/v2"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/node"
)

func lsCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:      "ls",
		Usage:     "list a directory",
		ArgsUsage: "CID[/PATH]",
		Description: `Prints a line for each entry: its CID, its size ("-" unless it is a file), and its
name, with "/" after a directory and "@" after a symlink. The size is "?" when the block is
not in the repo. It is also "?" when the block is malformed or unreadable; then a line on
stderr gives the reason, and the exit code is 125. Names that do not print are quoted;
--json has them as they are. A large directory is listed in the order of its hashes.

` + refHelp,
		Flags:  []cli.Flag{jsonFlag},
		Before: takes("a CID", 1, 1),
		CustomHelpTemplate: help(`$ liftoff ls bafybeih…
CID        SIZE  NAME
bafkreic…   6 B  a.txt
bafybeic…     -  sub/`),
		Action: p.with(func(c *cli.Context, s *node.Session) error { return p.ls(c, s) }),
	}
}

// listed is a line of ls.
type listed struct {
	Name   string `json:"name"`
	CID    string `json:"cid"`
	Kind   string `json:"kind"` // "missing": not in the repo; "malformed": not a valid block
	Size   *int64 `json:"size,omitempty"`
	Target string `json:"target,omitempty"`
}

func (p *process) ls(c *cli.Context, s *node.Session) error {
	args := c.Args().Slice()
	root, err := p.root(c.Context, s, args[0])
	if err != nil {
		return err
	}
	out := newRows(p, c, dirListing)
	broken := 0
	show := func(e dag.DirEntry) error {
		l, err := list(c.Context, s.Blocks, e)
		if err != nil && c.Context.Err() != nil {
			return err
		}
		if err != nil {
			broken++
			l.Kind, l.Size, l.Target = "malformed", nil, ""
			p.say("liftoff: error: %s: %s", quote(e.Name), err)
		}
		return out.put(l)
	}
	kind, _, _, err := describe(c.Context, s.Blocks, root)
	if err != nil {
		return err
	}
	switch kind {
	case "directory":
		d, err := dag.OpenDir(c.Context, s.Blocks, root)
		if err != nil {
			return err
		}
		err = errors.Join(d.Each(c.Context, show), out.Flush())
		if err == nil && broken > 0 {
			return exited(exitFault)
		}
		return err
	case "file", "symlink":
		if err := show(dag.DirEntry{Name: path.Base(args[0]), CID: root}); err != nil {
			return err
		}
		return out.Flush()
	}
	return hinted(usagef("%s is a %s block, want a directory", root, kind), "%s", showBlock(root))
}

// list finds the kind and the size of an entry.
func list(ctx context.Context, blocks dag.Blocks, e dag.DirEntry) (listed, error) {
	l := listed{Name: e.Name, CID: e.CID.String()}
	var err error
	l.Kind, l.Size, l.Target, err = describe(ctx, blocks, e.CID)
	var missing *dag.NotFoundError
	if errors.As(err, &missing) {
		l.Kind, l.Size, err = "missing", nil, nil
	}
	return l, err
}
