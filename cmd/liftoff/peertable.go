//go:build !windows

package main

import (
	"fmt"

	"github.com/ipfs-liftoff/liftoff/internal/ui"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

// peerListing is that of peers; withAddrs adds the addresses.
func peerListing(withAddrs bool) listing[api.Peer] {
	columns := []ui.Column{
		{Name: "PEER", Give: 3},
		{Name: "ROLE"},
		{Name: "STATE"},
		{Name: "RTT", Right: true},
		{Name: "SLOTS", Right: true},
		{Name: "MEMORY", Right: true},
		{Name: "ENGINES", Give: 2},
		{Name: "LABELS", Give: 1},
	}
	if withAddrs {
		columns = append(columns, ui.Column{Name: "ADDRESSES", Give: 1})
	}
	return listing[api.Peer]{
		items:   "peers",
		columns: columns,
		row: func(_ *ui.Screen, p api.Peer) []ui.Cell {
			cells := peerCells(p)
			if withAddrs {
				cells = append(cells, ui.List(p.Addrs))
			}
			return cells
		},
	}
}

func peerCells(p api.Peer) []ui.Cell {
	state := ui.Text("heard").In(ui.Dim)
	switch {
	case p.Relayed:
		state = ui.Text("relayed").In(ui.Yellow)
	case p.Connected:
		state = ui.Text("connected").In(ui.Green)
	case p.Role == "self":
		state = ui.Text("here")
	}
	rtt, slots, memory, engines, labels := ui.None(), ui.None(), ui.None(), ui.None(), ui.None()
	if p.RTT > 0 {
		rtt = ui.Duration(p.RTT)
	}
	if c := p.Capacity; c != nil {
		slots = ui.Text(fmt.Sprintf("%d/%d", c.FreeSlots, c.Slots))
		memory = ui.Bytes(c.FreeMemory)
		engines, labels = ui.List(c.Engines), ui.List(labelsOf(c.Labels))
	}
	return []ui.Cell{ui.IDOr(p.DID), ui.TextOr(p.Role), state, rtt, slots, memory, engines, labels}
}

// memberListing is that of cluster ls.
var memberListing = listing[api.Member]{
	items:   "members",
	columns: []ui.Column{{Name: "MEMBER", Give: 1}, {Name: "ROLE"}, {Name: "EXPIRES"}, {Name: "NOTES"}},
	row: func(s *ui.Screen, m api.Member) []ui.Cell {
		var notes []string
		style := ui.Plain
		if m.Revoked {
			notes, style = append(notes, "revoked"), ui.Red
		}
		if m.Self {
			notes = append(notes, "self")
		}
		return []ui.Cell{ui.ID(m.DID), ui.TextOr(m.Role), s.Time(m.Expires), ui.List(notes).In(style)}
	},
}

// trustListing is that of trust ls.
var trustListing = listing[api.TrustedKey]{
	items:   "trusted keys",
	columns: []ui.Column{{Name: "KEY", Give: 2}, {Name: "TRUSTED"}, {Name: "NOTE", Give: 1}},
	row: func(s *ui.Screen, k api.TrustedKey) []ui.Cell {
		return []ui.Cell{ui.ID(k.DID), s.Time(k.Added), ui.TextOr(k.Note)}
	},
}

// pluginListing is that of plugins.
var pluginListing = listing[api.Plugin]{
	items:   "plugins",
	columns: []ui.Column{{Name: "NAME"}, {Name: "VERSION", Give: 2}, {Name: "ABIS", Give: 3}, {Name: "PROGRAM", Give: 1}, {Name: "PROBLEM", Give: 4}},
	row: func(_ *ui.Screen, f api.Plugin) []ui.Cell {
		problem := ui.TextOr(f.Problem)
		if f.Problem != "" {
			problem = problem.In(ui.Red)
		}
		return []ui.Cell{ui.Text(f.Name), ui.TextOr(f.Version), ui.List(f.ABIs), ui.Text(f.Program), problem}
	},
}
