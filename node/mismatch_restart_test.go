package node_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/ipfs-liftoff/liftoff/node/api"
)

// A requester that restarts while its job waits for another peer still excludes the peer with the mismatch, and
// keeps its signed result through collections.
func TestMismatchIsKnownAfterRestart(t *testing.T) {
	f := honestFleet(t, 1)
	rogue, other := newRogue(t, f, best, runsHonestly), newRogue(t, f, best, runsHonestly)
	rogue.prints = says("balance 99\n", "")
	other.busy.Store(1 << 30)
	j, err := f[0].Jobs.Submit(t.Context(), api.Request{Task: task(put(t, f[0].Session, "module"), "prints"), Where: api.WhereNetwork})
	if err != nil {
		t.Fatal(err)
	}
	waits, mismatched := errors.New("waiting"), false
	err = f[0].Jobs.Follow(t.Context(), j.ID, 0, func(e api.Event) error {
		mismatched = mismatched || e.Kind == api.EventMismatch
		if mismatched && e.Kind == api.EventWaiting {
			return waits
		}
		return nil
	})
	if !errors.Is(err, waits) {
		t.Fatalf("the job does not wait: %v", err)
	}
	f[0].leave()
	again := serve(t, f[0].cfg)
	signed := func() {
		t.Helper()
		if _, err := again.Maintenance.Collect(t.Context()); err != nil {
			t.Fatal(err)
		}
		j, err := again.Jobs.Find(t.Context(), j.ID)
		if err != nil || len(j.Mismatches) != 1 || j.Mismatches[0].Peer != rogue.did {
			t.Fatalf("record: %+v, %v", j, err)
		}
		m := j.Mismatches[0]
		if has, err := again.Data.Has(t.Context(), m.Outcome); err != nil || !has {
			t.Errorf("outcome of the rogue (job %s) is kept: %v, %v", j.State, has, err)
		}
		if has, err := again.Data.Has(t.Context(), m.Receipt); err != nil || !has {
			t.Errorf("receipt of the rogue (job %s) is kept: %v, %v", j.State, has, err)
		}
	}
	signed()
	other.busy.Store(0)
	done, _ := waitFor(t, again.Session, j.ID)
	if done.State != api.JobDone || done.Where != other.did || rogue.awards.Load() != 1 {
		t.Errorf("%s at %s, %d awards to the rogue: %+v", done.State, done.Where, rogue.awards.Load(), done.Err)
	}
	signed()
}

// A job for a single peer with a mismatch fails because of the mismatch, shown or not, and names the peer.
func TestOnlyPeerMismatches(t *testing.T) {
	f := honestFleet(t, 1)
	r := newRogue(t, f, best, runsHonestly)
	r.prints = says("balance 99\n", "")
	for _, after := range []bool{false, true} {
		q := api.Request{Task: task(put(t, f[0].Session, "module"), "prints"), Where: r.did, PrintAfterCheck: after, NoCache: true}
		j, err := f[0].Jobs.Run(t.Context(), q, newScreen().watch())
		if codeOf(err) != api.CodeMismatch || j.State != api.JobFailed || j.Err == nil || j.Err.Code != api.CodeMismatch {
			t.Errorf("after check %v: %v, %+v", after, err, j)
			continue
		}
		why := "the output shown on stdout differs from the outcome"
		if after {
			why = "printed to stdout differs from its outcome"
		}
		contains(t, err.Error(), r.did, why)
		if strings.Count(err.Error(), "no other peer finished the job") != 1 {
			t.Errorf("after check %v: %v", after, err)
		}
	}
}
