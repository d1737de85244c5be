//go:build !windows

package main

import (
	"cmp"

	"github.com/urfave/cli/v2"

	"github.com/ipfs-liftoff/liftoff/internal/ui"
	"github.com/ipfs-liftoff/liftoff/internal/units"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

// sourceRow is one root of an attached file.
type sourceRow struct {
	root   string
	source api.Source
}

// sourceListing is that of attach add, whose files are ok, and attach ls.
var sourceListing = listing[sourceRow]{
	items:   "attached files",
	columns: []ui.Column{{Name: "CID", Give: 2}, {Name: "KIND"}, {Name: "STATE"}, {Name: "BLOCKS", Right: true}, {Name: "SIZE", Right: true}, {Name: "PATH", Give: 1}},
	row: func(_ *ui.Screen, r sourceRow) []ui.Cell {
		state := ui.Text(cmp.Or(r.source.State, "ok")).In(ui.Green)
		if r.source.State != "" && r.source.State != "ok" {
			state = state.In(ui.Red)
		}
		return []ui.Cell{ui.IDOr(r.root), ui.Text(r.source.Kind), state, ui.Int(r.source.Blocks), ui.Bytes(r.source.Bytes), ui.Text(r.source.Path)}
	},
}

// sources prints sources as they come: a row for each root, or an object for each source.
type sources struct {
	to   sink
	rows *rows[sourceRow]
}

func newSources(p *process, c *cli.Context) sources {
	return sources{p.output(c), newRows(p, c, sourceListing)}
}

func (l sources) put(a api.Source) error {
	if l.to.json != nil {
		return l.to.json.put(a)
	}
	for _, r := range sourceRows(a) {
		if err := l.rows.put(r); err != nil {
			return err
		}
	}
	return nil
}

func (l sources) Flush() error { return l.rows.Flush() }

// sourceRows returns a row for each root of a source, at least one.
func sourceRows(a api.Source) []sourceRow {
	rows := []sourceRow{{source: a}}
	for i, root := range a.Roots {
		rows = append(rows[:i], sourceRow{root.String(), a})
	}
	return rows
}

// storageStats is what stats prints.
type storageStats struct {
	Repo           string `json:"repo"`
	Blocks         int64  `json:"blocks"`
	Size           int64  `json:"size"`
	Disk           int64  `json:"disk"`
	Attached       int    `json:"attached"`
	AttachedBlocks int64  `json:"attached_blocks"`
	AttachedSize   int64  `json:"attached_size"`
}

func storageStatsOf(all []api.Source) storageStats {
	var st storageStats
	for _, a := range all {
		if a.Kind == api.SourceRepo {
			st.Repo, st.Blocks, st.Size, st.Disk = a.Path, a.Blocks, a.Bytes, a.Disk
			continue
		}
		st.Attached++
		st.AttachedBlocks += a.Blocks
		st.AttachedSize += a.Bytes
	}
	return st
}

func storageFacts(f *ui.Facts, st storageStats) {
	f.Add("repo", ui.Text(st.Repo))
	f.Add("blocks", ui.Int(st.Blocks))
	f.Add("size", ui.Bytes(st.Size))
	f.Add("disk", ui.Bytes(st.Disk))
	f.Add("attached", ui.Int(st.Attached))
	f.Add("attached_blocks", ui.Int(st.AttachedBlocks))
	f.Add("attached_size", ui.Bytes(st.AttachedSize))
}

// collectedFacts adds what a collection did.
func collectedFacts(f *ui.Facts, did api.Collected) {
	blockFacts(f, "removed", "removed", "removed_bytes", did.Removed, did.RemovedBytes)
	blockFacts(f, "kept", "kept", "kept_bytes", did.Kept, did.KeptBytes)
}

// blockFacts adds a number of blocks and their bytes: one line on a terminal, two in a pipe, with
// the keys that --json has.
func blockFacts(f *ui.Facts, shown, key, bytesKey string, blocks int, bytes int64) {
	f.Add(shown, ui.Shown(count(blocks, "block")+" ("+units.Bytes(bytes)+")"))
	f.Add(key, ui.Int(blocks).Piped())
	f.Add(bytesKey, ui.Bytes(bytes).Piped())
}

// damageListing is that of store check: a line in a pipe begins with a word of its own, since
// facts follow.
var damageListing = listing[api.Damage]{
	columns: []ui.Column{{Name: "STATE"}, {Name: "CID", Give: 1}, {Name: "WHERE", Give: 2}, {Name: "ERROR", Give: 3}},
	row: func(_ *ui.Screen, d api.Damage) []ui.Cell {
		return []ui.Cell{ui.Text("damaged_block").In(ui.Red), ui.ID(d.CID), ui.Text(d.Where), ui.Text(d.Err)}
	},
}

// checkedFacts adds what a check read.
func checkedFacts(f *ui.Facts, saw api.Checked) {
	blockFacts(f, "checked", "blocks", "bytes", saw.Blocks, saw.Bytes)
	f.Add("damaged", damagedCell(saw.Damaged))
}

// migratedFacts adds what a migration moved.
func migratedFacts(f *ui.Facts, did api.Migrated) {
	blockFacts(f, "moved", "blocks", "bytes", did.Blocks, did.Bytes)
	f.Add("damaged", damagedCell(did.Damaged))
}

func damagedCell(n int) ui.Cell {
	if n > 0 {
		return ui.Int(n).In(ui.Red)
	}
	return ui.Int(n)
}
