//go:build !windows

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/urfave/cli/v2"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/internal/ui"
	"github.com/ipfs-liftoff/liftoff/node"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

func carCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:        "car",
		Usage:       "move data as CAR files",
		Description: `A CAR is a file of blocks, which any IPFS tool reads.`,
		CustomHelpTemplate: help(`$ liftoff car export bafybeid… -o photos.car
$ liftoff car import photos.car
bafybeid…`),
		Subcommands: []*cli.Command{carExportCommand(p), carImportCommand(p)},
	}
}

func carExportCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:      "export",
		Usage:     "write DAGs as a CAR",
		ArgsUsage: "CID[/PATH]…",
		Description: `Writes the blocks of each DAG, once each, to stdout or to --output. The CAR of an
outcome holds the outcome, its task, the output, stdout and stderr: neither the module
nor inputs, nor parts of inputs that the output links to, unless --full is given. That
of a receipt holds the same and the receipt.

A block whose links cannot be read is written with what its pin keeps beside it, see
liftoff car import. Without such a pin it is an error: with --opaque it is written
without what it links to.

` + refHelp,
		Flags:  exportFlags,
		Before: takes("a CID", 1, unbounded),
		CustomHelpTemplate: help(`$ liftoff car export bafybeid… > photos.car
$ liftoff car export bafybeid… --version 2 -o photos.car`),
		Action: p.with(func(c *cli.Context, s *node.Session) error { return p.carExport(c, s) }),
	}
}

func (p *process) carExport(c *cli.Context, s *node.Session) error {
	var roots []cid.Cid
	for _, arg := range c.Args().Slice() {
		root, err := p.root(c.Context, s, arg)
		if err != nil {
			return err
		}
		roots = append(roots, root)
	}
	return p.exportRoots(c, s, roots)
}

// exportFlags are those of car export and receipt export.
var exportFlags = []cli.Flag{
	&cli.PathFlag{Name: "output", Aliases: []string{"o"}, Usage: "write to `FILE`; - is stdout"},
	&cli.BoolFlag{Name: "force", Usage: "write over a file that is there"},
	&cli.IntFlag{Name: "version", Value: 1, Usage: "`NUMBER` of the format's version: 1 (when left out) or 2"},
	&cli.BoolFlag{Name: "verify", Usage: "hash every block that is read, on top of its checksum"},
	&cli.BoolFlag{Name: "opaque", Usage: "write blocks whose links cannot be read without what they link to"},
	&cli.BoolFlag{Name: "full", Usage: "of an outcome or a receipt, all that can be reached: module and inputs, too"},
}

// exportRoots writes the CAR that the flags of car export ask for.
func (p *process) exportRoots(c *cli.Context, s *node.Session, roots []cid.Cid) error {
	options := dag.CAROptions{Version: c.Int("version")}
	if options.Version != 1 && options.Version != 2 {
		return usagef("--version %d: there are 1 and 2", options.Version)
	}
	if !c.Bool("full") {
		skip, err := skipInputs(c.Context, s, roots)
		if err != nil {
			return err
		}
		options.Skip = skip
	}
	write := func(w io.Writer) error {
		blocks, stop := s.Blocks, func() {}
		if len(roots) == 1 && options.Skip == nil {
			blocks, stop = s.Reading(c.Context, roots[0])
		}
		defer stop()
		if c.Bool("verify") {
			blocks = hashed{blocks}
		}
		follow := follower{p: p, s: s, roots: roots, blocks: blocks, accept: c.Bool("opaque")}
		options.Opaque = func(b cid.Cid, why error) ([]cid.Cid, error) { return follow.links(c.Context, b, why) }
		return dag.WriteCAR(c.Context, w, blocks, roots, options)
	}
	if target := c.String("output"); target != "" && !p.isStdout(target) {
		return writeFile(c.Context, target, c.Bool("force"), write)
	}
	if ui.IsTerminal(p.stdout) {
		return hinted(usagef("a CAR is nothing for a terminal"), "%s %s -o FILE.car", c.Command.HelpName, roots[0])
	}
	return write(p.stdout)
}

// hashed is a set of blocks that hashes what it reads.
type hashed struct{ dag.Blocks }

func (h hashed) Get(ctx context.Context, c cid.Cid) (dag.Block, error) {
	b, err := h.Blocks.Get(ctx, c)
	if err != nil {
		return dag.Block{}, err
	}
	return dag.CheckBlock(c, b.Data())
}

func carImportCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:      "import",
		Usage:     "store the blocks of a CAR",
		ArgsUsage: "[FILE]",
		Description: `Stores the blocks of a CAR, from a file or stdin, pins its roots and prints them. Every
block is hashed. A CAR that is broken, or that lacks a block of its DAGs, is refused:
nothing is pinned. The CAR of an outcome is whole without its module and inputs.

Below a root there may be blocks whose links cannot be read: links are read of dag-pb,
dag-cbor and dag-json. They are named, and everything else that the CAR held is pinned
with the root, so that what they link to is kept.`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "partial", Usage: "take a CAR that lacks blocks"},
			&cli.BoolFlag{Name: "no-pin", Usage: "do not keep it: the next gc takes it"},
			&cli.StringFlag{Name: "name", Usage: "pin under `NAME`; else each root under its CID"},
			noSyncFlag,
			jsonFlag,
		},
		Before: takes("a file", 0, 1),
		CustomHelpTemplate: help(`$ liftoff car import photos.car
bafybeid…
$ ssh there liftoff car export bafybeid… | liftoff car import`),
		Action: p.with(func(c *cli.Context, s *node.Session) error { return p.carImport(c, s) }),
	}
}

func (p *process) carImport(c *cli.Context, s *node.Session) error {
	args := c.Args().Slice()
	name := "-"
	if len(args) == 1 {
		name = args[0]
	}
	got, err := p.importCAR(c.Context, s.Blocks, name, c.Bool("partial"))
	if err != nil {
		return err
	}
	if c.Bool("partial") {
		for _, root := range got.Roots {
			if err := opaqueBelow(c.Context, s.Blocks, root, got.found(root)); err != nil {
				return err
			}
		}
	}
	rest := cid.Undef
	if !c.Bool("no-pin") {
		if rest, err = got.putRest(c.Context, s.Blocks); err != nil {
			return err
		}
	}
	if err := syncUnless(c, s); err != nil {
		return err
	}
	if !c.Bool("no-pin") {
		if err := pinRoots(c.Context, s, c.String("name"), got, rest); err != nil {
			return err
		}
	}
	for _, root := range got.Roots {
		line := importedReport{CID: root.String(), Opaque: textOf(got.opaque[root])}
		if len(line.Opaque) > 0 && rest.Defined() {
			line.Rest = rest.String()
		}
		if err := p.word(c, line, line.CID); err != nil {
			return err
		}
		p.warnOpaque(root, got.opaque[root])
	}
	switch {
	case len(got.opaque) > 0 && c.Bool("no-pin"):
		p.warn("what else the CAR held is not kept with it without a pin")
	case rest.Defined():
		p.warn("what else the CAR held is pinned with it, as %s", rest)
	}
	return nil
}

func pinRoots(ctx context.Context, s *node.Session, name string, got imported, rest cid.Cid) error {
	pins := map[string]*api.Pin{}
	for _, root := range got.Roots {
		key := name
		if key == "" {
			key = root.String()
		}
		if pins[key] == nil {
			pins[key] = &api.Pin{Name: key, Created: time.Now()}
		}
		pins[key].Roots = append(pins[key].Roots, api.Root{CID: root, Recursive: true})
	}
	for _, pin := range pins {
		if err := got.complete(ctx, s, pin, rest); err != nil {
			return err
		}
		if err := s.Pins.Pin(ctx, *pin); err != nil {
			return err
		}
	}
	return nil
}

// importCAR puts the blocks of the CAR file name ("-" is stdin) and returns its roots,
// which, unless partial, were looked at: they lead to no block that is not here.
func (p *process) importCAR(ctx context.Context, blocks dag.Blocks, name string, partial bool) (imported, error) {
	got := imported{opaque: map[cid.Cid][]cid.Cid{}}
	file, err := p.open(ctx, name)
	if err != nil {
		return got, err
	}
	defer file.Close()
	bar := p.progress("import")
	defer bar.Close()
	if got.Imported, err = dag.ImportAll(ctx, bar.reader(file), blocks); err != nil {
		return got, fmt.Errorf("import %s: %w", quote(name), err)
	}
	if len(got.Roots) == 0 {
		return got, fmt.Errorf("import %s: the CAR has no root", quote(name))
	}
	for _, root := range got.Roots {
		if partial {
			break
		}
		if err := whole(ctx, blocks, root, got.found(root)); err != nil {
			return got, notWhole(name, err)
		}
	}
	return got, nil
}

// notWhole says why the DAGs of the CAR file name are not taken, and what can be done: err is that of whole.
func notWhole(name string, err error) error {
	var (
		malformed *dag.FormatError
		missing   *dag.NotFoundError
		short     *shortOutputError
	)
	switch {
	case errors.As(err, &malformed):
		err = fmt.Errorf("import %s: %w", quote(name), err)
		return hinted(err, "liftoff car import --partial %s, to keep what it holds as it is", quote(name))
	case errors.As(err, &missing), errors.As(err, &short):
		err = fmt.Errorf("import %s: the CAR is cut off, or was never whole: %w", quote(name), err)
		return hinted(err, "liftoff car import --partial %s, to have what there is", quote(name))
	}
	return fmt.Errorf("import %s: %w", quote(name), err)
}
