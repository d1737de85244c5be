package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node/api"
	"github.com/ipfs-liftoff/liftoff/node/request"
	"github.com/ipfs-liftoff/liftoff/scheduler"
)

// policy decides which output is shown before there is an Outcome. Of several runs, only the run on this node is
// shown: several runs are requested because no single peer is trusted.
func (x *running) policy() request.Policy {
	r := x.request
	return request.Policy{
		Checked: r.PrintAfterCheck || len(x.snapshot().Mismatches) > 0,
		Own:     r.Runs > 1, Nondet: r.Task.Det == job.DetNone,
	}
}

// Open implements request.Node.
func (t *placement) Open(ctx context.Context, c cid.Cid) (*dag.File, error) {
	return dag.OpenFile(ctx, t.e.session, c)
}

// Mismatch implements request.Node. The peer is not asked again for the job. Its signed outcome and receipt are
// kept with the job as evidence, and are not added to the receipts.
func (t *placement) Mismatch(m request.Mismatch) {
	t.x.mismatch(api.Mismatch{
		Peer: string(m.Peer), Stream: m.Name(), Shown: m.Shown,
		Issuer: string(m.Result.Peer), Outcome: m.Result.Outcome, Receipt: m.Result.Receipt,
	})
	if m.Peer == m.Result.Peer {
		t.mu.Lock()
		t.mismatched[m.Peer] = true
		t.mu.Unlock()
		t.e.evidence = append(t.e.evidence, m.Result.Outcome, m.Result.Receipt)
	}
}

// evidence returns the signed outcomes and receipts of peers whose printed output differs from them, and those
// peers.
func evidence(all []api.Mismatch) (signed []cid.Cid, mismatched map[job.DID]bool) {
	mismatched = map[job.DID]bool{}
	for _, m := range all {
		if m.Peer == m.Issuer {
			signed = append(signed, m.Outcome, m.Receipt)
			mismatched[job.DID(m.Peer)] = true
		}
	}
	return signed, mismatched
}

func (t *placement) isExcluded(d job.DID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.mismatched[d]
}

// show compares the output shown so far with the job's Outcome, and shows the rest.
func (t *placement) show(ctx context.Context, r request.Result) error {
	blocks := overlay{t.e.session, t.e.blocks}
	all, err := t.printed.Finish(ctx, r, func(ctx context.Context, c cid.Cid) (*dag.File, error) {
		return dag.OpenFile(ctx, blocks, c)
	})
	for _, m := range all {
		t.Mismatch(m)
	}
	return apiError(ctx, err)
}

// reportUnverified reports output of a failed job that was shown and never compared.
func (t *placement) reportUnverified() {
	for _, p := range t.printed.Unverified() {
		t.x.event(api.Event{
			Kind: api.EventNote, Peer: string(p), Text: "the output of " + scheduler.Short(p) + " is not verified",
		})
	}
}

// overlay is a block set plus blocks that are not stored yet.
type overlay struct {
	dag.Blocks
	more []dag.Block
}

func (o overlay) Get(ctx context.Context, c cid.Cid) (dag.Block, error) {
	for _, b := range o.more {
		if key(b.CID()) == key(c) {
			return dag.TrustBlock(c, b.Data()), nil
		}
	}
	return o.Blocks.Get(ctx, c)
}

// mismatch records m and sends the event to all watchers.
func (x *running) mismatch(m api.Mismatch) {
	x.mu.Lock()
	if n := len(x.job.Mismatches); n < api.MaxMismatches {
		x.job.Mismatches = append(x.job.Mismatches[:n:n], m) // others may hold the slice
	}
	x.mu.Unlock()
	e := api.Event{Kind: api.EventMismatch, Peer: m.Peer, Text: mismatchText(m), Fields: map[string]string{
		"stream": m.Stream, "issuer": m.Issuer, "outcome": m.Outcome.String(), "receipt": m.Receipt.String(),
	}}
	x.event(e)
}

func mismatchText(m api.Mismatch) string {
	text := fmt.Sprintf("%s printed text to %s that differs from outcome %s", m.Peer, m.Stream, m.Outcome)
	if m.Issuer != m.Peer {
		text += " of " + m.Issuer
	}
	return text
}

// noOther begins the rest of an error about mismatches.
const noOther = "; no other peer finished the job: "

// mismatchSummary names the peers whose printed output differs from their own Outcomes; "" if there are none.
func mismatchSummary(all []api.Mismatch) string {
	var said []string
	for _, m := range all {
		if text := fmt.Sprintf("what %s printed to %s differs from its outcome", m.Peer, m.Stream); m.Peer == m.Issuer && !slices.Contains(said, text) {
			said = append(said, text)
		}
	}
	return listed(said, maxUnreached)
}

// recordMisled records for which streams the attached client was shown text that differs from the Outcome.
func (x *running) recordMisled(stdout, stderr bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.misled = [2]bool{stdout, stderr}
}

// clientError returns the error for a client that was attached to x, which ended as j with err.
func (x *running) clientError(j api.Job, err error) error {
	x.mu.Lock()
	stdout, stderr := x.misled[0], x.misled[1]
	x.mu.Unlock()
	return mismatchError(j, stdout, stderr, err)
}

// mismatchError returns err, or the error for a client that was shown text that differs from the Outcome: even if
// the job succeeded, that text is not its result.
func mismatchError(j api.Job, stdout, stderr bool, err error) error {
	var e *api.Error
	if !stdout && !stderr || err != nil && !errors.As(err, &e) {
		return err
	}
	var names, peers []string
	receipt := ""
	for _, s := range []struct {
		name  string
		shown bool
	}{{"stdout", stdout}, {"stderr", stderr}} {
		if !s.shown {
			continue
		}
		names = append(names, s.name)
		for _, m := range j.Mismatches {
			if m.Stream != s.name || !m.Shown {
				continue
			}
			if !slices.Contains(peers, m.Peer) {
				peers = append(peers, m.Peer)
			}
			if m.Issuer != m.Peer {
				receipt = m.Receipt.String()
			}
		}
	}
	out := &api.Error{Code: api.CodeMismatch, Message: fmt.Sprintf("the output shown on %s differs from the outcome: %s printed something else",
		strings.Join(names, " and "), strings.Join(peers, " and "))}
	switch {
	case e != nil:
		why := strings.TrimPrefix(e.Message, mismatchSummary(j.Mismatches)+noOther)
		out.Message, out.Hint = out.Message+noOther+why, e.Hint
	case receipt != "":
		out.Hint = fmt.Sprintf("`liftoff job logs %s` prints the output of the outcome; `liftoff verify --reexec %s` checks that outcome", j.ID, receipt)
	default:
		out.Hint = fmt.Sprintf("`liftoff job logs %s` prints the output of the outcome", j.ID)
	}
	return out
}
