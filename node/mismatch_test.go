package node_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ipfs/go-cid"
	p2phost "github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/ipfs-liftoff/liftoff/host/market"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node"
	"github.com/ipfs-liftoff/liftoff/node/api"
	"github.com/ipfs-liftoff/liftoff/runtime"
)

// What the guest of these tests prints.
const (
	balance = "balance 17\n"
	advice  = "all is well\n"
)

// prints is a guest that prints what honest peers print.
func prints(ctx context.Context, t job.Task, env runtime.Env) (runtime.Result, error) {
	io.WriteString(env.Stdout, balance)
	io.WriteString(env.Stderr, advice)
	return result(ctx, t, env, "done")
}

// honestFleet is n members that run prints.
func honestFleet(t *testing.T, n int) []*member {
	return fleet(t, n, func(_ int, c *node.Config) { c.Executors = runtime.Executors{script{"prints": prints}} })
}

// bending is the host of a rogue, which writes other frames than the market's.
type bending struct {
	p2phost.Host
	r *rogue
}

func (b bending) SetStreamHandler(p protocol.ID, f network.StreamHandler) {
	b.Host.SetStreamHandler(p, func(s network.Stream) { f(bentStream{s, b.r}) })
}

type bentStream struct {
	network.Stream
	r *rogue
}

func (s bentStream) Write(b []byte) (int, error) {
	out := b
	if bend := s.r.bend.Load(); bend != nil {
		out = (*bend)(bytes.Clone(b))
	}
	if _, err := s.Stream.Write(out); err != nil {
		return 0, err
	}
	return len(b), nil
}

// says makes a rogue print these texts, whatever its Outcome says.
func says(stdout, stderr string) func(context.Context, io.Writer, io.Writer) error {
	return func(_ context.Context, out, errs io.Writer) error {
		if _, err := io.WriteString(out, stdout); err != nil {
			return err
		}
		_, err := io.WriteString(errs, stderr)
		return err
	}
}

// runsHonestly delivers the Outcome that an honest peer comes to.
func runsHonestly(r *rogue, q market.Request, a market.Awarded, run *market.Run) {
	root, out, errs := dag.NewBlock(cid.Raw, []byte("done")), dag.NewBlock(cid.Raw, []byte(balance)), dag.NewBlock(cid.Raw, []byte(advice))
	r.deliver(q, a, run, job.Outcome{
		Task: q.Signed.Task, State: job.OK, Root: root.CID(), Size: 4, Stdout: out.CID(), Stderr: errs.CID(), Log: uint64(len(balance + advice)),
	}, root, out, errs)
}

// screen is what a client was shown. Its writers may be called from several goroutines.
type screen struct {
	mu        sync.Mutex
	out, errs strings.Builder
	grown     chan struct{} // has a value after a write
}

func newScreen() *screen { return &screen{grown: make(chan struct{}, 1)} }

func (s *screen) watch() api.Watch {
	write := func(b *strings.Builder) writerFunc {
		return func(p []byte) (int, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			b.Write(p)
			select {
			case s.grown <- struct{}{}:
			default:
			}
			return len(p), nil
		}
	}
	return api.Watch{Stdout: write(&s.out), Stderr: write(&s.errs)}
}

func (s *screen) text() (stdout, stderr string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.String(), s.errs.String()
}

// shows waits until stdout is text.
func (s *screen) shows(t testing.TB, text string) {
	t.Helper()
	for {
		if out, _ := s.text(); out == text {
			return
		}
		select {
		case <-s.grown:
		case <-t.Context().Done():
			t.Fatal("the test ended")
		}
	}
}

// wantMismatch looks whether a client was told, that it names the liar, and that the job
// was done by another peer all the same.
func wantMismatch(t *testing.T, j api.Job, err error, liar string, streams ...string) {
	t.Helper()
	if codeOf(err) != api.CodeMismatch {
		t.Fatalf("error %v (%s), want %s", err, codeOf(err), api.CodeMismatch)
	}
	contains(t, err.Error(), liar, "is not what the outcome says", "what was printed to "+strings.Join(streams, " and "))
	if j.State != api.JobDone || j.Where == liar || j.Result == nil {
		t.Errorf("the job is %s at %s: %+v", j.State, j.Where, j)
	}
	for _, s := range streams {
		if !slices.ContainsFunc(j.Mismatches, func(m api.Mismatch) bool { return m.Peer == liar && m.Stream == s && m.Shown }) {
			t.Errorf("the record does not name %s: %+v", s, j.Mismatches)
		}
	}
}

// kept returns what the node has kept of a job's streams.
func kept(t *testing.T, m *member, id string) (stdout, stderr string) {
	t.Helper()
	s := newScreen()
	if err := m.Jobs.Logs(t.Context(), id, s.watch()); err != nil {
		t.Errorf("the logs of a job that has ended: %v", err)
	}
	return s.text()
}

// A peer that runs honestly and prints something else loses the job and is named. What it
// did not print is in the Outcome.
func TestPrintsOtherwise(t *testing.T) {
	for name, c := range map[string]struct {
		stdout, stderr string   // of the rogue
		out, errs      string   // what is shown in the end
		lies           []string // streams
	}{
		"as long":       {"balance 99\n", advice, "balance 99\n", advice, []string{"stdout"}},
		"longer":        {balance + "and more\n", advice, balance + "and more\n", advice, []string{"stdout"}},
		"shorter":       {"balance 9", advice, "balance 9", advice, []string{"stdout"}},
		"to stderr":     {balance, "flee at once\n", balance, "flee at once\n", []string{"stderr"}},
		"to both":       {"x", "y", "x", "y", []string{"stdout", "stderr"}},
		"nothing":       {"", "", balance, advice, nil},
		"too little":    {"bal", "a", balance, advice, nil},
		"what is right": {balance, advice, balance, advice, nil},
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
			if len(c.lies) == 0 {
				if err != nil || j.Where != r.did || len(j.Mismatches) > 0 {
					t.Errorf("%+v, %v\n%s", j, err, texts(events))
				}
				return
			}
			wantMismatch(t, j, err, r.did, c.lies...)
			if n := count(events, api.EventMismatch); n != len(c.lies) {
				t.Errorf("%d events of a mismatch, want %d\n%s", n, len(c.lies), texts(events))
			}
			if r.awards.Load() != 1 {
				t.Errorf("it was awarded the job %d times", r.awards.Load())
			}
		})
	}
}

// A client that does not look at a stream is not told of what was wrong with it.
func TestUnseenLie(t *testing.T) {
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

// What a liar has signed is kept as evidence and is neither a receipt nor a memo, however
// much its key is trusted.
func TestLiarsResultIsNotTaken(t *testing.T) {
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
	if all, err := f[0].Cache.Memos(t.Context()); err != nil || len(all) > 0 {
		t.Errorf("memos: %+v, %v", all, err)
	}
	if _, err := f[0].Upkeep.Collect(t.Context()); err != nil {
		t.Fatal(err)
	}
	again, err := f[0].Jobs.Find(t.Context(), j.ID)
	if err != nil || len(again.Mismatches) != 1 {
		t.Fatalf("the record: %+v, %v", again, err)
	}
	m := again.Mismatches[0]
	if m.Issuer != r.did || receipt(t, f[0], m.Receipt).Outcome != m.Outcome {
		t.Errorf("the evidence: %+v", m)
	}
	if has, err := f[0].Data.Has(t.Context(), m.Outcome); err != nil || !has {
		t.Errorf("the outcome is kept: %v, %v", has, err)
	}
}

// With PrintAfterCheck, and with replicas, nothing that is not so is shown, and the job is
// done well.
func TestNothingIsShownBeforeItIsCompared(t *testing.T) {
	for name, change := range map[string]func(*api.Request){
		"print after check":      func(r *api.Request) { r.PrintAfterCheck = true },
		"replicas":               func(r *api.Request) { r.Replicas = 2 },
		"replicas, after check":  func(r *api.Request) { r.Replicas, r.PrintAfterCheck = 2, true },
		"replicas, and this one": func(r *api.Request) { r.Replicas, r.Where = 2, api.WhereBest },
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
				t.Errorf("the record: %+v", j.Mismatches)
			}
			if j.Where == r.did || slices.ContainsFunc(j.Replicas, func(p api.Replica) bool { return p.Peer == r.did }) {
				t.Errorf("the liar's result was taken: %+v", j)
			}
		})
	}
}

// Of two replicas one prints something else, and there is no third peer: the job fails, and
// nothing of it is shown.
func TestReplicaPrintsOtherwise(t *testing.T) {
	f := honestFleet(t, 2)
	r := newRogue(t, f, best, runsHonestly)
	r.prints = says("balance 1000000\n", "")
	s := newScreen()
	j, err := f[0].Jobs.Run(t.Context(), api.Request{
		Task: task(put(t, f[0].Session, "module"), "prints"), Where: api.WhereNetwork, Replicas: 2,
	}, s.watch())
	if out, errs := s.text(); codeOf(err) != api.CodeNobody || out != "" || errs != "" {
		t.Errorf("%v, shown: %q, %q", err, out, errs)
	}
	contains(t, fmt.Sprint(err), "what it printed to stdout is not what its outcome says")
	if len(j.Mismatches) != 1 || j.Mismatches[0].Peer != r.did {
		t.Errorf("the record: %+v", j.Mismatches)
	}
}

// Replicas print nothing while they run, but for the one on this node, which is shown as
// it comes.
func TestReplicasAreShownFromHere(t *testing.T) {
	g := newGate()
	f := fleet(t, 2, func(i int, c *node.Config) { c.Executors = runtime.Executors{script{"gate": g.run}} })
	mod := put(t, f[0].Session, "module")
	put(t, f[1].Session, "module")
	s := newScreen()
	ended := make(chan error, 1)
	go func() {
		_, err := f[0].Jobs.Run(t.Context(), api.Request{Task: task(mod, "gate"), Replicas: 2}, s.watch())
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

// A peer prints and is lost; an honest one does the job. Only what was a lie is held against
// the first, whatever ended it.
func TestPrintsAndIsLost(t *testing.T) {
	fails := func(_ *rogue, run *market.Run) {
		run.Fail(market.FailedError{Code: "fault", Why: "its disk is full"})
	}
	for name, c := range map[string]struct {
		first string
		lies  bool
		ends  func(r *rogue, run *market.Run)
	}{
		"a lie, and it fails":                {"balance 99\n", true, fails},
		"a lie that is longer, and it fails": {balance + "and more\n", true, fails},
		"the truth, and it fails":            {"balance", false, fails},
		"a lie, and at a wrong place":        {"balance 99\n", true, nil},
		"the truth, and at a wrong place":    {"balance", false, nil},
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
			if !c.lies {
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
				t.Errorf("the record says who says otherwise: %+v", m)
			}
			if out, errs := kept(t, f[0], e.ID); out != balance || errs != advice {
				t.Errorf("kept: %q, %q", out, errs)
			}
		})
	}
}

// A liar is not asked again for the job, however long that waits for another peer.
func TestLiarIsNotAskedAgain(t *testing.T) {
	f := honestFleet(t, 1)
	liar, other := newRogue(t, f, best, runsHonestly), newRogue(t, f, best, runsHonestly)
	liar.prints = says("balance 99\n", "")
	other.busy.Store(6) // more rounds than one placement has
	s := newScreen()
	j, err := f[0].Jobs.Run(t.Context(), api.Request{
		Task: task(put(t, f[0].Session, "module"), "prints"), Where: api.WhereNetwork, PrintAfterCheck: true,
	}, s.watch())
	if out, errs := s.text(); err != nil || j.Where != other.did || out != balance || errs != advice {
		t.Errorf("%v at %s, shown: %q, %q", err, j.Where, out, errs)
	}
	if n := liar.awards.Load(); n != 1 {
		t.Errorf("the liar was awarded the job %d times", n)
	}
}

// Two peers print the same lie and are lost: nothing is shown twice, and one of them is named.
func TestTwoSayTheSameLie(t *testing.T) {
	f := honestFleet(t, 2)
	liar := func(r *rogue, _ market.Request, _ market.Awarded, run *market.Run) {
		run.Fail(market.FailedError{Code: "fault", Why: "its disk is full"})
	}
	a, b := newRogue(t, f, best, liar), newRogue(t, f, best, liar)
	a.prints, b.prints = says("balance 99\n", ""), says("balance 99\n", "")
	s := newScreen()
	j, err := f[0].Jobs.Run(t.Context(), api.Request{Task: task(put(t, f[0].Session, "module"), "prints"), Where: api.WhereNetwork}, s.watch())
	if codeOf(err) != api.CodeMismatch || j.Where != f[1].did {
		t.Fatalf("%+v, %v", j, err)
	}
	if out, _ := s.text(); out != "balance 99\n" {
		t.Errorf("shown: %q", out)
	}
	if text := err.Error(); !strings.Contains(text, a.did) && !strings.Contains(text, b.did) {
		t.Errorf("no liar is named: %s", text)
	}
}

// Two runs of a nondeterministic task may print different text: that of one that was lost
// is marked as not verified, the next begins again, and neither has lied.
func TestNondetBeginsAgain(t *testing.T) {
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
	contains(t, texts(events), "not verified: what ")
	if out, _ := kept(t, f[0], j.ID); out != balance {
		t.Errorf("kept: %q", out)
	}
}

// Readers of a submitted job: one who saw a lie is told, one who comes when it was found
// out sees the truth alone.
func TestFollowsALie(t *testing.T) {
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
	<-g.begun // the next peer runs it: the lie was found out
	lateDone := follow(late, late.watch())
	close(g.open)
	err = <-earlyDone
	if out, _ := early.text(); codeOf(err) != api.CodeMismatch || out != "balance 99\n" {
		t.Errorf("who saw it: %v, shown %q", err, out)
	}
	contains(t, fmt.Sprint(err), r.did)
	err = <-otherDone
	if _, errs := other.text(); err != nil || errs != advice {
		t.Errorf("who reads stderr: %v, shown %q", err, errs)
	}
	err = <-lateDone
	if out, errs := late.text(); err != nil || out != balance || errs != advice {
		t.Errorf("who came later: %v, shown %q, %q", err, out, errs)
	}
	if done, _ := waitFor(t, f[0].Session, j.ID); done.State != api.JobDone || done.Where != f[1].did || len(done.Mismatches) != 1 {
		t.Errorf("%+v", done)
	}
}

// A client of the HTTP API, on TCP, is told what one in the process is.
func TestRemoteClientSeesALie(t *testing.T) {
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
	far, err := node.Remote(t.Context(), l.Addr().String(), token)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { far.Close() })
	q := api.Request{Task: task(put(t, far, "module"), "prints"), Where: api.WhereNetwork}
	s := newScreen()
	var events []api.Event
	w := s.watch()
	w.Event = func(e api.Event) { events = append(events, e) }
	j, err := far.Jobs.Run(t.Context(), q, w)
	wantMismatch(t, j, err, r.did, "stdout")
	if out, errs := s.text(); out != "balance 99\n" || errs != advice || count(events, api.EventMismatch) != 1 {
		t.Errorf("shown: %q, %q\n%s", out, errs, texts(events))
	}
	q.Task.Args, q.PrintAfterCheck = []string{"again"}, true
	s = newScreen()
	j, err = far.Jobs.Run(t.Context(), q, s.watch())
	if out, errs := s.text(); err != nil || out != balance || errs != advice || j.Where == r.did {
		t.Errorf("after the check: %v, shown %q, %q", err, out, errs)
	}
}

// PrintAfterCheck shows nothing while the guest runs, here or elsewhere, and all of it in
// the end.
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
