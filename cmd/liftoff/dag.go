//go:build !windows

package main

import (
	"errors"

	"github.com/ipfs/go-cid"
	"github.com/urfave/cli/v2"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/node"
)

func dagCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:        "dag",
		Usage:       "print structured data as JSON",
		Description: `Blocks of dag-cbor, dag-json and dag-pb hold structured values and links.`,
		CustomHelpTemplate: help(`$ liftoff dag get bafyreic…/st
"ok"`),
		Subcommands: []*cli.Command{dagGetCommand(p)},
	}
}

func dagGetCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:      "get",
		Usage:     "print a value as DAG-JSON",
		ArgsUsage: "CID[/PATH]",
		Description: `Prints a block, or the value at a path inside it, as one line of DAG-JSON. It decodes
dag-cbor, dag-json, dag-pb and raw; a path can lead into dag-cbor blocks only. For other
codecs, use liftoff block get.

` + refHelp,
		Before: takes("a CID", 1, 1),
		CustomHelpTemplate: help(`$ liftoff dag get bafyreic…            # an outcome
{"code":0,"fuel":6606,"lim":null,…
$ liftoff dag get bafyreic…/task/fn    # of its task
"_start"`),
		Action: p.with(func(c *cli.Context, s *node.Session) error {
			args := c.Args().Slice()
			text, err := p.valueJSON(c, s, args[0])
			if err != nil {
				return err
			}
			_, err = p.stdout.Write(append(text, '\n'))
			return err
		}),
	}
}

// valueJSON returns the value that ref names, of a block or inside one, as DAG-JSON.
func (p *process) valueJSON(c *cli.Context, s *node.Session, ref string) ([]byte, error) {
	at, err := p.resolve(c.Context, s, ref)
	if err != nil {
		return nil, err
	}
	if at.Value != nil {
		return dag.BlockJSON(dag.NewBlock(cid.DagCBOR, at.Value))
	}
	root, err := p.root(c.Context, s, at.CID.String())
	if err != nil {
		return nil, err
	}
	b, err := dag.Load(c.Context, s.Blocks, root)
	if err != nil {
		return nil, err
	}
	text, err := dag.BlockJSON(b)
	if unsupported := (*dag.UnsupportedError)(nil); errors.As(err, &unsupported) {
		return nil, hinted(err, "%s", showBlock(root))
	}
	return text, err
}

// showBlock returns the command that prints a block that is neither a file nor a directory.
func showBlock(c cid.Cid) string {
	if dag.HasJSON(c.Type()) {
		return "liftoff dag get " + c.String()
	}
	return "liftoff block get " + c.String()
}
