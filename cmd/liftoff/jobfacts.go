//go:build !windows

package main

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/internal/ui"
	"github.com/ipfs-liftoff/liftoff/internal/units"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node/api"
	"github.com/ipfs-liftoff/liftoff/scheduler"
)

// jobFacts adds all that is known of a job.
func jobFacts(s *ui.Screen, f *ui.Facts, j api.Job) {
	link := func(key string, c cid.Cid) {
		if c.Defined() {
			f.Add(key, ui.Text(c.String()))
		}
	}
	f.Add("job", ui.Text(j.ID))
	f.Add("state", stateCell(j))
	if j.Outcome != nil && j.Outcome.State == job.Quota {
		f.Add("limit", ui.Text(limitText(*j.Outcome)))
	}
	link("task", j.Task)
	link("outcome", j.OutcomeCID)
	if o := j.Outcome; o != nil {
		link("output", o.Root)
		link("stdout", o.Stdout)
		link("stderr", o.Stderr)
		link("receipt", j.Receipt)
		f.Add("fuel", ui.Int(o.Fuel))
		f.Add("memory", ui.Bytes(int64(o.Pages)<<16))
	}
	if j.Where != "" {
		f.Add("ran_on", ui.Text(j.Where))
	}
	if j.Attempts > 1 {
		f.Add("attempts", ui.Int(j.Attempts))
	}
	for _, r := range j.Runs {
		f.Add("run", ui.Text(fmt.Sprintf("%s %s %s", r.Peer, r.Outcome, cmp.Or(text(r.Receipt), "-"))))
	}
	for _, m := range j.Mismatches {
		f.Add("mismatch", ui.Text(fmt.Sprintf("%s printed to %s other text than that of outcome %s, receipt %s of %s", m.Peer, m.Stream, m.Outcome, m.Receipt, m.Issuer)).In(ui.Red))
	}
	if j.Cached {
		f.Add("cached", ui.Text("the outcome was known: nothing ran"))
	}
	if !j.Remote && j.Outcome != nil {
		f.Add("read", readCell(j.Read))
	}
	f.Add("created", s.Time(j.Created))
	if j.Fetched.Bytes > 0 {
		f.Add("fetched", readCell(j.Fetched))
	}
	if !j.Ended.IsZero() {
		f.Add("took", ui.Duration(j.Ended.Sub(j.Created)))
		f.Add("compile", ui.Duration(j.Compile))
		f.Add("run_time", ui.Duration(j.Run))
	}
	for _, label := range labelsOf(j.Labels) {
		f.Add("label", ui.Text(label))
	}
	if j.Err != nil {
		f.Add("error", ui.Text(clean(j.Err.Message)).In(ui.Red))
	}
	for line := range strings.Lines(strings.TrimRight(j.Fault, "\n")) {
		f.Add("fault", ui.Text(strings.TrimRight(line, "\n")))
	}
	if j.Placement != nil {
		placementFacts(f, *j.Placement)
		if end := j.Placement.Ended; end != "" && (j.Err == nil || !strings.HasPrefix(j.Err.Message, end)) {
			f.Add("placed", ui.Text(clean(end)))
		}
	}
	for _, c := range cycles(j.Events) {
		for _, e := range c.events {
			at, text := e.At.UTC(), clean(e.Text)+repeated(c.times, " (%d times)")
			if e.Kind == api.EventFailed && j.Err != nil && e.Text == j.Err.Message {
				text = "failed" // the fact error has the reason
			}
			f.Add("event", ui.Both(at.Format(time.RFC3339Nano)+" "+text, at.Format("15:04:05.000")+" "+text))
		}
	}
}

// readCell says how much was read; of another peer's run the blocks are not known.
func readCell(r api.Read) ui.Cell {
	shown := units.Bytes(r.Bytes)
	if r.Blocks > 0 || r.Bytes == 0 {
		shown = fmt.Sprintf("%s (%s)", count(r.Blocks, "block"), shown)
	}
	return ui.Both(fmt.Sprintf("%d %d", r.Blocks, r.Bytes), shown)
}

// skippedNames lists the peers of a Skip, as far as it has their names.
func skippedNames(s api.Skip) string {
	var names []string
	for _, d := range s.Peers {
		names = append(names, scheduler.Short(job.DID(d)))
	}
	if more := s.Count - len(names); more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(names, ", ")
}

// placementFacts adds a line for each peer that was asked, in the order of its score, and one
// for those that were not.
func placementFacts(f *ui.Facts, p api.Placement) {
	bids := slices.Clone(p.Bids)
	slices.SortStableFunc(bids, func(a, b api.Bid) int {
		if refused := cmp.Compare(len(a.Code), 0) - cmp.Compare(len(b.Code), 0); refused != 0 {
			return refused
		}
		return cmp.Compare(a.Score, b.Score)
	})
	for _, b := range bids {
		name := b.Peer
		if b.Self {
			name += " (this node)"
		}
		if b.Code != "" {
			f.Add("refused", ui.Text(name+": "+clean(b.Why)))
			continue
		}
		exact, shown := strconv.FormatUint(b.Missing, 10), units.Bytes(b.Missing)
		switch {
		case b.Guess:
			exact, shown = "an unknown size", "an unknown size"
		case !b.Exact:
			exact, shown = exact+" or less", shown+" or less"
		}
		f.Add("bid", ui.Both(
			fmt.Sprintf("%s: score %s, has %d, lacks %s: %s", name, strconv.FormatFloat(b.Score, 'g', -1, 64), b.Have, exact, clean(b.Why)),
			fmt.Sprintf("%s: %.3g s, has %s, lacks %s: %s", name, b.Score, units.Bytes(b.Have), shown, clean(b.Why))))
	}
	if p.Omitted > 0 {
		f.Add("omitted", ui.Text(count(p.Omitted, "peer")))
	}
	for _, s := range p.Skipped {
		f.Add("skipped", ui.Text(fmt.Sprintf("%s (%s): %s", count(s.Count, "peer"), skippedNames(s), clean(s.Why))))
	}
	for _, a := range p.Awards {
		why := ""
		if a.Why != "" {
			why = ": " + clean(a.Why)
		}
		f.Add("award", ui.Text(a.Peer+": "+a.State+why))
	}
}
