//go:build !windows

package main

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/internal/ui"
	"github.com/ipfs-liftoff/liftoff/internal/units"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

// leastReceipt is how much of a receipt's CID a terminal shows at least: what all of them begin
// with, and 40 bits of the hash.
const leastReceipt = len("bafyrei") + 8

// receiptListing is that of receipt ls.
func receiptListing(receipts []api.ReceiptInfo) listing[api.ReceiptInfo] {
	ids := make([]string, len(receipts))
	for i, r := range receipts {
		ids[i] = r.CID.String()
	}
	prefix := ui.Prefixes(ids, leastReceipt)
	return listing[api.ReceiptInfo]{
		items:   "receipts",
		columns: []ui.Column{{Name: "RECEIPT"}, {Name: "ISSUED"}, {Name: "TASK", Give: 2}, {Name: "OUTCOME", Give: 3}, {Name: "ISSUER", Give: 1}, {Name: "OWN"}},
		row: func(s *ui.Screen, r api.ReceiptInfo) []ui.Cell {
			own := ui.None()
			if r.Own {
				own = ui.Text("own")
			}
			id := r.CID.String()
			return []ui.Cell{
				s.Prefix(id, prefix(id)), s.Time(r.Issued), ui.ID(r.Task.String()), ui.ID(r.Outcome.String()), ui.ID(string(r.Issuer)), own,
			}
		},
	}
}

// cacheListing is that of cache ls.
var cacheListing = listing[api.CachedResult]{
	items:   "cached results",
	columns: []ui.Column{{Name: "TASK", Give: 2}, {Name: "OUTCOME", Give: 1}, {Name: "STATE"}, {Name: "FUEL", Right: true}, {Name: "CREATED"}},
	row: func(s *ui.Screen, m api.CachedResult) []ui.Cell {
		return []ui.Cell{
			ui.ID(m.Task.String()), ui.ID(m.Outcome.String()), endingCell(ending(m.State, m.Code)), ui.Int(m.Fuel), s.Time(m.Created),
		}
	},
}

// receiptReport is a receipt as receipt show --json prints it.
type receiptReport struct {
	Receipt  string          `json:"receipt"`
	Issuer   job.DID         `json:"issuer"`
	Own      bool            `json:"own"`
	Task     string          `json:"task"`
	Outcome  string          `json:"outcome"`
	Order    string          `json:"order,omitempty"`
	Issued   time.Time       `json:"issued"`
	Replayed bool            `json:"replayed"`
	Took     time.Duration   `json:"took_ns"`
	Queued   time.Duration   `json:"queued_ns"`
	Fetched  uint64          `json:"fetched"`
	Fetch    time.Duration   `json:"fetch_ns"`
	Version  string          `json:"version"`
	Engine   string          `json:"engine"`
	Arch     string          `json:"arch"`
	Object   json.RawMessage `json:"receipt_object"`
}

func receiptReportOf(name cid.Cid, r job.Receipt, own bool, object json.RawMessage) receiptReport {
	m := r.Meta
	return receiptReport{
		Receipt: name.String(), Issuer: r.Issuer, Own: own, Task: r.Task.String(), Outcome: r.Outcome.String(), Order: text(r.Order),
		Issued: time.UnixMilli(r.Issued).UTC(), Replayed: m.Replayed,
		Took: milli(m.Wall), Queued: milli(m.Queue), Fetched: uint64(m.Fetched), Fetch: milli(m.Fetch),
		Version: m.Version, Engine: m.Engine, Arch: m.Arch, Object: object,
	}
}

// receiptFacts adds what a receipt says.
func receiptFacts(s *ui.Screen, f *ui.Facts, r receiptReport) {
	f.Add("receipt", ui.Text(r.Receipt))
	f.Add("issuer", ui.Text(string(r.Issuer)))
	if r.Own {
		f.Add("own", ui.Text("yes"))
	} else {
		f.Add("own", ui.Text("no"))
	}
	f.Add("task", ui.Text(r.Task))
	f.Add("outcome", ui.Text(r.Outcome))
	if r.Order != "" {
		f.Add("order", ui.Text(r.Order))
	}
	f.Add("issued", s.Time(r.Issued))
	if r.Replayed {
		f.Add("replayed", ui.Text("the issuer knew the outcome and ran nothing"))
	} else {
		f.Add("took", ui.Duration(r.Took))
	}
	if r.Queued > 0 {
		f.Add("queued", ui.Duration(r.Queued))
	}
	if r.Fetched > 0 {
		f.Add("fetched", ui.Both(fmt.Sprintf("%d %d", r.Fetched, r.Fetch), fmt.Sprintf("%s in %s", units.Bytes(int64(r.Fetched)), r.Fetch)))
	}
	f.Add("by", ui.Text(fmt.Sprintf("liftoff %s, %s, %s", r.Version, r.Engine, r.Arch)))
}

func milli(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
