//go:build !windows

package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/urfave/cli/v2"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
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
		return dag.WriteCAR(c.Context, w, blocks, roots, options)
	}
	if target := c.String("output"); target != "" && !p.isStdout(target) {
		return writeFile(c.Context, target, c.Bool("force"), write)
	}
	if isTerminal(p.stdout) {
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
nothing is pinned. The CAR of an outcome is whole without its module and inputs.`,
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
	roots, err := p.importCAR(c.Context, s.Blocks, name, c.Bool("partial"))
	if err != nil {
		return err
	}
	if err := syncUnless(c, s); err != nil {
		return err
	}
	if !c.Bool("no-pin") {
		if err := pinRoots(c.Context, s, c.String("name"), roots); err != nil {
			return err
		}
	}
	out := p.lines(c.Bool("json"))
	for _, root := range roots {
		line := struct {
			Root string `json:"root"`
		}{root.String()}
		if err := out.put(line, "%s", root); err != nil {
			return err
		}
	}
	return out.Flush()
}

func pinRoots(ctx context.Context, s *node.Session, name string, roots []cid.Cid) error {
	pins := map[string]*api.Pin{}
	for _, root := range roots {
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
		if err := s.Pins.Pin(ctx, *pin); err != nil {
			return err
		}
	}
	return nil
}

// importCAR puts the blocks of the CAR file name ("-" is stdin) and returns its roots,
// which, unless partial, lead to no block that is not here.
func (p *process) importCAR(ctx context.Context, blocks dag.Blocks, name string, partial bool) ([]cid.Cid, error) {
	file, err := p.open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	bar := p.progress("import")
	defer bar.Close()
	roots, err := dag.ImportCAR(ctx, bar.reader(file), blocks)
	if err != nil {
		return nil, fmt.Errorf("import %s: %w", quote(name), err)
	}
	if len(roots) == 0 {
		return nil, fmt.Errorf("import %s: the CAR has no root", quote(name))
	}
	for _, root := range roots {
		if partial {
			break
		}
		if err := whole(ctx, blocks, root); err != nil {
			err = fmt.Errorf("import %s: the CAR is cut off, or was never whole: %w", quote(name), err)
			return nil, hinted(err, "liftoff car import --partial %s, to have what there is", quote(name))
		}
	}
	return roots, nil
}
