//go:build !windows

package main

import (
	"context"
	"slices"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/urfave/cli/v2"

	"github.com/ipfs-liftoff/liftoff/node"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

func pinCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:  "pin",
		Usage: "keep data from collection",
		Description: `A pin is a name under which roots are kept. What no pin reaches, liftoff gc removes.
add, car import and run pin what they bring.`,
		CustomHelpTemplate: help(`$ liftoff pin add --name photos --expires 30d bafybeid…
photos
$ liftoff pin ls
bafybeid… recursive 2030-01-31T12:00:00Z photos
$ liftoff pin rm photos`),
		Subcommands: []*cli.Command{pinAddCommand(p), pinLsCommand(p), pinRmCommand(p)},
	}
}

func pinAddCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:      "add",
		Usage:     "pin roots",
		ArgsUsage: "CID[/PATH]…",
		Description: `Pins each root under its CID, or all of them under one name with --name, and prints
the names. A pin of the same name is replaced. Blocks that are not here are not
fetched: the pin keeps what is held.

Links are read of dag-pb, dag-cbor and dag-json. Where there are others below a root, the
pin keeps what liftoff car import has pinned with it. Where nothing says what belongs to
it, liftoff gc removes nothing while the pin is there; with --opaque such blocks are
kept without what they link to.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "name", Usage: "pin all roots under this `NAME`"},
			&cli.StringFlag{Name: "expires", Usage: "`WHEN` the pin ends: 24h, 30d or a date; never when left out"},
			&cli.BoolFlag{Name: "opaque", Usage: "keep blocks whose links cannot be read without what they link to"},
			&cli.BoolFlag{Name: "direct", Usage: "keep the root block alone, nothing below it"},
		},
		Before: takes("a CID", 1, unbounded),
		CustomHelpTemplate: help(`$ liftoff pin add bafybeid… --expires 2030-12-31
bafybeid…`),
		Action: p.with(func(c *cli.Context, s *node.Session) error { return p.pinAdd(c, s) }),
	}
}

func (p *process) pinAdd(c *cli.Context, s *node.Session) error {
	args := c.Args().Slice()
	now := time.Now()
	expires, err := parseExpiry(c.String("expires"), now)
	if err != nil {
		return err
	}
	var pins []api.Pin
	for _, arg := range args {
		root, err := p.root(c.Context, s, arg)
		if err != nil {
			return err
		}
		kept := api.Root{CID: root, Recursive: !c.Bool("direct")}
		if name := c.String("name"); name != "" && len(pins) > 0 {
			pins[0].Roots = append(pins[0].Roots, kept)
		} else {
			if name == "" {
				name = root.String()
			}
			pins = append(pins, api.Pin{Name: name, Roots: []api.Root{kept}, Created: now, Expires: expires, Opaque: c.Bool("opaque")})
		}
	}
	for _, pin := range pins {
		if err := p.noteOpaque(c.Context, s, &pin); err != nil {
			return err
		}
		if err := s.Pins.Pin(c.Context, pin); err != nil {
			return err
		}
		if err := p.word(c, pinReport(pin, nil), pin.Name); err != nil {
			return err
		}
	}
	return nil
}

func pinLsCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:      "ls",
		Usage:     "list pins",
		ArgsUsage: "[NAME…]",
		Description: `Prints a line for each pinned root: its CID, whether it is kept with all below it,
until when, and the pin's name. With names it prints those pins alone, in their order, and
ends with 127 when there is no such pin. With --held also how many bytes below it are here,
and how many there are ("+" when there may be more), and which blocks have links that
cannot be read. A line with "rest" in place of "recursive" is what a CAR held beside its
DAGs, kept for such blocks.`,
		Flags:  []cli.Flag{jsonFlag, &cli.BoolFlag{Name: "held", Usage: "print how much of each is here"}},
		Before: takes("the name of a pin", 0, unbounded),
		CustomHelpTemplate: help(`$ liftoff pin ls
bafybeid… recursive never photos
$ liftoff pin ls --held photos
bafybeid… recursive never 85210112/85210112 photos`),
		Action: p.with(func(c *cli.Context, s *node.Session) error {
			pins, err := listedPins(c, s)
			if err != nil {
				return err
			}
			out := newPins(p, c)
			for _, pin := range pins {
				held, err := coverages(c, s, pin)
				if err != nil {
					return err
				}
				if err := out.put(pin, held); err != nil {
					return err
				}
				for i, h := range held {
					if !c.Bool("json") {
						p.warnOpaque(keptRoots(pin)[i].CID, h.Opaque)
					}
				}
			}
			return out.Flush()
		}),
	}
}

// listedPins returns the pins that are named, or all.
func listedPins(c *cli.Context, s *node.Session) ([]api.Pin, error) {
	if !c.Args().Present() {
		return s.Pins.Pins(c.Context)
	}
	pins := make([]api.Pin, c.NArg())
	for i, name := range c.Args().Slice() {
		var err error
		if pins[i], err = s.Pins.FindPin(c.Context, name); err != nil {
			return nil, noPin(err)
		}
	}
	return pins, nil
}

// noPin tells where to look for the pin that is not there.
func noPin(err error) error {
	if codeOf(err) == exitNotFound {
		return hinted(err, "liftoff pin ls")
	}
	return err
}

// keptRoots returns the roots of a pin, and then those of its rest.
func keptRoots(pin api.Pin) []api.Root {
	all := slices.Clip(pin.Roots)
	for _, c := range pin.Rest {
		all = append(all, api.Root{CID: c, Recursive: true})
	}
	return all
}

// coverages returns how much of each of keptRoots is here, when --held asks for it.
func coverages(c *cli.Context, s *node.Session, pin api.Pin) ([]api.Coverage, error) {
	if !c.Bool("held") {
		return nil, nil
	}
	kept := keptRoots(pin)
	all := make([]api.Coverage, len(kept))
	for i, root := range kept {
		var err error
		if all[i], err = s.Storage.Coverage(c.Context, root.CID); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// noteOpaque has pin keep what belongs to its blocks whose links cannot be read, or tells that it does not.
func (p *process) noteOpaque(ctx context.Context, s *node.Session, pin *api.Pin) error {
	opaque := map[cid.Cid][]cid.Cid{}
	for _, root := range pin.Roots {
		if !root.Recursive {
			continue
		}
		held, err := s.Storage.Coverage(ctx, root.CID)
		if err != nil {
			return err
		}
		if len(held.Opaque) > 0 {
			opaque[root.CID] = held.Opaque
		}
	}
	if len(opaque) == 0 || pin.Opaque {
		return nil
	}
	if err := inheritRest(ctx, s, pin); err != nil {
		return err
	}
	for root, blocks := range opaque {
		p.warnOpaque(root, blocks)
	}
	if len(pin.Rest) == 0 {
		p.warn("what these blocks link to is not kept: liftoff gc removes nothing until it is known, or the pin is one with --opaque")
	}
	return nil
}

func pinRmCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:        "rm",
		Usage:       "remove pins by name",
		ArgsUsage:   "NAME…",
		Description: `Removes pins; what nothing else keeps goes with the next liftoff gc.`,
		Before:      takes("the name of a pin", 1, unbounded),
		CustomHelpTemplate: help(`$ liftoff pin rm photos
$ liftoff gc
removed 312 blocks (81.3 MiB), kept 2041 blocks (1.2 GiB)`),
		Action: p.with(func(c *cli.Context, s *node.Session) error {
			args := c.Args().Slice()
			for _, name := range args {
				if err := s.Pins.Unpin(c.Context, name); err != nil {
					return noPin(err)
				}
			}
			return nil
		}),
	}
}
