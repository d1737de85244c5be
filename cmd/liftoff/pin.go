//go:build !windows

package main

import (
	"fmt"
	"time"

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
fetched: the pin keeps what is held.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "name", Usage: "pin all roots under this `NAME`"},
			&cli.StringFlag{Name: "expires", Usage: "`WHEN` the pin ends: 24h, 30d or a date; never when left out"},
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
			pins = append(pins, api.Pin{Name: name, Roots: []api.Root{kept}, Created: now, Expires: expires})
		}
	}
	out := p.lines(false)
	for _, pin := range pins {
		if err := s.Pins.Pin(c.Context, pin); err != nil {
			return err
		}
		if err := out.put(nil, "%s", quote(pin.Name)); err != nil {
			return err
		}
	}
	return out.Flush()
}

func pinLsCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:      "ls",
		Usage:     "list pins",
		ArgsUsage: "[NAME…]",
		Description: `Prints a line for each pinned root: its CID, whether it is kept with all below it,
until when, and the pin's name. With names it prints those pins alone, in their order, and
ends with 127 when there is no such pin. With --held also how many bytes below it are here,
and how many there are ("+" when there may be more).`,
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
			out := p.lines(c.Bool("json"))
			for _, pin := range pins {
				held, err := coverages(c, s, pin)
				if err != nil {
					return err
				}
				if err := out.pin(pin, held); err != nil {
					return err
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

// coverages returns how much of each root of a pin is here, when --held asks for it.
func coverages(c *cli.Context, s *node.Session, pin api.Pin) ([]api.Coverage, error) {
	if !c.Bool("held") {
		return nil, nil
	}
	all := make([]api.Coverage, len(pin.Roots))
	for i, root := range pin.Roots {
		var err error
		if all[i], err = s.Storage.Coverage(c.Context, root.CID); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// pin writes a pin; held is nil or has an element for each root.
func (l lines) pin(pin api.Pin, held []api.Coverage) error {
	if l.json != nil {
		return l.json.Encode(pinReport(pin, held))
	}
	until := "never"
	if !pin.Expires.IsZero() {
		until = pin.Expires.UTC().Format(time.RFC3339)
	}
	for i, root := range pin.Roots {
		kind, much := "direct", ""
		if root.Recursive {
			kind = "recursive"
		}
		if held != nil {
			much = fmt.Sprintf(" %d/%d", held[i].Have, held[i].Total)
			if !held[i].Exact {
				much += "+"
			}
		}
		if err := l.put(nil, "%s %s %s%s %s", root.CID, kind, until, much, quote(pin.Name)); err != nil {
			return err
		}
	}
	return nil
}

// pinned is a pin as JSON.
type pinned struct {
	Name    string       `json:"name"`
	Roots   []pinnedRoot `json:"roots"`
	Created time.Time    `json:"created"`
	Expires time.Time    `json:"expires,omitzero"`
}

type pinnedRoot struct {
	CID       string        `json:"cid"`
	Recursive bool          `json:"recursive"`
	Held      *api.Coverage `json:"held,omitempty"`
}

func pinReport(pin api.Pin, held []api.Coverage) pinned {
	r := pinned{Name: pin.Name, Created: pin.Created, Expires: pin.Expires}
	for i, root := range pin.Roots {
		one := pinnedRoot{CID: root.CID.String(), Recursive: root.Recursive}
		if held != nil {
			one.Held = &held[i]
		}
		r.Roots = append(r.Roots, one)
	}
	return r
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
