package node_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

// answers lists the answer of each step in one word.
func answers(v node.Verdict) string {
	var all []string
	for _, s := range v.Steps {
		all = append(all, s.Name+":"+string(s.Answer))
	}
	return strings.Join(all, " ")
}

func (p *peer) verify(envelope []byte, o node.VerifyOptions) node.Verdict {
	p.t.Helper()
	v, err := p.VerifyReceipt(p.t.Context(), envelope, o)
	p.must(err)
	return v
}

// TestVerify checks receipts of p at q, which has more or less of their data.
func TestVerify(t *testing.T) {
	type fixture struct {
		p, q  *peer
		task  job.Task
		first api.Job
		right []byte // p's receipt
	}
	// wrong stores an Outcome of the Task that no run had, and returns it.
	wrong := func(w fixture, f func(*job.Outcome)) cid.Cid {
		o := *w.first.Outcome
		o.Pages = 77
		if f != nil {
			f(&o)
		}
		b, err := o.Encode()
		w.q.must(err)
		bl := dag.NewBlock(cid.DagCBOR, b)
		w.q.must(w.q.Blocks.Put(w.q.t.Context(), bl))
		return bl.CID()
	}
	claim := func(w fixture, n byte, outcome cid.Cid) []byte {
		return unknown(w.q.t, n, job.Receipt{Task: w.first.Task, Outcome: outcome, Issued: 1})
	}
	all := func(w fixture) { w.p.give(w.q, w.first.Receipt, w.first.OutcomeCID, w.first.Task) }
	reexec := node.VerifyOptions{Reexec: true}
	for _, c := range []struct {
		name   string
		setup  func(w fixture) []byte // the envelope
		o      node.VerifyOptions
		answer node.Answer
		level  node.Level
		says   string // part of the answers or of a detail
	}{
		{
			"all data is present", func(w fixture) []byte { all(w); return w.right },
			node.VerifyOptions{},
			node.Verified, node.Attested, "encoding:verified signature:verified outcome:verified output:verified reexec:skipped others:skipped",
		},
		{
			"run again", func(w fixture) []byte { all(w); return w.right }, reexec,
			node.Verified, node.Reexecuted, "reexec:verified others:verified",
		},
		{"run again with nothing but task and module", func(w fixture) []byte {
			w.q.must(w.q.Blocks.Put(t.Context(), must(w.p.Blocks.Get(t.Context(), w.first.Task)), must(w.p.Blocks.Get(t.Context(), w.task.Mod))))
			return w.right
		}, reexec, node.Verified, node.Reexecuted, "outcome:verified output:verified reexec:verified"},
		{
			"no data is present", func(w fixture) []byte { return w.right },
			node.VerifyOptions{},
			node.Undecided, node.Attested, "outcome:undecided output:skipped",
		},
		{
			"no task to run", func(w fixture) []byte { return w.right }, reexec,
			node.Undecided, node.Attested, "needs task",
		},
		{"no module to run", func(w fixture) []byte {
			w.q.must(w.q.Blocks.Put(t.Context(), must(w.p.Blocks.Get(t.Context(), w.first.Task))))
			return w.right
		}, reexec, node.Undecided, node.Attested, "the module is not in this repo"},
		{"the output is cut off", func(w fixture) []byte {
			for _, b := range []cid.Cid{w.first.Task, w.first.OutcomeCID, w.first.Outcome.Root, w.first.Outcome.Stdout} {
				w.q.must(w.q.Blocks.Put(t.Context(), must(w.p.Blocks.Get(t.Context(), b))))
			}
			return w.right
		}, node.VerifyOptions{}, node.Undecided, node.Attested, "of the output is missing"},
		{
			"a flipped bit", func(w fixture) []byte { return flip(w.right, []byte("counted"), 0x20) }, reexec,
			node.Invalid, node.Unverified, "encoding:verified signature:invalid outcome:skipped",
		},
		{
			"no receipt", func(w fixture) []byte { return []byte("hello") }, reexec,
			node.Invalid, node.Unverified, "encoding:invalid signature:skipped",
		},
		{
			"a trailing byte", func(w fixture) []byte { return append(bytes.Clone(w.right), 0) },
			node.VerifyOptions{},
			node.Invalid, node.Unverified, "encoding:invalid",
		},
		{"an outcome of another task", func(w fixture) []byte {
			all(w)
			return claim(w, 5, wrong(w, func(o *job.Outcome) { o.Task = w.first.OutcomeCID }))
		}, reexec, node.Mismatch, node.Attested, "outcome:mismatch output:skipped reexec:skipped"},
		{
			"not an outcome", func(w fixture) []byte { all(w); return claim(w, 5, w.first.Task) }, reexec,
			node.Mismatch, node.Attested, "outcome:mismatch",
		},
		{
			"a false claim, accepted", func(w fixture) []byte { all(w); return claim(w, 5, wrong(w, nil)) },
			node.VerifyOptions{},
			node.Verified, node.Attested, "others:skipped",
		},
		{
			"a false claim, run again", func(w fixture) []byte { all(w); return claim(w, 5, wrong(w, nil)) }, reexec,
			node.Mismatch, node.Attested, "reexec:mismatch",
		},
		{"a false claim, beside another key", func(w fixture) []byte {
			all(w)
			w.q.must2(w.q.Receipts.AddReceipt(t.Context(), w.right))
			return claim(w, 5, wrong(w, nil))
		}, node.VerifyOptions{}, node.Mismatch, node.Attested, "others:mismatch"},
		{"honest, beside a false claim, run again", func(w fixture) []byte {
			all(w)
			w.q.must2(w.q.Receipts.AddReceipt(t.Context(), claim(w, 5, wrong(w, nil))))
			return w.right
		}, reexec, node.Verified, node.Reexecuted, "others:mismatch"},
		{"another outcome by another limit", func(w fixture) []byte {
			all(w)
			w.q.must2(w.q.Receipts.AddReceipt(t.Context(), claim(w, 5, wrong(w, func(o *job.Outcome) {
				l := job.DefaultLimits
				l.Fuel = 9
				o.State, o.Limits, o.Fuel = job.OutOfFuel, &l, 9
			}))))
			return w.right
		}, node.VerifyOptions{}, node.Verified, node.Attested, "others:verified"},
		{"two keys agree", func(w fixture) []byte {
			all(w)
			w.q.must2(w.q.Receipts.AddReceipt(t.Context(), w.right))
			w.q.must2(w.q.Receipts.AddReceipt(t.Context(), w.right))
			return claim(w, 5, w.first.OutcomeCID)
		}, node.VerifyOptions{}, node.Verified, node.Agreed, "2 of 2 keys"},
		{"one key twice is one", func(w fixture) []byte {
			all(w)
			w.q.must2(w.q.Receipts.AddReceipt(t.Context(), unknown(t, 5, job.Receipt{Task: w.first.Task, Outcome: w.first.OutcomeCID, Issued: 2})))
			return claim(w, 5, w.first.OutcomeCID)
		}, node.VerifyOptions{}, node.Verified, node.Attested, "others:skipped"},
		{"a replayed receipt does not count", func(w fixture) []byte {
			all(w)
			w.q.must2(w.q.Receipts.AddReceipt(t.Context(), unknown(t, 6, job.Receipt{
				Task: w.first.Task, Outcome: w.first.OutcomeCID, Meta: job.Meta{Replayed: true},
			})))
			return claim(w, 5, w.first.OutcomeCID)
		}, node.VerifyOptions{}, node.Verified, node.Attested, "others:skipped"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := fixture{p: newPeer(t), q: newPeer(t)}
			w.task = w.p.printTask("hello")
			w.first = w.p.run(api.Request{Task: w.task})
			w.right = w.p.envelope(w.first.Receipt)
			envelope := c.setup(w)
			v := w.q.verify(envelope, c.o)
			text := answers(v)
			for _, s := range v.Steps {
				text += "; " + s.Detail
			}
			if v.Answer != c.answer || v.Level != c.level || !strings.Contains(text, c.says) {
				t.Fatalf("%s, level %d; %s", v.Answer, v.Level, text)
			}
			if v.CID != job.CIDOf(envelope) {
				t.Errorf("verdict is about %s", v.CID)
			}
			if c.answer != node.Mismatch || !v.Found.Defined() {
				return
			}
			// Both receipts are kept, and each is for the Task.
			if v.Found == v.Claimed || len(v.Proof) != 2 {
				t.Fatalf("found %s, claimed %s, proof %v", v.Found, v.Claimed, v.Proof)
			}
			w.q.reopen()
			if _, err := w.q.Maintenance.Collect(t.Context()); err != nil {
				t.Fatal(err)
			}
			for i, want := range []cid.Cid{v.Claimed, v.Found} {
				r, err := job.DecodeReceipt(w.q.envelope(v.Proof[i]))
				if err != nil || r.Outcome != want || r.Task != w.first.Task {
					t.Errorf("%+v, %v", r, err)
				}
			}
		})
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func (p *peer) must2(_ cid.Cid, err error) {
	p.t.Helper()
	p.must(err)
}

// flip changes the first byte of the first occurrence of what.
func flip(b, what []byte, with byte) []byte {
	b = bytes.Clone(b)
	b[bytes.Index(b, what)] ^= with
	return b
}

// Running a nondeterministic task again proves nothing.
func TestVerifyNondet(t *testing.T) {
	p := newPeer(t)
	tk := p.printTask("hello")
	tk.Det, tk.Nonce = job.DetNone, bytes.Repeat([]byte{1}, 16)
	j := p.run(api.Request{Task: tk})
	v := p.verify(p.envelope(j.Receipt), node.VerifyOptions{Reexec: true})
	if v.Answer != node.Undecided || v.Level != node.Attested || p.x.runs.Load() != 1 {
		t.Errorf("%s, %d; %s", v.Answer, v.Level, answers(v))
	}
}

// A link into a missing input is not part of the run's own output.
func TestVerifyNeedsInput(t *testing.T) {
	p, q := newPeer(t), newPeer(t)
	in := put(t, p.Session, "an input")
	j := p.run(api.Request{Task: p.printTask("hello", in)})
	p.must(dag.Walk(t.Context(), p.Blocks, []cid.Cid{j.Receipt}, dag.WalkOptions{Data: true}, func(v dag.Visited) error {
		if v.CID == in {
			return nil
		}
		return q.Blocks.Put(t.Context(), v.Block)
	}))
	v := q.verify(p.envelope(j.Receipt), node.VerifyOptions{})
	if v.Answer != node.Verified || v.Steps[3].Detail != "needs block "+in.String()+" of an input" {
		t.Errorf("%s; %+v", v.Answer, v.Steps)
	}
}

// TestVerifyAttached verifies through another process's socket.
func TestVerifyAttached(t *testing.T) {
	p, q := newPeer(t), newPeer(t)
	j := p.run(api.Request{Task: p.printTask("hello")})
	p.give(q, j.Receipt)
	s, err := node.Join(t.Context(), q.config())
	q.must(err)
	defer s.Close()
	v, err := s.VerifyReceipt(t.Context(), p.envelope(j.Receipt), node.VerifyOptions{Reexec: true})
	if err != nil || v.Answer != node.Verified || v.Level != node.Reexecuted || q.x.runs.Load() != 1 {
		t.Errorf("%+v, %v", v, err)
	}
	o := *j.Outcome
	o.Pages = 5
	b := dag.NewBlock(cid.DagCBOR, must(o.Encode()))
	q.must(s.Blocks.Put(t.Context(), b))
	v, err = s.VerifyReceipt(t.Context(), unknown(t, 5, job.Receipt{Task: j.Task, Outcome: b.CID()}), node.VerifyOptions{Reexec: true})
	if err != nil || v.Answer != node.Mismatch || v.Found != j.OutcomeCID || len(v.Proof) != 2 {
		t.Errorf("%+v, %v", v, err)
	}
}

// TestVerifyDamaged verifies with a damaged Outcome block, as the repo's owner and through its socket: the
// result is undecided, and the verification itself does not fail.
func TestVerifyDamaged(t *testing.T) {
	p, q := newPeer(t), newPeer(t)
	j := p.run(api.Request{Task: p.printTask("hello")})
	p.give(q, j.OutcomeCID, j.Receipt)
	outcome := p.envelope(j.OutcomeCID)
	q.must(q.Close())
	hurt := 0
	q.must(filepath.WalkDir(q.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if at := bytes.Index(b, outcome); err == nil && at >= 0 {
			b[at+len(outcome)/2] ^= 1
			hurt++
			q.must(os.Chmod(path, 0o600))
			err = os.WriteFile(path, b, 0o600)
		}
		return err
	}))
	if hurt != 1 {
		t.Fatalf("%d files contain the outcome", hurt)
	}
	q.open()
	s, err := node.Join(t.Context(), q.config())
	q.must(err)
	defer s.Close()
	for what, s := range map[string]*node.Session{"owner": q.Session, "attached": s} {
		v, err := s.VerifyReceipt(t.Context(), p.envelope(j.Receipt), node.VerifyOptions{})
		if err != nil || v.Answer != node.Undecided || !strings.Contains(v.Steps[2].Detail, "damaged") {
			t.Errorf("%s: %+v, %v", what, v, err)
		}
		if _, err = s.Blocks.Get(t.Context(), j.OutcomeCID); !errors.As(err, new(*dag.DamagedError)) {
			t.Errorf("%s: get: %v", what, err)
		}
	}
}

// TestKilledRuns kills a process that runs one job after the other: each reported job is in the history, with
// its Receipt, and in the result cache.
func TestKilledRuns(t *testing.T) {
	dir := t.TempDir()
	for range 4 {
		a := start(t, "runs", dir)
		var jobs []string
		for a.lines.Scan() {
			if jobs = append(jobs, a.lines.Text()); len(jobs) == 10 {
				time.AfterFunc(rand.N(50*time.Millisecond), func() { a.Process.Kill() })
			}
		}
		a.Wait()
		s := join(t, dir)
		for _, line := range jobs {
			id, arg, _ := strings.Cut(line, " ")
			j, err := s.Jobs.Find(t.Context(), id)
			if err != nil || j.State != api.JobDone {
				t.Fatalf("%s: %+v, %v", id, j, err)
			}
			if _, err := job.DecodeReceipt(must(s.Data.Get(t.Context(), j.Receipt))); err != nil {
				t.Fatal(err)
			}
			again, err := s.Jobs.Run(t.Context(), api.Request{Task: numbered(put(t, s, "module"), arg)}, api.Watch{})
			if err != nil || !again.Cached || again.OutcomeCID != j.OutcomeCID {
				t.Fatalf("%s again: %+v, %v", id, again, err)
			}
		}
		if v, err := s.Maintenance.Check(t.Context(), func(d api.Damage) { t.Error(d) }); err != nil || v.Damaged > 0 {
			t.Errorf("%+v, %v", v, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func numbered(mod cid.Cid, n string) job.Task {
	tk := task(mod, "hello")
	tk.Args = []string{n}
	return tk
}

func init() {
	// join and run one job after the other
	acts["runs"] = func(dir string) error {
		ctx := context.Background()
		s, err := node.Join(ctx, config(dir))
		if err != nil {
			return err
		}
		mod := dag.NewBlock(cid.Raw, []byte("module"))
		if err := s.Blocks.Put(ctx, mod); err != nil {
			return err
		}
		out := bufio.NewWriter(os.Stdout)
		for i := 0; ; i++ {
			n := fmt.Sprintf("%s-%d", time.Now().Format("150405.000000"), i)
			j, err := s.Jobs.Run(ctx, api.Request{Task: numbered(mod.CID(), n)}, api.Watch{})
			if err != nil {
				return err
			}
			fmt.Fprintln(out, j.ID, n)
			if err := out.Flush(); err != nil {
				return err
			}
		}
	}
}
