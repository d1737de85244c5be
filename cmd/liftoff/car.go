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
		Usage:       "export and import CAR files",
		Description: `A CAR file holds blocks. All IPFS tools read it.`,
		CustomHelpTemplate: help(`$ liftoff car export bafybeih… -o photos.car
$ liftoff car import photos.car
bafybeih…`),
		Subcommands: []*cli.Command{carExportCommand(p), carImportCommand(p)},
	}
}

func carExportCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:      "export",
		Usage:     "write DAGs to a CAR file",
		ArgsUsage: "CID[/PATH]…",
		Description: `Writes each block of the DAGs once, to --output (default: stdout).

The CAR of an outcome holds the outcome, its task, the output, stdout and stderr; that of
a receipt also holds the receipt. The module, the inputs, and parts of inputs that the
output links to are left out unless --full is set.

A block whose links cannot be read is written with the blocks that its pin keeps for it,
see liftoff car import. Without such a pin, or --opaque, it is an error.

` + refHelp,
		Flags:  exportFlags,
		Before: takes("a CID", 1, unbounded),
		CustomHelpTemplate: help(`$ liftoff car export bafybeih… > photos.car
$ liftoff car export bafybeih… --car-version 2 -o photos2.car`),
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

// exportFlags are the flags of car export and receipt export.
var exportFlags = []cli.Flag{
	&cli.PathFlag{Name: "output", Aliases: []string{"o"}, Usage: "`FILE` output file; - is stdout (default: stdout)"},
	&cli.BoolFlag{Name: "force", Usage: "replace existing files"},
	&cli.IntFlag{Name: "car-version", Value: 1, Usage: "`VERSION` version of the CAR format, 1 or 2 (default: 1)"},
	&cli.BoolFlag{Name: "check", Usage: "check the hash of every block that is read, in addition to its checksum"},
	&cli.BoolFlag{Name: "opaque", Usage: "write blocks whose links cannot be read, without the blocks that they link to"},
	&cli.BoolFlag{Name: "full", Usage: "include the module and inputs of an outcome or a receipt"},
}

// exportRoots writes a CAR as the flags in exportFlags say.
func (p *process) exportRoots(c *cli.Context, s *node.Session, roots []cid.Cid) error {
	options := dag.CAROptions{Version: c.Int("car-version")}
	if options.Version != 1 && options.Version != 2 {
		return usagef("--car-version %d: want 1 or 2", options.Version)
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
		if c.Bool("check") {
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
		return hinted(usagef("refusing to write a CAR to a terminal"), "%s %s -o FILE.car", c.Command.HelpName, roots[0])
	}
	return write(p.stdout)
}

// hashed is a dag.Blocks that checks the hash of every block that it reads.
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
		Usage:     "store the blocks of a CAR file",
		ArgsUsage: "[FILE]",
		Description: `Stores the blocks of a CAR file (default: stdin), pins its roots and prints them. Every
block is hashed. A CAR that is damaged or incomplete is refused, and nothing is pinned.
The CAR of an outcome is complete without its module and inputs.

Links are read in dag-pb, dag-cbor and dag-json. When other blocks are below a root, a
warning names them, and all other blocks of the CAR are pinned with the root, so that the
blocks that they link to are kept.`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "partial", Usage: "accept an incomplete CAR"},
			&cli.BoolFlag{Name: "no-pin", Usage: "do not pin: the next gc deletes the data"},
			&cli.StringFlag{Name: "name", Usage: "`NAME` name of the pin (default: the CID of each root)"},
			noSyncFlag,
			jsonFlag,
		},
		Before: takes("a file", 0, 1),
		CustomHelpTemplate: help(`$ liftoff car import photos.car
bafybeih…
$ ssh there liftoff car export bafybeih… | liftoff car import
bafybeih…`),
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
		p.warn("--no-pin: blocks of the CAR below these links are not kept")
	case rest.Defined():
		p.warn("the other blocks of the CAR are pinned with the root, as %s", rest)
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

// importCAR stores the blocks of the CAR file name ("-" is stdin) and returns its roots. Unless partial, their DAGs are
// complete.
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

// notWhole is the error about a CAR file that is refused, with a hint. err is the error of whole.
func notWhole(name string, err error) error {
	var (
		malformed *dag.FormatError
		missing   *dag.NotFoundError
		short     *shortOutputError
	)
	switch {
	case errors.As(err, &malformed):
		err = fmt.Errorf("import %s: %w", quote(name), err)
		return hinted(err, "liftoff car import --partial %s", quote(name))
	case errors.As(err, &missing), errors.As(err, &short):
		err = fmt.Errorf("import %s: the CAR is incomplete: %w", quote(name), err)
		return hinted(err, "liftoff car import --partial %s", quote(name))
	}
	return fmt.Errorf("import %s: %w", quote(name), err)
}
