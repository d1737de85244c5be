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
		Usage: "keep data from garbage collection",
		Description: `A pin keeps roots and all blocks below them, under a name. liftoff gc deletes blocks that
no pin keeps. add, car import and run make pins.`,
		CustomHelpTemplate: help(`$ liftoff pin add --name photos --expires 30d bafybeih…
photos
$ liftoff pin ls photos
CID        KIND       EXPIRES  NAME
bafybeih…  recursive  in 30d   photos
$ liftoff pin rm photos`),
		Subcommands: []*cli.Command{pinAddCommand(p), pinLsCommand(p), pinRmCommand(p)},
	}
}

func pinAddCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:      "add",
		Usage:     "pin roots",
		ArgsUsage: "CID[/PATH]…",
		Description: `Pins each root and prints the name of its pin. A pin of the same name is replaced. Missing
blocks are not fetched: the pin keeps the blocks that are in the repo.

Links are read in dag-pb, dag-cbor and dag-json. When other blocks are below a root, the
pin keeps the blocks that liftoff car import has pinned with it. When these are unknown,
liftoff gc deletes nothing while the pin exists, unless --opaque is set.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "name", Usage: "`NAME` name of one pin for all roots (default: a pin for each root, named by its CID)"},
			&cli.StringFlag{Name: "expires", Usage: "`TIME` end of the pin: 24h, 30d or a date (default: never)"},
			&cli.BoolFlag{Name: "opaque", Usage: "keep blocks whose links cannot be read, without the blocks that they link to"},
			&cli.BoolFlag{Name: "direct", Usage: "pin only the root block, nothing below it"},
		},
		Before: takes("a CID", 1, unbounded),
		CustomHelpTemplate: help(`$ liftoff pin add bafybeih… --expires 2030-12-31
bafybeih…`),
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
		Description: `Prints a line for each pinned root, of all pins or those named: its CID, "recursive" or
"direct", when the pin expires, and its name. "rest" is a list of blocks that a CAR held
besides its DAGs, kept for blocks whose links cannot be read.

With --held, each line also has the bytes below the root that are in the repo and the total
("+": there may be more), and a warning names blocks whose links cannot be read.`,
		Flags:  []cli.Flag{jsonFlag, &cli.BoolFlag{Name: "held", Usage: "show how many bytes of each root are in the repo"}},
		Before: takes("the name of a pin", 0, unbounded),
		CustomHelpTemplate: help(`$ liftoff pin ls
CID        KIND       EXPIRES  NAME
bafybeih…  recursive  never    photos
$ liftoff pin ls --held photos
CID            KIND       EXPIRES            HELD  NAME
bafybe…v2o2nq  recursive  never    165 B of 165 B  photos`),
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

// listedPins returns the named pins, or all pins.
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

// noPin adds a hint to the error of a pin that does not exist.
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

// coverages returns the coverage of each of keptRoots; nil without --held.
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

// noteOpaque adds the rest of other pins to pin, for its blocks whose links cannot be read, or warns that it is unknown.
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
		p.warn("the blocks below the unreadable links are unknown: liftoff gc deletes nothing until they are known, or the pin has --opaque")
	}
	return nil
}

func pinRmCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:        "rm",
		Usage:       "remove pins",
		ArgsUsage:   "NAME…",
		Description: `Removes pins by name. The next liftoff gc deletes the blocks that no other pin keeps.`,
		Before:      takes("the name of a pin", 1, unbounded),
		CustomHelpTemplate: help(`$ liftoff pin rm photos
$ liftoff gc
removed  1 block (6 B)
kept     15 blocks (12 KiB)`),
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
