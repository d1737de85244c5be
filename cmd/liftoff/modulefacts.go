//go:build !windows

package main

import (
	"fmt"

	"github.com/ipfs-liftoff/liftoff/internal/ui"
	"github.com/ipfs-liftoff/liftoff/internal/units"
	"github.com/ipfs-liftoff/liftoff/runtime/wasm"
)

// moduleFacts adds what a module is made of.
func moduleFacts(f *ui.Facts, d wasm.Description) {
	if d.Runs {
		f.Add("runs", ui.Text(fmt.Sprintf("yes: %s, from %s", d.ABI, d.Fn)).In(ui.Green))
	} else {
		f.Add("runs", ui.Text("no: "+clean(d.Reason)).In(ui.Red))
	}
	f.Add("size", ui.Bytes(int64(d.Size)))
	if d.Rewritten > 0 {
		f.Add("metered_size", ui.Bytes(int64(d.Rewritten)))
	}
	f.Add("functions", ui.Int(int64(d.Functions)))
	if m := d.Memory; m != nil {
		least, most := int64(m.Pages)<<16, int64(m.MaxPages)<<16
		f.Add("memory", ui.Both(fmt.Sprintf("%d %d", least, most), fmt.Sprintf("%s at the start, %s at most", units.Bytes(least), units.Bytes(most))))
	}
	if d.Tables.Count > 0 {
		f.Add("tables", ui.Text(fmt.Sprintf("%d, of %d entries", d.Tables.Count, d.Tables.Entries)))
	}
	if len(d.Features) > 0 {
		f.Add("features", ui.List(d.Features))
	}
	for _, name := range d.Custom {
		f.Add("section", ui.Text(name))
	}
	for _, i := range d.Imports {
		unknown, style := "", ui.Plain
		if !i.Known {
			unknown, style = ", which is not known here", ui.Red
		}
		f.Add("import", ui.Words(i.Module+"."+i.Name, i.Type+unknown).In(style))
	}
	for _, e := range d.Exports {
		what := e.Type
		if what == "" {
			what = e.Kind
		}
		f.Add("export", ui.Words(e.Name, what))
	}
}
