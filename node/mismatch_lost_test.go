package node_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/ipfs-liftoff/liftoff/host/market"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

// A peer prints and is lost; an honest one does the job. Only a mismatch is held against the first, however its
// run ended.
func TestPrintsAndIsLost(t *testing.T) {
	fails := func(_ *rogue, run *market.Run) {
		run.Fail(market.FailedError{Code: "fault", Why: "its disk is full"})
	}
	for name, c := range map[string]struct {
		first    string
		mismatch bool
		ends     func(r *rogue, run *market.Run)
	}{
		"mismatch, then failure":        {"balance 99\n", true, fails},
		"longer mismatch, then failure": {balance + "and more\n", true, fails},
		"correct, then failure":         {"balance", false, fails},
		"mismatch, at a wrong offset":   {"balance 99\n", true, nil},
		"correct, at a wrong offset":    {"balance", false, nil},
	} {
		t.Run(name, func(t *testing.T) {
			f := honestFleet(t, 2)
			shown := make(chan struct{})
			r := newRogue(t, f, best, func(r *rogue, q market.Request, a market.Awarded, run *market.Run) {
				<-shown
				if c.ends != nil {
					c.ends(r, run)
				}
			})
			r.prints = says(c.first, "")
			if c.ends == nil { // the second piece claims to begin where the first did
				at := fmt.Appendf(nil, "\x63off%c", len(c.first))
				bend := func(b []byte) []byte { return bytes.Replace(b, at, []byte("\x63off\x00"), 1) }
				r.bend.Store(&bend)
				r.prints = func(ctx context.Context, out, errs io.Writer) error {
					if err := says(c.first, "")(ctx, out, errs); err != nil {
						return err
					}
					<-shown
					return says("and more\n", "")(ctx, out, errs)
				}
			}
			s := newScreen()
			type ended struct {
				api.Job
				error
			}
			done := make(chan ended, 1)
			var events []api.Event
			go func() {
				w := s.watch()
				w.Event = func(e api.Event) { events = append(events, e) }
				j, err := f[0].Jobs.Run(t.Context(), api.Request{Task: task(put(t, f[0].Session, "module"), "prints"), Where: api.WhereNetwork}, w)
				done <- ended{j, err}
			}()
			s.shows(t, c.first)
			close(shown)
			e := <-done
			out, errs := s.text()
			if !c.mismatch {
				if e.error != nil || out != balance || errs != advice || len(e.Mismatches) > 0 {
					t.Errorf("%v, shown: %q, %q\n%s", e.error, out, errs, texts(events))
				}
				return
			}
			if out != c.first || errs != advice {
				t.Errorf("shown: %q, %q", out, errs)
			}
			wantMismatch(t, e.Job, e.error, r.did, "stdout")
			if m := e.Mismatches[0]; m.Issuer != f[1].did || m.Receipt != e.Receipt {
				t.Errorf("record does not name the honest peer: %+v", m)
			}
			if out, errs := kept(t, f[0], e.ID); out != balance || errs != advice {
				t.Errorf("kept: %q, %q", out, errs)
			}
		})
	}
}

// A peer with a mismatch is not asked again for the job, however long the job waits for another peer.
func TestMismatchedPeerIsNotAskedAgain(t *testing.T) {
	f := honestFleet(t, 1)
	mismatched, other := newRogue(t, f, best, runsHonestly), newRogue(t, f, best, runsHonestly)
	mismatched.prints = says("balance 99\n", "")
	other.busy.Store(6) // more rounds than one placement has
	s := newScreen()
	j, err := f[0].Jobs.Run(t.Context(), api.Request{
		Task: task(put(t, f[0].Session, "module"), "prints"), Where: api.WhereNetwork, PrintAfterCheck: true,
	}, s.watch())
	if out, errs := s.text(); err != nil || j.Where != other.did || out != balance || errs != advice {
		t.Errorf("%v at %s, shown: %q, %q", err, j.Where, out, errs)
	}
	if n := mismatched.awards.Load(); n != 1 {
		t.Errorf("the rogue was awarded the job %d times", n)
	}
}

// Two peers print the same mismatched text and are lost: nothing is shown twice, and each awarded peer is named.
func TestSameMismatchTwice(t *testing.T) {
	f := honestFleet(t, 2)
	mismatched := func(r *rogue, _ market.Request, _ market.Awarded, run *market.Run) {
		run.Fail(market.FailedError{Code: "fault", Why: "its disk is full"})
	}
	a, b := newRogue(t, f, best, mismatched), newRogue(t, f, best, mismatched)
	a.prints, b.prints = says("balance 99\n", ""), says("balance 99\n", "")
	s := newScreen()
	j, err := f[0].Jobs.Run(t.Context(), api.Request{Task: task(put(t, f[0].Session, "module"), "prints"), Where: api.WhereNetwork}, s.watch())
	if codeOf(err) != api.CodeMismatch || j.Where != f[1].did {
		t.Fatalf("%+v, %v", j, err)
	}
	if out, _ := s.text(); out != "balance 99\n" {
		t.Errorf("shown: %q", out)
	}
	for _, r := range []*rogue{a, b} {
		if r.awards.Load() > 0 && !strings.Contains(err.Error(), r.did) {
			t.Errorf("%s is not named: %v", r.did, err)
		}
	}
}

// Two runs of a nondeterministic task may print different text: that of a lost run is marked as not verified,
// the next run starts again, and neither counts as a mismatch.
func TestNondetStartsAgain(t *testing.T) {
	f := honestFleet(t, 2)
	shown := make(chan struct{})
	r := newRogue(t, f, best, func(_ *rogue, _ market.Request, _ market.Awarded, run *market.Run) {
		<-shown
		run.Fail(market.FailedError{Code: "fault", Why: "its disk is full"})
	})
	r.prints = says("it is noon\n", "")
	tk := task(put(t, f[0].Session, "module"), "prints")
	tk.Det, tk.Nonce = job.DetNone, []byte("0123456789abcdef")
	s := newScreen()
	done := make(chan error, 1)
	var events []api.Event
	var j api.Job
	go func() {
		w := s.watch()
		w.Event = func(e api.Event) { events = append(events, e) }
		var err error
		j, err = f[0].Jobs.Run(t.Context(), api.Request{Task: tk, Where: api.WhereNetwork}, w)
		done <- err
	}()
	s.shows(t, "it is noon\n")
	close(shown)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if out, _ := s.text(); out != "it is noon\n"+balance || len(j.Mismatches) > 0 {
		t.Errorf("shown: %q, %+v", out, j.Mismatches)
	}
	contains(t, texts(events), "is not verified")
	if out, _ := kept(t, f[0], j.ID); out != balance {
		t.Errorf("kept: %q", out)
	}
}

// A peer prints as much as the job may, to the wrong stream, and is lost: the output of the next peer to the
// other stream still fits.
func TestMismatchOfFullLength(t *testing.T) {
	text := strings.Repeat("x", len(balance+advice))
	for name, prints := range map[string]func(context.Context, io.Writer, io.Writer) error{
		"to stdout": says(text, ""),
		"to stderr": says("", text),
	} {
		t.Run(name, func(t *testing.T) {
			f := honestFleet(t, 2)
			r := newRogue(t, f, best, func(_ *rogue, _ market.Request, _ market.Awarded, run *market.Run) {
				run.Fail(market.FailedError{Code: "fault", Why: "its disk is full"})
			})
			r.prints = prints
			q := api.Request{Task: task(put(t, f[0].Session, "module"), "prints"), Where: api.WhereNetwork}
			q.Limits.Log = uint64(len(text))
			j, err := f[0].Jobs.Run(t.Context(), q, newScreen().watch())
			wantMismatch(t, j, err, r.did, strings.TrimPrefix(name, "to "))
			if out, errs := kept(t, f[0], j.ID); out != balance || errs != advice {
				t.Errorf("kept: %q, %q", out, errs)
			}
		})
	}
}
