//go:build !windows

package main

import (
	"time"

	"github.com/urfave/cli/v2"

	"github.com/ipfs-liftoff/liftoff/node/api"
)

// pins prints pins as they come: a row for each root, or an object for each pin.
type pins struct {
	to   sink
	rows *rows[pinRow]
}

func newPins(p *process, c *cli.Context) pins {
	return pins{p.output(c), newRows(p, c, pinListing(c.Bool("held")))}
}

// put prints a pin; covers is nil or has an element for each of keptRoots.
func (l pins) put(pin api.Pin, covers []api.Coverage) error {
	if l.to.json != nil {
		return l.to.json.put(pinReport(pin, covers))
	}
	for _, r := range pinRows(pin, covers) {
		if err := l.rows.put(r); err != nil {
			return err
		}
	}
	return nil
}

func (l pins) Flush() error { return l.rows.Flush() }

// pinned is a pin as JSON.
type pinned struct {
	Name    string       `json:"name"`
	Roots   []pinnedRoot `json:"roots"`
	Rest    []pinnedRoot `json:"rest,omitempty"`
	Created time.Time    `json:"created"`
	Expires time.Time    `json:"expires,omitzero"`
	Opaque  bool         `json:"opaque,omitempty"`
}

type pinnedRoot struct {
	CID       string `json:"cid"`
	Recursive bool   `json:"recursive"`
	Held      *held  `json:"held,omitempty"`
}

// held is an api.Coverage.
type held struct {
	Have   uint64   `json:"have"`
	Total  uint64   `json:"total"`
	Exact  bool     `json:"exact"`
	Opaque []string `json:"opaque,omitempty"` // blocks whose links cannot be read, the first 100 of them
}

func pinReport(pin api.Pin, covers []api.Coverage) pinned {
	r := pinned{Name: pin.Name, Created: pin.Created.UTC(), Expires: pin.Expires.UTC(), Opaque: pin.Opaque}
	for i, root := range keptRoots(pin) {
		one := pinnedRoot{CID: root.CID.String(), Recursive: root.Recursive}
		if covers != nil {
			c := covers[i]
			one.Held = &held{c.Have, c.Total, c.Exact, textOf(c.Opaque)}
		}
		if i < len(pin.Roots) {
			r.Roots = append(r.Roots, one)
		} else {
			r.Rest = append(r.Rest, one)
		}
	}
	return r
}
