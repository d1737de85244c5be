package node_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node"
	"github.com/ipfs-liftoff/liftoff/node/api"
	"github.com/ipfs-liftoff/liftoff/runtime"
)

// counted is an executor with one guest, a function; it counts the runs.
type counted struct {
	runs atomic.Int64
	run  func(ctx context.Context, t job.Task, lim job.Limits, env runtime.Env) (runtime.Result, error)
}

func (c *counted) Traits() runtime.Traits {
	return runtime.Traits{Engine: "counted", Version: "counted v1", ABIs: []string{job.ABIWASI}, Deterministic: true}
}

func (c *counted) Check(context.Context, job.Task, job.Limits, runtime.Env) error { return nil }

func (c *counted) Run(ctx context.Context, t job.Task, lim job.Limits, env runtime.Env) (runtime.Result, error) {
	c.runs.Add(1)
	return c.run(ctx, t, lim, env)
}

// printer is a guest that prints its arguments to both streams; its output is a list of its inputs and of a
// block of its own.
func printer(ctx context.Context, t job.Task, _ job.Limits, env runtime.Env) (runtime.Result, error) {
	text := []byte(strings.Join(t.Args, " "))
	own := dag.NewBlock(cid.Raw, append([]byte("own "), text...))
	links := []cid.Cid{own.CID()}
	for _, in := range t.In {
		links = append(links, in.CID)
	}
	root := dag.NewBlock(cid.DagCBOR, cborList(links...))
	printed := dag.NewBlock(cid.Raw, text)
	if err := env.Blocks.Put(ctx, own, printed, root); err != nil {
		return runtime.Result{}, err
	}
	if env.Stdout != nil {
		if _, err := env.Stdout.Write(text); err != nil {
			return runtime.Result{}, err
		}
	}
	if env.Stderr != nil {
		env.Stderr.Write(text)
	}
	c, err := t.CID()
	o := job.Outcome{
		Task: c, State: job.OK, Root: root.CID(), Size: uint64(len(own.Data()) + len(root.Data())),
		Log: 2 * uint64(len(text)), Stdout: printed.CID(), Stderr: printed.CID(),
	}
	var refs []cid.Cid
	for _, in := range t.In {
		refs = append(refs, in.CID)
	}
	return runtime.Result{Outcome: o, Refs: refs}, err
}

// peer is a repo with a counted executor.
type peer struct {
	*node.Session
	t     testing.TB
	dir   string
	x     *counted
	clock time.Time
}

func newPeer(t testing.TB) *peer {
	p := &peer{t: t, dir: t.TempDir(), x: &counted{run: printer}, clock: time.Now()}
	p.open()
	t.Cleanup(func() { p.Abort() })
	return p
}

func (p *peer) config() node.Config {
	return node.Config{
		Dir: p.dir, Executors: runtime.Executors{p.x}, Version: "v9",
		Clock: func() time.Time { return p.clock },
	}
}

func (p *peer) open() {
	p.t.Helper()
	s, err := node.Join(p.t.Context(), p.config())
	p.must(err)
	p.Session = s
}

func (p *peer) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *peer) reopen() {
	p.t.Helper()
	p.must(p.Close())
	p.open()
}

// printTask stores a module and returns a Task for printer.
func (p *peer) printTask(text string, in ...cid.Cid) job.Task {
	p.t.Helper()
	tk := task(put(p.t, p.Session, "module"), "_start", in...)
	tk.Args = []string{text}
	return tk
}

func (p *peer) run(r api.Request) api.Job {
	p.t.Helper()
	j, err := p.Jobs.Run(p.t.Context(), r, api.Watch{})
	p.must(err)
	return j
}

// give copies the DAGs below roots to another peer.
func (p *peer) give(to *peer, roots ...cid.Cid) {
	p.t.Helper()
	p.must(dag.Walk(p.t.Context(), p.Blocks, roots, dag.WalkOptions{Data: true}, func(v dag.Visited) error {
		return to.Blocks.Put(p.t.Context(), v.Block)
	}))
}

func (p *peer) envelope(c cid.Cid) []byte {
	p.t.Helper()
	b, err := p.Data.Get(p.t.Context(), c)
	p.must(err)
	return b
}

func (p *peer) did() string {
	p.t.Helper()
	id, err := p.Identity.Identity(p.t.Context())
	p.must(err)
	return id.DID
}

func TestReceipt(t *testing.T) {
	p := newPeer(t)
	before := p.clock
	j := p.run(api.Request{Task: p.printTask("hello")})
	r, err := job.DecodeReceipt(p.envelope(j.Receipt))
	p.must(err)
	if string(r.Issuer) != p.did() || r.Task != j.Task || r.Outcome != j.OutcomeCID || r.Issued != before.UnixMilli() {
		t.Errorf("%+v", r)
	}
	if m := r.Meta; m.Engine != "counted v1" || m.Version != "v9" || m.Arch == "" || m.Replayed {
		t.Errorf("%+v", m)
	}
	if id, err := p.Identity.Identity(t.Context()); err != nil || !strings.HasPrefix(id.PeerID, "12D3KooW") {
		t.Errorf("%+v, %v", id, err)
	}

	p.clock = p.clock.Add(time.Second)
	second := p.run(api.Request{Task: p.printTask("other")})
	p.reopen()
	attached, err := node.Join(t.Context(), p.config())
	p.must(err)
	defer attached.Close()
	for _, s := range []*node.Session{p.Session, attached} {
		all, err := s.Receipts.Receipts(t.Context())
		if err != nil || len(all) != 2 || all[0].CID != second.Receipt || all[1].CID != j.Receipt || !all[1].Own {
			t.Errorf("%+v, %v", all, err)
		}
		of, err := s.Receipts.ReceiptsOf(t.Context(), j.Task)
		if err != nil || len(of) != 1 || of[0] != all[1] {
			t.Errorf("%+v, %v", of, err)
		}
		one, err := s.Receipts.FindReceipt(t.Context(), j.Receipt.String())
		if err != nil || one != all[1] {
			t.Errorf("%+v, %v", one, err)
		}
		if _, err := s.Receipts.FindReceipt(t.Context(), "bafyrei"); codeOf(err) != api.CodeUsage {
			t.Errorf("ambiguous prefix: %v", err)
		}
		if _, err := s.Receipts.FindReceipt(t.Context(), "bafyzz"); codeOf(err) != api.CodeMissing {
			t.Errorf("unknown prefix: %v", err)
		}
	}
}

func TestAddReceipt(t *testing.T) {
	bothWays(t, func(t *testing.T, s *node.Session) {
		other := newPeer(t)
		j := other.run(api.Request{Task: other.printTask("hello")})
		good := other.envelope(j.Receipt)
		for i := range good {
			bad := bytes.Clone(good)
			bad[i] ^= 1
			if _, err := s.Receipts.AddReceipt(t.Context(), bad); codeOf(err) != api.CodeUsage {
				t.Fatalf("byte %d changed: %v", i, err)
			}
		}
		for name, bad := range map[string][]byte{"empty": nil, "longer": append(bytes.Clone(good), 0), "shorter": good[1:], "huge": make([]byte, 5<<20)} {
			if _, err := s.Receipts.AddReceipt(t.Context(), bad); codeOf(err) != api.CodeUsage {
				t.Errorf("%s: %v", name, err)
			}
		}
		for range 2 {
			if c, err := s.Receipts.AddReceipt(t.Context(), good); err != nil || c != j.Receipt {
				t.Errorf("%s, %v", c, err)
			}
		}
		if _, err := s.Maintenance.Collect(t.Context()); err != nil {
			t.Fatal(err)
		}
		all, err := s.Receipts.Receipts(t.Context())
		if err != nil || len(all) != 1 || all[0].CID != j.Receipt || all[0].Own || string(all[0].Issuer) != other.did() {
			t.Errorf("%+v, %v", all, err)
		}
		if b, err := s.Data.Get(t.Context(), j.Receipt); err != nil || !bytes.Equal(b, good) {
			t.Errorf("%d bytes, %v", len(b), err)
		}
	})
}

func TestResultCache(t *testing.T) {
	p := newPeer(t)
	attached, err := node.Join(t.Context(), p.config())
	p.must(err)
	defer attached.Close()
	tk := p.printTask("hello world")
	first := p.run(api.Request{Task: tk})
	if first.Cached || p.x.runs.Load() != 1 {
		t.Fatalf("%+v", first)
	}
	for _, s := range []*node.Session{p.Session, attached} {
		var stdout, stderr bytes.Buffer
		j, err := s.Jobs.Run(t.Context(), api.Request{Task: tk}, api.Watch{Stdout: &stdout, Stderr: &stderr})
		p.must(err)
		if !j.Cached || j.ID == first.ID || j.OutcomeCID != first.OutcomeCID || j.Receipt != first.Receipt || j.Outcome == nil || j.State != api.JobDone {
			t.Errorf("%+v", j)
		}
		if stdout.String() != "hello world" || stderr.String() != "hello world" {
			t.Errorf("%q, %q", &stdout, &stderr)
		}
		if got, err := s.Jobs.Find(t.Context(), j.ID); err != nil || !got.Cached {
			t.Errorf("%+v, %v", got, err)
		}
	}
	if n := p.x.runs.Load(); n != 1 {
		t.Errorf("%d runs", n)
	}
	_, err = p.Jobs.Run(t.Context(), api.Request{Task: tk}, api.Watch{
		Stdout: writerFunc(func([]byte) (int, error) { return 0, syscall.EPIPE }),
	})
	if !errors.Is(err, syscall.EPIPE) {
		t.Errorf("a writer that fails: %v", err)
	}
	if j := p.run(api.Request{Task: tk, NoCache: true}); j.Cached || p.x.runs.Load() != 2 || j.OutcomeCID != first.OutcomeCID {
		t.Errorf("%+v after %d runs", j, p.x.runs.Load())
	}

	cached, err := attached.Cache.CachedResults(t.Context())
	if err != nil || len(cached) != 1 || cached[0].Task != first.Task || cached[0].State != job.OK || cached[0].Size != first.Outcome.Size || string(cached[0].Issuer) != p.did() {
		t.Errorf("%+v, %v", cached, err)
	}
	p.must(attached.Close())
	p.reopen()
	if j := p.run(api.Request{Task: tk}); !j.Cached {
		t.Error("not cached for the next process")
	}
	p.must(p.Cache.Forget(t.Context(), first.Task))
	if err := p.Cache.Forget(t.Context(), first.Task); codeOf(err) != api.CodeMissing {
		t.Errorf("forget twice: %v", err)
	}
	if j := p.run(api.Request{Task: tk}); j.Cached {
		t.Error("the result is still cached")
	}
	p.must(p.Cache.Forget(t.Context(), cid.Undef))
	if j := p.run(api.Request{Task: tk}); j.Cached {
		t.Error("the result is still cached")
	}
}

// TestLimitedRunKeepsCachedResult: a run that a limit has ended does not replace the cached result of a run that
// has ended normally.
func TestLimitedRunKeepsCachedResult(t *testing.T) {
	p := newPeer(t)
	p.x.run = func(ctx context.Context, t job.Task, lim job.Limits, env runtime.Env) (runtime.Result, error) {
		r, err := result(ctx, t, env, "x")
		r.Outcome.Fuel = 7
		if lim.Fuel < 7 {
			r.Outcome.State, r.Outcome.Fuel, r.Outcome.Limits = job.OutOfFuel, lim.Fuel, &lim
		}
		return r, err
	}
	tk := p.printTask("x")
	first := p.run(api.Request{Task: tk})
	if j := p.run(api.Request{Task: tk, Limits: job.Limits{Fuel: 6}}); j.Cached || j.Outcome.State != job.OutOfFuel {
		t.Fatalf("%+v", j)
	}
	if j := p.run(api.Request{Task: tk}); !j.Cached || j.OutcomeCID != first.OutcomeCID {
		t.Errorf("%+v", j)
	}
}

// TestCachedResultLimits runs a Task again under other limits.
func TestCachedResultLimits(t *testing.T) {
	base := job.Limits{Fuel: 100, Pages: 10, Out: 1000, Tmp: 50, Log: 60}
	with := func(f func(*job.Limits)) job.Limits {
		l := base
		f(&l)
		return l
	}
	type change struct {
		limits job.Limits
		hit    bool
	}
	changes := func(limited bool) map[string]change {
		return map[string]change{
			"equal":      {base, true},
			"exact fuel": {with(func(l *job.Limits) { l.Fuel = 7 }), !limited},
			"less fuel":  {with(func(l *job.Limits) { l.Fuel = 6 }), false},
			"more fuel":  {with(func(l *job.Limits) { l.Fuel = 1000 }), !limited},
			"more pages": {with(func(l *job.Limits) { l.Pages = 11 }), !limited},
			"less pages": {with(func(l *job.Limits) { l.Pages = 2 }), false},
			"less out":   {with(func(l *job.Limits) { l.Out = 4 }), false},
			"less tmp":   {with(func(l *job.Limits) { l.Tmp = 8 }), false},
			"less log":   {with(func(l *job.Limits) { l.Log = 9 }), false},
			"defaults":   {job.Limits{}, !limited},
		}
	}
	outcome := job.Outcome{Fuel: 7, Pages: 3, Size: 5, Tmp: 9, Log: 10}
	for _, c := range []struct {
		state job.State
		code  int
		det   string
	}{
		{job.OK, 0, job.Det2},
		{job.Exit, 3, job.Det2},
		{job.Trap, job.TrapStack, job.Det2},
		{job.OutOfFuel, 0, job.Det2},
		{job.Quota, job.QuotaTmp, job.Det2},
		{job.OK, 0, job.DetNone},
	} {
		limited := c.state == job.OutOfFuel || c.state == job.Quota
		p := newPeer(t)
		p.x.run = func(ctx context.Context, t job.Task, lim job.Limits, env runtime.Env) (runtime.Result, error) {
			r, err := result(ctx, t, env, "x")
			o := outcome
			o.Task, o.Root, o.State, o.Code = r.Outcome.Task, r.Outcome.Root, c.state, c.code
			if limited {
				o.Limits = &lim
			}
			if c.state == job.OutOfFuel {
				o.Fuel = lim.Fuel
			}
			return runtime.Result{Outcome: o}, err
		}
		tk := p.printTask("x")
		if tk.Det = c.det; c.det == job.DetNone {
			tk.Nonce = bytes.Repeat([]byte{1}, 16)
		}
		for name, ch := range changes(limited) {
			t.Run(fmt.Sprintf("%s %s %s", c.det, c.state, name), func(t *testing.T) {
				p.must(p.Cache.Forget(t.Context(), cid.Undef))
				if j := p.run(api.Request{Task: tk, Limits: base}); j.Cached {
					t.Fatal("the first run is cached")
				}
				want := ch.hit && c.det != job.DetNone
				if j := p.run(api.Request{Task: tk, Limits: ch.limits}); j.Cached != want {
					t.Errorf("cached: %v, want %v", j.Cached, want)
				}
			})
		}
	}
}

// TestCachedResultAfterCollect checks that a cached result is dropped with the blocks that it needs.
func TestCachedResultAfterCollect(t *testing.T) {
	p := newPeer(t)
	in := put(t, p.Session, "an input")
	tk, withInput := p.printTask("hello"), p.printTask("hello", in)
	p.run(api.Request{Task: tk, Keep: api.KeepForever})
	p.run(api.Request{Task: withInput, Keep: time.Hour})
	for _, again := range []job.Task{tk, withInput} {
		if j := p.run(api.Request{Task: again, Keep: time.Minute}); !j.Cached {
			t.Error("not cached")
		}
	}
	p.clock = p.clock.Add(2 * time.Hour)
	p.reopen() // no session protects blocks
	done, err := p.Maintenance.Collect(t.Context())
	p.must(err)
	if done.Removed == 0 {
		t.Fatal("nothing was removed")
	}
	cached, err := p.Cache.CachedResults(t.Context())
	if err != nil || len(cached) != 1 {
		t.Errorf("%+v, %v", cached, err)
	}
	receipts, err := p.Receipts.Receipts(t.Context())
	if err != nil || len(receipts) != 1 {
		t.Errorf("%+v, %v", receipts, err)
	}
	if j := p.run(api.Request{Task: tk}); !j.Cached {
		t.Error("a pinned result is not cached")
	}
	p.reopen()
	put(t, p.Session, "an input")
	if j := p.run(api.Request{Task: p.printTask("hello", in)}); j.Cached {
		t.Error("a collected result is cached")
	}
}

// TestCachedResultNeedsWholeOutput removes a part of an output: the Task runs again.
func TestCachedResultNeedsWholeOutput(t *testing.T) {
	p, q := newPeer(t), newPeer(t)
	in := put(t, p.Session, "an input")
	tk := p.printTask("hello", in)
	first := p.run(api.Request{Task: tk})
	// q has all blocks except the output's own child.
	q.must(q.Trust.Trust(t.Context(), p.did(), ""))
	for _, c := range []cid.Cid{tk.Mod, first.OutcomeCID, first.Task} {
		b, err := p.Blocks.Get(t.Context(), c)
		p.must(err)
		q.must(q.Blocks.Put(t.Context(), b))
	}
	root, err := p.Blocks.Get(t.Context(), first.Outcome.Root)
	p.must(err)
	q.must(q.Blocks.Put(t.Context(), root))
	_, err = q.Receipts.AddReceipt(t.Context(), p.envelope(first.Receipt))
	q.must(err)
	put(t, q.Session, "an input")
	if j := q.run(api.Request{Task: tk}); j.Cached {
		t.Error("a block of the output is missing and the Task did not run")
	}
}

// TestTrusted runs a Task at one peer and then at another that trusts its key.
func TestTrusted(t *testing.T) {
	for _, when := range []string{"trusted first", "receipt first"} {
		t.Run(when, func(t *testing.T) {
			p, q := newPeer(t), newPeer(t)
			tk := p.printTask("hello")
			first := p.run(api.Request{Task: tk})
			p.give(q, first.Receipt, first.OutcomeCID, first.Task)
			if j := q.run(api.Request{Task: tk, NoCache: true, Keep: time.Hour}); j.Cached {
				t.Fatal("no cache")
			}
			q.must(q.Cache.Forget(t.Context(), cid.Undef))
			trust := func() { q.must(q.Trust.Trust(t.Context(), p.did(), "a friend")) }
			if when == "trusted first" {
				trust()
			}
			if _, err := q.Receipts.AddReceipt(t.Context(), p.envelope(first.Receipt)); err != nil {
				t.Fatal(err)
			}
			if when == "receipt first" {
				if cached, err := q.Cache.CachedResults(t.Context()); err != nil || len(cached) != 0 {
					t.Errorf("receipt of an untrusted key is cached: %+v, %v", cached, err)
				}
				trust()
			}
			keys, err := q.Trust.Trusted(t.Context())
			if err != nil || len(keys) != 1 || keys[0].DID != p.did() || keys[0].Note != "a friend" {
				t.Errorf("%+v, %v", keys, err)
			}
			q.reopen()
			var stdout bytes.Buffer
			j, err := q.Jobs.Run(t.Context(), api.Request{Task: tk}, api.Watch{Stdout: &stdout})
			q.must(err)
			if !j.Cached || j.Receipt != first.Receipt || stdout.String() != "hello" {
				t.Errorf("%+v, %q", j, &stdout)
			}
			q.must(q.Trust.Distrust(t.Context(), p.did()))
			if err := q.Trust.Distrust(t.Context(), p.did()); codeOf(err) != api.CodeMissing {
				t.Errorf("distrust twice: %v", err)
			}
			if j := q.run(api.Request{Task: tk}); j.Cached {
				t.Error("a result is accepted from a key that was distrusted")
			}
		})
	}
	p := newPeer(t)
	p.run(api.Request{Task: p.printTask("mine")})
	p.must(p.Trust.Trust(t.Context(), p.did(), "me"))
	p.must(p.Trust.Distrust(t.Context(), p.did()))
	if j := p.run(api.Request{Task: p.printTask("mine")}); !j.Cached {
		t.Error("a repo does not accept results of its own key")
	}
	for _, bad := range []string{"", "did:key:z", "did:web:x"} {
		if err := p.Trust.Trust(t.Context(), bad, ""); codeOf(err) != api.CodeUsage {
			t.Errorf("trust %q: %v", bad, err)
		}
	}
}

// TestTrustedRefs: a cached result from the receipt of a trusted key has the same Refs as one from an own run:
// the parts of inputs that the output links to, whether they are whole or not.
func TestTrustedRefs(t *testing.T) {
	p, q := newPeer(t), newPeer(t)
	in := put(t, p.Session, "an input")
	tk := p.printTask("hello", in)
	first := p.run(api.Request{Task: tk})
	p.give(q, first.Receipt, first.OutcomeCID, first.Task, tk.Mod)
	q.must(q.Trust.Trust(t.Context(), p.did(), ""))
	_, err := q.Receipts.AddReceipt(t.Context(), p.envelope(first.Receipt))
	q.must(err)
	for range 2 {
		if j := q.run(api.Request{Task: tk}); !j.Cached || len(j.Refs) != 1 || j.Refs[0] != in {
			t.Errorf("cached %v, refs %v, want %v", j.Cached, j.Refs, in)
		}
		q.reopen()
	}
}

// unknown signs any receipt with a key of its own.
func unknown(t testing.TB, n byte, r job.Receipt) []byte {
	t.Helper()
	b, err := r.Sign(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize)))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
