//go:build !windows

package main

import (
	"context"

	"github.com/ipfs/go-cid"
	"github.com/urfave/cli/v2"

	"github.com/ipfs-liftoff/liftoff/abi"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/internal/ui"
	"github.com/ipfs-liftoff/liftoff/node"
)

func statCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:      "stat",
		Usage:     "describe content: its kind, size and blocks in the repo",
		ArgsUsage: "CID[/PATH]",
		Description: `Prints the kind of the content, the size of a file, how many of the blocks below it are in
the repo, and their bytes. Only blocks with links are read.

This is about one file, directory or DAG. For the whole repo: liftoff stats.

` + refHelp,
		Flags:  []cli.Flag{jsonFlag},
		Before: takes("a CID", 1, 1),
		CustomHelpTemplate: help(`$ liftoff stat bafybeih…
cid     bafybeih…
kind    directory
blocks  4 of 4
bytes   165 B`),
		Action: p.with(func(c *cli.Context, s *node.Session) error { return p.stat(c, s) }),
	}
}

// status is the answer of stat.
type status struct {
	CID     string `json:"cid"`
	Kind    string `json:"kind"`
	Size    *int64 `json:"size,omitempty"`   // of a file, in bytes
	Target  string `json:"target,omitempty"` // of a symlink
	Blocks  int64  `json:"blocks"`           // distinct, held or missing
	Held    int64  `json:"held"`
	Bytes   int64  `json:"bytes"`            // of the blocks that are held
	Missing int64  `json:"missing"`          // blocks below these are not counted
	Opaque  int64  `json:"opaque,omitempty"` // blocks whose links cannot be read; blocks below these are not counted
}

func (p *process) stat(c *cli.Context, s *node.Session) error {
	args := c.Args().Slice()
	root, err := p.root(c.Context, s, args[0])
	if err != nil {
		return err
	}
	st := status{CID: root.String()}
	if st.Kind, st.Size, st.Target, err = describe(c.Context, s.Blocks, root); err != nil {
		return err
	}
	extent, err := dag.Count(c.Context, s.Blocks, root)
	if err != nil {
		return err
	}
	if err := c.Context.Err(); err != nil {
		return err
	}
	st.Blocks, st.Held, st.Missing, st.Bytes = extent.Blocks, extent.Blocks-extent.Missing, extent.Missing, extent.Bytes
	st.Opaque = extent.Opaque
	return p.fact(c, st, func(_ *ui.Screen, f *ui.Facts) { statFacts(f, st) })
}

// describe returns the kind of c, the size of a file, and the target of a symlink.
func describe(ctx context.Context, blocks dag.Blocks, c cid.Cid) (kind string, size *int64, target string, err error) {
	k, err := dag.Kind(ctx, blocks, c)
	if err != nil {
		return "", nil, "", err
	}
	switch k {
	case abi.KindRaw, abi.KindFile:
		if sizes, ok := blocks.(dag.Sizer); ok && k == abi.KindRaw {
			n, err := sizes.Size(ctx, c)
			return "file", &n, "", err
		}
		f, err := dag.OpenFile(ctx, blocks, c)
		if err != nil {
			return "", nil, "", err
		}
		defer f.Close()
		n := f.Size()
		return "file", &n, "", nil
	case abi.KindDirectory:
		return "directory", nil, "", nil
	case abi.KindSymlink:
		target, err := dag.ReadLink(ctx, blocks, c)
		return "symlink", nil, target, err
	}
	return codecName(c.Type()), nil, "", nil
}
