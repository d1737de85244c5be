//go:build !windows

package main

import (
	"github.com/ipfs/go-cid"
	"github.com/ipld/go-ipld-prime/datamodel"
	"github.com/urfave/cli/v2"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/node"
)

func dagCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:        "dag",
		Usage:       "look into structured data",
		Description: `Blocks of dag-cbor and dag-pb hold structured values and links.`,
		CustomHelpTemplate: help(`$ liftoff dag get bafyrei…/st
"ok"`),
		Subcommands: []*cli.Command{dagGetCommand(p)},
	}
}

func dagGetCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:      "get",
		Usage:     "print a value as DAG-JSON",
		ArgsUsage: "CID[/PATH]",
		Description: `Prints a block, or the value inside it that the path leads to, as one line of DAG-JSON.

` + refHelp,
		Before: takes("a CID", 1, 1),
		CustomHelpTemplate: help(`$ liftoff dag get bafyrei…            # an outcome
{"code":0,"fuel":0,"lim":null,…}
$ liftoff dag get bafyrei…/task/args  # of its task
["/in/text"]`),
		Action: p.with(func(c *cli.Context, s *node.Session) error {
			args := c.Args().Slice()
			value, err := p.value(c, s, args[0])
			if err != nil {
				return err
			}
			out := p.lines(false)
			if err := dag.WriteJSON(out, value); err != nil {
				return err
			}
			return out.line("")
		}),
	}
}

// value returns what a reference names: a block's value, or one inside it.
func (p *process) value(c *cli.Context, s *node.Session, ref string) (datamodel.Node, error) {
	at, err := p.resolve(c.Context, s, ref)
	if err != nil {
		return nil, err
	}
	if at.Value != nil {
		return dag.Decode(dag.NewBlock(cid.DagCBOR, at.Value))
	}
	root, err := p.root(c.Context, s, at.CID.String())
	if err != nil {
		return nil, err
	}
	b, err := dag.Load(c.Context, s.Blocks, root)
	if err != nil {
		return nil, err
	}
	return dag.Decode(b)
}
