package node_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/ipfs-liftoff/liftoff/node"
	"github.com/ipfs-liftoff/liftoff/node/api"
	"github.com/ipfs-liftoff/liftoff/runtime"
)

// A peer that runs the task honestly but prints something else loses the job and is named. Output that it did
// not print is in the Outcome.
func TestPrintsSomethingElse(t *testing.T) {
	for name, c := range map[string]struct {
		stdout, stderr string   // the rogue's output
		out, errs      string   // the final output shown
		mismatches     []string // streams
	}{
		"as long":    {"balance 99\n", advice, "balance 99\n", advice, []string{"stdout"}},
		"longer":     {balance + "and more\n", advice, balance + "and more\n", advice, []string{"stdout"}},
		"shorter":    {"balance 9", advice, "balance 9", advice, []string{"stdout"}},
		"to stderr":  {balance, "flee at once\n", balance, "flee at once\n", []string{"stderr"}},
		"to both":    {"x", "y", "x", "y", []string{"stdout", "stderr"}},
		"nothing":    {"", "", balance, advice, nil},
		"too little": {"bal", "a", balance, advice, nil},
		"correct":    {balance, advice, balance, advice, nil},
	} {
		t.Run(name, func(t *testing.T) {
			f := honestFleet(t, 2)
			r := newRogue(t, f, best, runsHonestly)
			r.prints = says(c.stdout, c.stderr)
			s := newScreen()
			var events []api.Event
			w := s.watch()
			w.Event = func(e api.Event) { events = append(events, e) }
			j, err := f[0].Jobs.Run(t.Context(), api.Request{Task: task(put(t, f[0].Session, "module"), "prints"), Where: api.WhereNetwork}, w)
			if out, errs := s.text(); out != c.out || errs != c.errs {
				t.Errorf("shown: %q, %q; want %q, %q", out, errs, c.out, c.errs)
			}
			if out, errs := kept(t, f[0], j.ID); out != balance || errs != advice {
				t.Errorf("kept: %q, %q", out, errs)
			}
			if len(c.mismatches) == 0 {
				if err != nil || j.Where != r.did || len(j.Mismatches) > 0 {
					t.Errorf("%+v, %v\n%s", j, err, texts(events))
				}
				return
			}
			wantMismatch(t, j, err, r.did, c.mismatches...)
			if n := count(events, api.EventMismatch); n != len(c.mismatches) {
				t.Errorf("%d mismatch events, want %d\n%s", n, len(c.mismatches), texts(events))
			}
			if r.awards.Load() != 1 {
				t.Errorf("the rogue was awarded the job %d times", r.awards.Load())
			}
		})
	}
}

// A client that does not read a stream gets no error for a mismatch on it.
func TestMismatchOnUnreadStream(t *testing.T) {
	f := honestFleet(t, 2)
	r := newRogue(t, f, best, runsHonestly)
	r.prints = says("balance 99\n", advice)
	s := newScreen()
	j, err := f[0].Jobs.Run(t.Context(), api.Request{
		Task: task(put(t, f[0].Session, "module"), "prints"), Where: api.WhereNetwork,
	}, api.Watch{Stderr: s.watch().Stderr})
	if _, errs := s.text(); err != nil || errs != advice || j.Where != f[1].did || len(j.Mismatches) != 1 {
		t.Errorf("%v, shown: %q, %+v", err, errs, j)
	}
}

// The signed result of a peer with a mismatch is kept as evidence and is neither added to the receipts nor
// cached, even if its key is trusted.
func TestMismatchedResultIsRejected(t *testing.T) {
	f := honestFleet(t, 1)
	r := newRogue(t, f, best, runsHonestly)
	r.prints = says("balance 99\n", "")
	if err := f[0].Trust.Trust(t.Context(), r.did, "it seemed honest"); err != nil {
		t.Fatal(err)
	}
	s := newScreen()
	j, err := f[0].Jobs.Run(t.Context(), api.Request{Task: task(put(t, f[0].Session, "module"), "prints"), Where: api.WhereNetwork}, s.watch())
	if codeOf(err) != api.CodeMismatch || j.State != api.JobFailed {
		t.Fatalf("%+v, %v", j, err)
	}
	contains(t, err.Error(), r.did, "no other peer finished the job")
	if all, err := f[0].Receipts.Receipts(t.Context()); err != nil || len(all) > 0 {
		t.Errorf("receipts: %+v, %v", all, err)
	}
	if all, err := f[0].Cache.CachedResults(t.Context()); err != nil || len(all) > 0 {
		t.Errorf("cached results: %+v, %v", all, err)
	}
	if _, err := f[0].Maintenance.Collect(t.Context()); err != nil {
		t.Fatal(err)
	}
	again, err := f[0].Jobs.Find(t.Context(), j.ID)
	if err != nil || len(again.Mismatches) != 1 {
		t.Fatalf("record: %+v, %v", again, err)
	}
	m := again.Mismatches[0]
	if m.Issuer != r.did || receipt(t, f[0], m.Receipt).Outcome != m.Outcome {
		t.Errorf("evidence: %+v", m)
	}
	if has, err := f[0].Data.Has(t.Context(), m.Outcome); err != nil || !has {
		t.Errorf("outcome is kept: %v, %v", has, err)
	}
}

// With PrintAfterCheck, and with several runs, no text that differs from the Outcome is shown, and the job
// succeeds.
func TestNothingIsShownBeforeItIsCompared(t *testing.T) {
	for name, change := range map[string]func(*api.Request){
		"print after check":         func(r *api.Request) { r.PrintAfterCheck = true },
		"runs":                      func(r *api.Request) { r.Runs = 2 },
		"runs, after check":         func(r *api.Request) { r.Runs, r.PrintAfterCheck = 2, true },
		"runs, including this node": func(r *api.Request) { r.Runs, r.Where = 2, api.WhereBest },
	} {
		t.Run(name, func(t *testing.T) {
			f := honestFleet(t, 3)
			r := newRogue(t, f, best, runsHonestly)
			r.prints = says("balance 1000000\n", "flee at once\n")
			q := api.Request{Task: task(put(t, f[0].Session, "module"), "prints"), Where: api.WhereNetwork}
			change(&q)
			s := newScreen()
			j, err := f[0].Jobs.Run(t.Context(), q, s.watch())
			if out, errs := s.text(); err != nil || out != balance || errs != advice {
				t.Errorf("%v, shown: %q, %q", err, out, errs)
			}
			if r.awards.Load() == 1 && (len(j.Mismatches) != 2 || j.Mismatches[0].Shown) {
				t.Errorf("record: %+v", j.Mismatches)
			}
			if j.Where == r.did || slices.ContainsFunc(j.Runs, func(p api.RunResult) bool { return p.Peer == r.did }) {
				t.Errorf("the rogue's result was accepted: %+v", j)
			}
		})
	}
}

// One of two runs prints something else, and a third peer does not exist: the job fails, and none of its output
// is shown.
func TestRunPrintsSomethingElse(t *testing.T) {
	f := honestFleet(t, 2)
	r := newRogue(t, f, best, runsHonestly)
	r.prints = says("balance 1000000\n", "")
	s := newScreen()
	j, err := f[0].Jobs.Run(t.Context(), api.Request{
		Task: task(put(t, f[0].Session, "module"), "prints"), Where: api.WhereNetwork, Runs: 2,
	}, s.watch())
	if out, errs := s.text(); codeOf(err) != api.CodeMismatch || out != "" || errs != "" {
		t.Errorf("%v, shown: %q, %q", err, out, errs)
	}
	contains(t, fmt.Sprint(err), "what "+r.did+" printed to stdout differs from its outcome", "no other peer finished the job")
	if len(j.Mismatches) != 1 || j.Mismatches[0].Peer != r.did {
		t.Errorf("record: %+v", j.Mismatches)
	}
}

// Output of several runs is not shown while they run, except that of the run on this node, which is shown at
// once.
func TestOwnRunIsShownAtOnce(t *testing.T) {
	g := newGate()
	f := fleet(t, 2, func(i int, c *node.Config) { c.Executors = runtime.Executors{script{"gate": g.run}} })
	mod := put(t, f[0].Session, "module")
	put(t, f[1].Session, "module")
	s := newScreen()
	ended := make(chan error, 1)
	go func() {
		_, err := f[0].Jobs.Run(t.Context(), api.Request{Task: task(mod, "gate"), Runs: 2}, s.watch())
		ended <- err
	}()
	s.shows(t, "begun\n")
	<-g.begun
	<-g.begun
	close(g.open)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if out, errs := s.text(); out != "begun\nended\n" || errs != "to stderr\n" {
		t.Errorf("shown: %q, %q", out, errs)
	}
}
