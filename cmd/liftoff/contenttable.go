//go:build !windows

package main

import (
	"fmt"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/internal/ui"
	"github.com/ipfs-liftoff/liftoff/internal/units"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

// addedListing is that of add.
var addedListing = listing[added]{
	columns: []ui.Column{{Name: "CID", Give: 2}, {Name: "SIZE", Right: true}, {Name: "NAME", Give: 1}},
	row: func(_ *ui.Screen, a added) []ui.Cell {
		return []ui.Cell{ui.ID(a.CID), ui.Bytes(a.Size), ui.Text(a.Name)}
	},
}

// dirListing is that of ls.
var dirListing = listing[listed]{
	items:   "entries",
	columns: []ui.Column{{Name: "CID", Give: 2}, {Name: "SIZE", Right: true}, {Name: "NAME", Give: 1}},
	row: func(_ *ui.Screen, e listed) []ui.Cell {
		size, name := ui.None(), ui.Text(e.Name)
		switch {
		case e.Size != nil:
			size = ui.Bytes(*e.Size)
		case e.Kind == "directory":
			name = name.Then("/").In(ui.Cyan)
		case e.Kind == "symlink":
			name = name.Then("@").In(ui.Yellow)
		case e.Kind == "missing", e.Kind == "malformed":
			size = ui.Text("?").In(ui.Red)
		}
		return []ui.Cell{ui.ID(e.CID), size, name}
	},
}

// blockListing is that of block stat.
var blockListing = listing[blockReport]{
	columns: []ui.Column{{Name: "CID", Give: 1}, {Name: "SIZE", Right: true}, {Name: "CODEC"}, {Name: "LINKS", Right: true}},
	row: func(_ *ui.Screen, b blockReport) []ui.Cell {
		return []ui.Cell{ui.ID(b.CID), ui.Bytes(b.Size), ui.Text(b.Codec), ui.Int(b.Links)}
	},
}

// blockReport is what block stat prints.
type blockReport struct {
	CID   string `json:"cid"`
	Size  int    `json:"size"`
	Codec string `json:"codec"`
	Links int    `json:"links"`
}

// publishedListing is that of publish.
var publishedListing = listing[api.Publication]{
	items:   "published roots",
	columns: []ui.Column{{Name: "CID", Give: 1}, {Name: "PUBLISHED"}},
	row: func(s *ui.Screen, v api.Publication) []ui.Cell {
		return []ui.Cell{ui.ID(v.Root.String()), s.Time(v.At)}
	},
}

// statFacts adds what stat prints.
func statFacts(f *ui.Facts, st status) {
	f.Add("cid", ui.Text(st.CID))
	f.Add("kind", ui.Text(st.Kind))
	if st.Size != nil {
		f.Add("size", ui.Bytes(*st.Size))
	}
	if st.Kind == "symlink" {
		f.Add("target", ui.Text(st.Target))
	}
	more := ""
	if st.Missing > 0 || st.Opaque > 0 {
		more = " or more"
	}
	f.Add("blocks", ui.Shown(fmt.Sprintf("%d of %d%s", st.Held, st.Blocks, more)))
	f.Add("blocks", ui.Int(st.Blocks).Piped())
	f.Add("held", ui.Int(st.Held).Piped())
	f.Add("missing", ui.Int(st.Missing).Piped())
	f.Add("bytes", ui.Bytes(st.Bytes))
	if st.Opaque > 0 {
		f.Add("opaque", ui.Int(st.Opaque))
	}
}

// pinRow is one kept root of a pin.
type pinRow struct {
	pin  api.Pin
	root api.Root
	kind string        // recursive, direct or rest
	held *api.Coverage // with --held
}

// pinListing is that of pin ls; withHeld adds how much is in the repo.
func pinListing(withHeld bool) listing[pinRow] {
	columns := []ui.Column{{Name: "CID", Give: 2}, {Name: "KIND"}, {Name: "EXPIRES"}}
	if withHeld {
		columns = append(columns, ui.Column{Name: "HELD", Right: true})
	}
	return listing[pinRow]{
		items:   "pins",
		columns: append(columns, ui.Column{Name: "NAME", Give: 1}),
		row: func(s *ui.Screen, r pinRow) []ui.Cell {
			cells := []ui.Cell{ui.ID(r.root.CID.String()), ui.Text(r.kind), s.TimeOr(r.pin.Expires, "never")}
			if r.held != nil {
				cells = append(cells, heldCell(*r.held))
			}
			return append(cells, pinName(r.pin.Name))
		},
	}
}

// pinName is a pin's name, which is a CID where the user gave none.
func pinName(name string) ui.Cell {
	if _, err := cid.Decode(name); err == nil {
		return ui.ID(name)
	}
	return ui.Text(name)
}

func heldCell(h api.Coverage) ui.Cell {
	more := ""
	if !h.Exact {
		more = "+"
	}
	return ui.Both(fmt.Sprintf("%d/%d%s", h.Have, h.Total, more), units.Bytes(int64(h.Have))+" of "+units.Bytes(int64(h.Total))+more)
}

// pinRows returns a row for each of keptRoots; covers is nil or has an element for each of them.
func pinRows(pin api.Pin, covers []api.Coverage) []pinRow {
	var all []pinRow
	for i, root := range keptRoots(pin) {
		r := pinRow{pin: pin, root: root, kind: "direct"}
		switch {
		case i >= len(pin.Roots):
			r.kind = "rest"
		case root.Recursive:
			r.kind = "recursive"
		}
		if covers != nil {
			r.held = &covers[i]
		}
		all = append(all, r)
	}
	return all
}
