package node_test

import (
	"context"
	"fmt"
	"net"
	"testing"

	"github.com/ipfs-liftoff/liftoff/host/market"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node"
	"github.com/ipfs-liftoff/liftoff/node/api"
	"github.com/ipfs-liftoff/liftoff/runtime"
)

// Readers of a submitted job: one that was shown mismatched text gets an error, one that comes after the
// mismatch was found gets the correct text only.
func TestFollowMismatch(t *testing.T) {
	g := newGate()
	f := fleet(t, 2, func(_ int, c *node.Config) {
		c.Executors = runtime.Executors{script{"prints": func(ctx context.Context, t job.Task, env runtime.Env) (runtime.Result, error) {
			g.begun <- struct{}{}
			<-g.open
			return prints(ctx, t, env)
		}}}
	})
	shown := make(chan struct{})
	r := newRogue(t, f, best, func(r *rogue, q market.Request, a market.Awarded, run *market.Run) {
		<-shown
		runsHonestly(r, q, a, run)
	})
	r.prints = says("balance 99\n", "")
	j, err := f[0].Jobs.Submit(t.Context(), api.Request{Task: task(put(t, f[0].Session, "module"), "prints"), Where: api.WhereNetwork})
	if err != nil {
		t.Fatal(err)
	}
	early, other, late := newScreen(), newScreen(), newScreen()
	follow := func(s *screen, w api.Watch) chan error {
		done := make(chan error, 1)
		go func() { done <- f[0].Jobs.Logs(t.Context(), j.ID, w) }()
		return done
	}
	earlyDone := follow(early, early.watch())
	otherDone := follow(other, api.Watch{Stderr: other.watch().Stderr})
	early.shows(t, "balance 99\n")
	close(shown)
	<-g.begun // the next peer runs it: the mismatch was found
	lateDone := follow(late, late.watch())
	close(g.open)
	err = <-earlyDone
	if out, _ := early.text(); codeOf(err) != api.CodeMismatch || out != "balance 99\n" {
		t.Errorf("early reader: %v, shown %q", err, out)
	}
	contains(t, fmt.Sprint(err), r.did)
	err = <-otherDone
	if _, errs := other.text(); err != nil || errs != advice {
		t.Errorf("stderr reader: %v, shown %q", err, errs)
	}
	err = <-lateDone
	if out, errs := late.text(); err != nil || out != balance || errs != advice {
		t.Errorf("late reader: %v, shown %q, %q", err, out, errs)
	}
	if done, _ := waitFor(t, f[0].Session, j.ID); done.State != api.JobDone || done.Where != f[1].did || len(done.Mismatches) != 1 {
		t.Errorf("%+v", done)
	}
}

// A client of the HTTP API, on TCP, gets the same error as one in the process.
func TestRemoteClientGetsMismatch(t *testing.T) {
	f := honestFleet(t, 2)
	r := newRogue(t, f, best, runsHonestly)
	r.prints = says("balance 99\n", advice)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	const token = "0123456789abcdefghij"
	go func() { served <- f[0].ServeAPI(ctx, l, token) }()
	t.Cleanup(func() { cancel(); <-served })
	remote, err := node.Remote(t.Context(), l.Addr().String(), token)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { remote.Close() })
	q := api.Request{Task: task(put(t, remote, "module"), "prints"), Where: api.WhereNetwork}
	s := newScreen()
	var events []api.Event
	w := s.watch()
	w.Event = func(e api.Event) { events = append(events, e) }
	j, err := remote.Jobs.Run(t.Context(), q, w)
	wantMismatch(t, j, err, r.did, "stdout")
	if out, errs := s.text(); out != "balance 99\n" || errs != advice || count(events, api.EventMismatch) != 1 {
		t.Errorf("shown: %q, %q\n%s", out, errs, texts(events))
	}
	q.Task.Args, q.PrintAfterCheck = []string{"again"}, true
	s = newScreen()
	j, err = remote.Jobs.Run(t.Context(), q, s.watch())
	if out, errs := s.text(); err != nil || out != balance || errs != advice || j.Where == r.did {
		t.Errorf("after the check: %v, shown %q, %q", err, out, errs)
	}
}

// PrintAfterCheck shows nothing while the guest runs, on this node or another, and all of the output at the end.
func TestPrintAfterCheckWaits(t *testing.T) {
	for _, where := range []string{api.WhereLocal, api.WhereNetwork} {
		t.Run(where, func(t *testing.T) {
			g := newGate()
			f := fleet(t, 2, func(_ int, c *node.Config) { c.Executors = runtime.Executors{script{"gate": g.run}} })
			waits(t, f[0].Session, g, where)
		})
	}
	t.Run("no network", func(t *testing.T) {
		g := newGate()
		s, err := node.Join(t.Context(), gated(t.TempDir(), g))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Abort() })
		waits(t, s, g, api.WhereBest)
	})
}

func waits(t *testing.T, s *node.Session, g *gate, where string) {
	c := newScreen()
	ended := make(chan error, 1)
	go func() {
		_, err := s.Jobs.Run(t.Context(), api.Request{Task: task(put(t, s, "module"), "gate"), Where: where, PrintAfterCheck: true}, c.watch())
		ended <- err
	}()
	<-g.begun
	if out, errs := c.text(); out+errs != "" {
		t.Errorf("shown while it runs: %q, %q", out, errs)
	}
	close(g.open)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if out, errs := c.text(); out != "begun\nended\n" || errs != "to stderr\n" {
		t.Errorf("shown: %q, %q", out, errs)
	}
}
