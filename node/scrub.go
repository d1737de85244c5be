package node

import (
	"context"
	"encoding/json"
	"time"

	"github.com/ipfs-liftoff/liftoff/host/store"
)

// A serving node reads and hashes its blocks again, part by part, so that a failing disk is noticed before the
// block is needed. A pass takes Config.Scrub: its parts are spread over that time, and the number of the next
// part is kept in the repo, so that a restart continues there.

const (
	scrubRate   = 16 << 20 // bytes per second within a part
	scrubRecord = "scrub"
)

// scrubState is the progress of a pass.
type scrubState struct {
	Part    int       `json:"part"`  // the next part
	Began   time.Time `json:"began"` // start of the pass
	Blocks  int       `json:"blocks"`
	Bytes   int64     `json:"bytes"`
	Damaged int       `json:"damaged"`
}

// scrub runs passes until ctx ends. Errors are logged: a scrub does not stop the node.
func (n *Node) scrub(ctx context.Context) error {
	if n.scrubPeriod <= 0 || n.store.ReadOnly() {
		return nil
	}
	st := n.scrubProgress()
	for {
		due := st.Began.Add(time.Duration(float64(n.scrubPeriod) / store.ScrubParts * float64(st.Part)))
		t := time.NewTimer(max(0, due.Sub(n.clock())))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil
		}
		if err := n.scrubPart(ctx, &st); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			n.log.Error("scrub part of repo", "part", st.Part, "err", err)
		}
		st.Part++
		if st.Part == store.ScrubParts {
			n.log.Info("scrub complete", "blocks", st.Blocks, "bytes", st.Bytes, "damaged", st.Damaged, "took", n.clock().Sub(st.Began))
			// Time lost because the node was down or the disk is large is not caught up.
			st = scrubState{Began: later(st.Began.Add(n.scrubPeriod), n.clock())}
		}
		value, err := json.Marshal(st)
		if err == nil {
			err = n.store.Commit(ctx, store.Batch{Records: []store.Record{{Name: scrubRecord, Value: value}}})
		}
		if err != nil && ctx.Err() == nil {
			n.log.Error("save scrub progress", "err", err)
		}
	}
}

// scrubProgress returns the progress of the pass that an earlier process has started, or a new pass.
func (n *Node) scrubProgress() scrubState {
	var st scrubState
	value, found, err := n.store.Lookup(scrubRecord)
	if err == nil && found {
		err = json.Unmarshal(value, &st)
	}
	if err != nil || !found || st.Part < 0 || st.Part >= store.ScrubParts || st.Began.IsZero() {
		return scrubState{Began: n.clock()}
	}
	// Parts that were due while the node was down are not scrubbed all at once.
	at := time.Duration(float64(n.scrubPeriod) / store.ScrubParts * float64(st.Part))
	st.Began = later(st.Began, n.clock().Add(-at))
	return st
}

func (n *Node) scrubPart(ctx context.Context, st *scrubState) error {
	sum, err := n.store.ScrubPart(ctx, st.Part, scrubRate, func(d store.Damage) {
		name := "-"
		if d.CID.Defined() {
			name = d.CID.String()
		}
		n.log.Error("damaged block", "block", name, "where", d.Where, "err", d.Err)
	})
	st.Blocks += sum.Blocks
	st.Bytes += sum.Bytes
	st.Damaged += sum.Damaged + sum.Foreign
	n.metrics.scrubbed(sum)
	return err
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
