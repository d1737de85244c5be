//go:build !windows

package main

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/urfave/cli/v2"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/node"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

func jobDescribeCommand(p *process) *cli.Command {
	return &cli.Command{
		Name:      "describe",
		Usage:     "show the details, bids and events of a job",
		ArgsUsage: "ID",
		Description: `Prints the task, where it ran, how it ended and how much it read; the bid or refusal of
every peer that was asked; and the events in order.`,
		Flags:  []cli.Flag{jsonFlag},
		Before: takes("the id of a job", 1, 1),
		CustomHelpTemplate: help(`$ liftoff job describe j-0d9q
job      j-0d9q…
state    ok
task     bafyreie…
outcome  bafyreic…
output   bafybeia…
…
event    12:00:00.437 done`),
		Action: p.with(func(c *cli.Context, s *node.Session) error {
			j, err := findJob(c, s)
			if err != nil {
				return err
			}
			out := p.lines(c.Bool("json"))
			if out.json == nil {
				describeJob(out, j)
				return out.Flush()
			}
			r, err := reportOf(j)
			if err != nil {
				return err
			}
			r.Placement, r.Events = j.Placement, j.Events
			if b, err := dag.Load(c.Context, s.Blocks, j.Task); err == nil { // gc may have deleted it
				if r.Task.Object, err = dag.BlockJSON(b); err != nil {
					return err
				}
			}
			if err := out.json.Encode(r); err != nil {
				return err
			}
			return out.Flush()
		}),
	}
}

func describeJob(out lines, j api.Job) {
	row := func(key, format string, a ...any) { fmt.Fprintf(out, "%-8s %s\n", key, fmt.Sprintf(format, a...)) }
	link := func(key string, c cid.Cid) {
		if c.Defined() {
			row(key, "%s", c)
		}
	}
	row("job", "%s", j.ID)
	row("state", "%s", ended(j))
	link("task", j.Task)
	link("outcome", j.OutcomeCID)
	if o := j.Outcome; o != nil {
		link("output", o.Root)
		link("stdout", o.Stdout)
		link("stderr", o.Stderr)
		link("receipt", j.Receipt)
		row("fuel", "%d", o.Fuel)
		row("memory", "%s", size(int64(o.Pages)<<16))
	}
	if j.Where != "" {
		row("ran on", "%s", j.Where)
	}
	if j.Attempts > 1 {
		row("attempts", "%d", j.Attempts)
	}
	for _, r := range j.Runs {
		row("run", "%s %s %s", r.Peer, r.Outcome, text(r.Receipt))
	}
	for _, m := range j.Mismatches {
		row("mismatch", "%s printed to %s what outcome %s does not say, receipt %s of %s", m.Peer, m.Stream, m.Outcome, m.Receipt, m.Issuer)
	}
	if j.Cached {
		row("cached", "the outcome was known: nothing ran")
	}
	if !j.Remote && j.Outcome != nil {
		row("read", "%s (%s)", count(j.Read.Blocks, "block"), size(j.Read.Bytes))
	}
	row("created", "%s", j.Created.UTC().Format(time.RFC3339))
	if j.Fetched.Bytes > 0 {
		row("fetched", "%s", fetchedThere(j.Fetched))
	}
	if !j.Ended.IsZero() {
		row("took", "%s (compile %s, run %s)", rounded(j.Ended.Sub(j.Created)), rounded(j.Compile), rounded(j.Run))
	}
	for _, label := range labelsOf(j) {
		row("label", "%s", label)
	}
	if j.Err != nil {
		row("error", "%s", clean(j.Err.Message))
	}
	if j.Fault != "" {
		row("fault", "%s", cleanBlock(j.Fault))
	}
	if j.Placement != nil {
		describePlacement(row, *j.Placement)
	}
	for _, e := range j.Events {
		row("event", "%s %s", e.At.UTC().Format("15:04:05.000"), clean(e.Text))
	}
}

// describePlacement shows a line for each peer that was asked, by score, then those that were
// not asked.
func describePlacement(row func(key, format string, a ...any), p api.Placement) {
	bids := slices.Clone(p.Bids)
	slices.SortStableFunc(bids, func(a, b api.Bid) int {
		if refused := cmp.Compare(len(a.Code), 0) - cmp.Compare(len(b.Code), 0); refused != 0 {
			return refused
		}
		return cmp.Compare(a.Score, b.Score)
	})
	for _, b := range bids {
		who := b.Peer
		if b.Self {
			who += " (this node)"
		}
		if b.Code != "" {
			row("refused", "%s: %s", who, clean(b.Why))
			continue
		}
		least := ""
		if !b.Exact {
			least = " or less"
		}
		row("bid", "%s: %.3g s, has %s, lacks %s%s: %s", who, b.Score, size(int64(b.Have)), size(int64(b.Missing)), least, clean(b.Why))
	}
	if p.Omitted > 0 {
		row("omitted", "%s", count(p.Omitted, "peer"))
	}
	for _, s := range p.Skipped {
		row("skipped", "%s: %s", count(s.Count, "peer"), clean(s.Why))
	}
	for _, a := range p.Awards {
		why := ""
		if a.Why != "" {
			why = ": " + clean(a.Why)
		}
		row("award", "%s: %s%s", a.Peer, clean(a.State), why)
	}
	if p.Ended != "" {
		row("placed", "%s", clean(p.Ended))
	}
}

func rounded(d time.Duration) time.Duration {
	if d < time.Second {
		return d.Round(10 * time.Microsecond)
	}
	return d.Round(time.Millisecond)
}
