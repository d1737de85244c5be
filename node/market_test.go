package node_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node"
	"github.com/ipfs-liftoff/liftoff/node/api"
	"github.com/ipfs-liftoff/liftoff/runtime"
	"github.com/ipfs-liftoff/liftoff/scheduler"
)

// The data is on one of five peers: the job runs there, no input is transferred, and the result is returned,
// checked and kept.
func TestJobGoesToItsData(t *testing.T) {
	f := fleet(t, 5, nil)
	holder, requester := f[3], f[1]
	in := addFile(t, holder, 16<<20) // costs far more to fetch than the module, even with slow round trips
	mod := put(t, requester.Session, "module")
	j, events, _, err := requester.run(t, api.Request{Task: task(mod, "read", in)})
	if err != nil {
		t.Fatalf("%v\n%s", err, texts(events))
	}
	if j.Where != holder.did || !j.Remote || j.State != api.JobDone || count(events, api.EventAwarded) != 1 {
		t.Errorf("ran at %s: %+v\n%s\n%+v", j.Where, j, texts(events), j.Placement)
	}
	r := receipt(t, requester, j.Receipt)
	if r.Issuer != job.DID(holder.did) || r.Meta.Fetched > 100 || !r.Order.Defined() || len(r.Lease) != 16 { // the module is 6 bytes
		t.Errorf("%+v", r)
	}
	if j.Placement == nil || len(j.Placement.Bids) != 5 {
		t.Errorf("placement record: %+v", j.Placement)
	}
	for _, b := range j.Placement.Bids { // the module's size is stated, not estimated
		if b.Peer == holder.did && (b.Missing != uint64(len("module")) || !b.Exact) {
			t.Errorf("bid of the holder: %+v", b)
		}
	}
	if has, err := requester.Data.Has(t.Context(), in); err != nil || has {
		t.Errorf("requester has the input: %v, %v", has, err)
	}
	if _, err := requester.Maintenance.Collect(t.Context()); err != nil {
		t.Fatal(err)
	}
	if b, err := requester.Data.Get(t.Context(), j.Outcome.Root); err != nil || string(b) != "read" {
		t.Errorf("output: %q, %v", b, err)
	}
	found, err := requester.Jobs.Find(t.Context(), j.ID)
	if err != nil || found.Where != holder.did || len(found.Events) != len(events) {
		t.Errorf("%+v, %v", found, err)
	}
	// The holder unpins the result when the requester has it.
	eventually(t, "nothing is pinned for the requester", func() bool {
		pins, err := holder.Pins.Pins(t.Context())
		return err == nil && len(pins) == 1
	})
}

// A job whose data is on this node runs on it, and no peer is asked.
func TestRunsLocally(t *testing.T) {
	f := fleet(t, 2, nil)
	mod := put(t, f[0].Session, "module")
	j, events, out, err := f[0].run(t, api.Request{Task: task(mod, "hello")})
	if err != nil || j.Where != f[0].did || j.Remote || out != "hello\n" || kinds(events) != "submitted started done" {
		t.Errorf("%+v, %v, %q\n%s", j, err, out, texts(events))
	}
}

func TestWhere(t *testing.T) {
	f := fleet(t, 3, func(i int, c *node.Config) { c.Network.Labels = map[string]string{"n": fmt.Sprint(i)} })
	mod := put(t, f[0].Session, "module")
	run := func(arg string, r api.Request) (api.Job, string, error) {
		r.Task = task(mod, "hello")
		r.Task.Args = []string{arg}
		j, events, out, err := f[0].run(t, r)
		if err == nil && out != "hello\n" {
			t.Errorf("%s: printed %q", arg, out)
		}
		return j, texts(events), err
	}
	if j, _, err := run("network", api.Request{Where: api.WhereNetwork}); err != nil || j.Where == f[0].did {
		t.Errorf("network: %v, %v", j.Where, err)
	}
	self, err := f[2].Peers.Self(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{f[2].did, self.PeerID} {
		if j, _, err := run("at "+name, api.Request{Where: name}); err != nil || j.Where != f[2].did {
			t.Errorf("at %s: %v, %v", name, j.Where, err)
		}
	}
	if j, _, err := run("need", api.Request{Need: map[string]string{"n": "1"}}); err != nil || j.Where != f[1].did {
		t.Errorf("need n=1: %v, %v", j.Where, err)
	}
	_, events, err := run("none", api.Request{Need: map[string]string{"gpu": "yes"}})
	if codeOf(err) != api.CodeNoPeer {
		t.Errorf("need without a matching peer: %v\n%s", err, events)
	}
	contains(t, fmt.Sprint(err), "gpu")
	if _, _, err := run("bad", api.Request{Where: "somewhere"}); codeOf(err) != api.CodeUsage {
		t.Errorf("invalid peer name: %v", err)
	}
}

// A peer with a cached result answers from it, unless the job asks for a fresh run or for several runs: then the
// peer runs the task again.
func TestNoCacheElsewhere(t *testing.T) {
	f := fleet(t, 3, nil)
	mod := put(t, f[0].Session, "module")
	replayed := func(r api.Request) (all []bool) {
		t.Helper()
		r.Task = task(mod, "hello")
		j, events, out, err := f[0].run(t, r)
		if err != nil || j.Cached || out != "hello\n" {
			t.Fatalf("%+v, %v, printed %q\n%s", j, err, out, texts(events))
		}
		if len(j.Runs) == 0 {
			return []bool{receipt(t, f[0], j.Receipt).Meta.Replayed}
		}
		for _, r := range j.Runs {
			all = append(all, receipt(t, f[0], r.Receipt).Meta.Replayed)
		}
		return all
	}
	for _, step := range []struct {
		what string
		r    api.Request
		want []bool
	}{
		{"the first", api.Request{Where: f[1].did}, []bool{false}},
		{"the second", api.Request{Where: f[1].did}, []bool{true}},
		{"--no-cache", api.Request{Where: f[1].did, NoCache: true}, []bool{false}},
		{"runs", api.Request{Where: api.WhereNetwork, Runs: 2}, []bool{false, false}},
	} {
		if got := replayed(step.r); !slices.Equal(got, step.want) {
			t.Errorf("%s: replayed %v, want %v", step.what, got, step.want)
		}
	}
}

// A peer that the user names and that cannot be reached is not waited for long, and the error names it.
func TestNamedPeerIsGone(t *testing.T) {
	f := fleet(t, 3, nil)
	mod := put(t, f[0].Session, "module")
	gone := f[2].did
	f[2].leave()
	began := time.Now()
	_, events, _, err := f[0].run(t, api.Request{Task: task(mod, "hello"), Where: gone})
	if codeOf(err) != api.CodeNoPeer || count(events, api.EventAsked) != 3 || count(events, api.EventWaiting) != 1 {
		t.Errorf("%v\n%s", err, texts(events))
	}
	contains(t, fmt.Sprint(err), scheduler.Short(job.DID(gone))+" could not be reached")
	if d := time.Since(began); d > 25*time.Second { // for other peers a job waits 30 s or longer
		t.Errorf("took %v", d)
	}
}

// Each of two peers holds one of two inputs: one peer runs the job and fetches the missing input from the other;
// the requester holds neither.
func TestTwoHalves(t *testing.T) {
	f := fleet(t, 3, nil)
	a, b := addFile(t, f[1], 8<<20), addFile(t, f[2], 16<<20)
	mod := put(t, f[0].Session, "module")
	j, events, _, err := f[0].run(t, api.Request{Task: task(mod, "read", a, b)})
	if err != nil || j.Where == f[0].did {
		t.Fatalf("%+v, %v\n%s", j, err, texts(events))
	}
	r := receipt(t, f[0], j.Receipt)
	want := map[string]uint64{f[1].did: 16 << 20, f[2].did: 8 << 20}[j.Where]
	if r.Meta.Fetched < want || r.Meta.Fetched > want+want/8 {
		t.Errorf("%d bytes were fetched, want %d or a little more", r.Meta.Fetched, want)
	}
	if has, err := f[0].Data.Has(t.Context(), a); err != nil || has {
		t.Errorf("requester has an input: %v, %v", has, err)
	}
}

// The holder of a small input is busy for long: the input is moved to another peer.
func TestHolderBusy(t *testing.T) {
	g := newGate()
	f := fleet(t, 3, func(i int, c *node.Config) {
		c.Executors = runtime.Executors{script{"gate": g.run, "read": guests["read"]}}
		c.Network.Slots = 1
	})
	holder := f[1]
	in := addFile(t, holder, 64<<10)
	mod := put(t, holder.Session, "module")
	long, err := holder.Jobs.Submit(t.Context(), api.Request{Task: task(mod, "gate"), Where: api.WhereLocal})
	if err != nil {
		t.Fatal(err)
	}
	<-g.begun
	put(t, f[0].Session, "module")
	j, events, _, err := f[0].run(t, api.Request{Task: task(mod, "read", in)})
	if err != nil || j.Where == holder.did {
		t.Errorf("%+v, %v\n%s", j, err, texts(events))
	}
	close(g.open)
	if done, _ := waitFor(t, holder.Session, long.ID); done.State != api.JobDone {
		t.Errorf("%+v", done)
	}
}

// Cancel ends the run on the provider.
func TestCancelReachesProvider(t *testing.T) {
	g := newGate()
	ended := make(chan error, 1)
	f := fleet(t, 2, func(i int, c *node.Config) {
		c.Executors = runtime.Executors{script{"gate": func(ctx context.Context, t job.Task, env runtime.Env) (runtime.Result, error) {
			r, err := g.run(ctx, t, env)
			ended <- err
			return r, err
		}}}
	})
	mod := put(t, f[0].Session, "module")
	j, err := f[0].Jobs.Submit(t.Context(), api.Request{Task: task(mod, "gate"), Where: api.WhereNetwork})
	if err != nil {
		t.Fatal(err)
	}
	<-g.begun
	if err := f[0].Jobs.Cancel(t.Context(), j.ID); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err == nil {
			t.Error("the guest ended without an error")
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the guest still runs")
	}
	done, _ := waitFor(t, f[0].Session, j.ID)
	if done.State != api.JobFailed || done.Err.Code != api.CodeInterrupted {
		t.Errorf("%+v", done)
	}
	eventually(t, "its slot is free", func() bool {
		p, err := f[1].Peers.Self(t.Context())
		return err == nil && p.Capacity.FreeSlots == 2
	})
}

// A restarted requester finds its job at the provider: nothing runs twice, and output printed while it was away
// is complete.
func TestRequesterRestarts(t *testing.T) {
	g, w := newGate(), &where{}
	f := fleet(t, 2, func(i int, c *node.Config) {
		c.Executors = runtime.Executors{script{"gate": w.at(fmt.Sprint(i), g.run)}}
		c.Network.Placement.Lease = 30 * time.Second
	})
	mod := put(t, f[0].Session, "module")
	j, err := f[0].Jobs.Submit(t.Context(), api.Request{Task: task(mod, "gate"), Where: api.WhereNetwork})
	if err != nil {
		t.Fatal(err)
	}
	<-g.begun
	f[0].leave()
	close(g.open)
	again := &member{serving: serve(t, f[0].cfg), cfg: f[0].cfg}
	connectAll(t, []*member{again, f[1]})
	done, events := waitFor(t, again.Session, j.ID)
	if done.State != api.JobDone || done.Where != f[1].did || w.ran["1"] != 1 || w.ran["0"] != 0 {
		t.Errorf("%+v, ran %v\n%s", done, w.ran, texts(events))
	}
	var out strings.Builder
	if err := again.Jobs.Logs(t.Context(), j.ID, api.Watch{Stdout: &out}); err != nil {
		t.Error(err)
	}
}

// A restarted requester finds each of its runs: the result of an ended run is kept, even through a collection,
// and continuing runs are not restarted.
func TestRunsSurviveRestart(t *testing.T) {
	g, w := newGate(), &where{}
	quick := func(ctx context.Context, t job.Task, env runtime.Env) (runtime.Result, error) {
		fmt.Fprintln(env.Stdout, "begun")
		fmt.Fprintln(env.Stderr, "to stderr")
		fmt.Fprintln(env.Stdout, "ended")
		return result(ctx, t, env, "gate "+strings.Join(t.Args, " "))
	}
	f := fleet(t, 4, func(i int, c *node.Config) {
		run := g.run
		if i == 1 {
			run = quick
		}
		c.Executors = runtime.Executors{script{"gate": w.at(fmt.Sprint(i), run)}}
		c.Network.Placement.Lease = 30 * time.Second
	})
	mod := put(t, f[0].Session, "module")
	j, err := f[0].Jobs.Submit(t.Context(), api.Request{Task: task(mod, "gate"), Where: api.WhereNetwork, Runs: 3})
	if err != nil {
		t.Fatal(err)
	}
	<-g.begun
	<-g.begun
	eventually(t, "the result of one is pinned", func() bool {
		p, err := f[0].Pins.FindPin(t.Context(), "job:"+j.ID)
		return err == nil && len(p.Roots) > 3
	})
	f[0].leave()
	between := join(t, f[0].dir)
	if _, err := between.Maintenance.Collect(t.Context()); err != nil {
		t.Fatal(err)
	}
	between.Abort()
	again := &member{serving: serve(t, f[0].cfg), cfg: f[0].cfg}
	connectAll(t, append([]*member{again}, f[1:]...))
	eventually(t, "both runs are found again", func() bool {
		found, err := again.Jobs.Find(t.Context(), j.ID)
		return err == nil && strings.Count(texts(found.Events), "the run was found again on") == 2
	})
	var out strings.Builder
	logs := make(chan error, 1)
	go func() { logs <- again.Jobs.Logs(t.Context(), j.ID, api.Watch{Stdout: &out}) }()
	close(g.open)
	done, events := waitFor(t, again.Session, j.ID)
	if err := <-logs; err != nil || out.String() != "begun\nended\n" {
		t.Errorf("log: %q, %v", &out, err)
	}
	if done.State != api.JobDone || len(done.Runs) != 3 {
		t.Fatalf("%+v\n%s", done, texts(events))
	}
	for _, n := range []string{"1", "2", "3"} {
		if w.ran[n] != 1 {
			t.Errorf("ran at %v\n%s", w.ran, texts(events))
		}
	}
	peers := map[string]bool{}
	for _, r := range done.Runs {
		peers[r.Peer] = true
		if r.Outcome != done.OutcomeCID || receipt(t, again, r.Receipt).Issuer != job.DID(r.Peer) {
			t.Errorf("%+v", r)
		}
	}
	if len(peers) != 3 {
		t.Errorf("runs were at %v", peers)
	}
}

// Several runs are placed on distinct peers, and their outcomes are compared.
func TestSeveralRuns(t *testing.T) {
	f := fleet(t, 4, func(i int, c *node.Config) {
		answer := func(text string) func(context.Context, job.Task, runtime.Env) (runtime.Result, error) {
			return func(ctx context.Context, t job.Task, env runtime.Env) (runtime.Result, error) {
				fmt.Fprintln(env.Stdout, "working")
				return result(ctx, t, env, text)
			}
		}
		c.Executors = runtime.Executors{script{"honest": answer("42"), "odd": answer(fmt.Sprint("from ", i))}}
	})
	mod := put(t, f[0].Session, "module")
	j, events, out, err := f[0].run(t, api.Request{Task: task(mod, "honest"), Runs: 3})
	if err != nil || len(j.Runs) != 3 || out != "working\n" {
		t.Fatalf("%+v, %v, printed %q\n%s", j, err, out, texts(events))
	}
	peers := map[string]bool{}
	for _, r := range j.Runs {
		peers[r.Peer] = true
		if r.Outcome != j.OutcomeCID || receipt(t, f[0], r.Receipt).Issuer != job.DID(r.Peer) {
			t.Errorf("%+v", r)
		}
	}
	if len(peers) != 3 {
		t.Errorf("runs were at %v", peers)
	}
	j, events, _, err = f[0].run(t, api.Request{Task: task(mod, "odd"), Runs: 2})
	if codeOf(err) != api.CodeDisagree || len(j.Runs) != 2 || j.State != api.JobFailed {
		t.Fatalf("%+v, %v\n%s", j, err, texts(events))
	}
	if _, err := f[0].Maintenance.Collect(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, r := range j.Runs {
		contains(t, err.Error(), r.Receipt.String(), r.Peer)
		receipt(t, f[0], r.Receipt) // the receipt is kept
	}
	found, err := f[0].Jobs.Find(t.Context(), j.ID)
	if err != nil || found.Err == nil || found.Err.Code != api.CodeDisagree || len(found.Runs) != 2 {
		t.Errorf("%+v, %v", found, err)
	}
}

// A compute-only peer keeps no data: outputs belong to the requester, inputs stay within a quota.
func TestComputeOnly(t *testing.T) {
	f := fleet(t, 2, func(i int, c *node.Config) {
		if i == 1 {
			c.Network.ComputeOnly, c.Network.Disk = true, 3<<20
		}
	})
	mod := put(t, f[0].Session, "module")
	var ins []cid.Cid
	for i := range 6 {
		ins = append(ins, addFile(t, f[0], 1<<20+i))
	}
	for _, in := range ins {
		j, events, _, err := f[0].run(t, api.Request{Task: task(mod, "read", in), Where: api.WhereNetwork})
		if err != nil || j.Where != f[1].did {
			t.Fatalf("%+v, %v\n%s", j, err, texts(events))
		}
		if pins, err := f[1].Pins.Pins(t.Context()); err != nil || len(pins) != 0 {
			t.Errorf("pins: %v, %v", pins, err)
		}
	}
	held := func() (n int) {
		for _, in := range ins {
			if has, err := f[1].Data.Has(t.Context(), in); err == nil && has {
				n++
			}
		}
		return n
	}
	eventually(t, "inputs over the quota are collected", func() bool { return held() <= 3 })
}

func TestStoreOnly(t *testing.T) {
	f := fleet(t, 2, func(i int, c *node.Config) { c.Network.StoreOnly = i == 1 })
	in := addFile(t, f[1], 1<<20)
	mod := put(t, f[0].Session, "module")
	j, events, _, err := f[0].run(t, api.Request{Task: task(mod, "read", in)})
	if err != nil || j.Where != f[0].did || j.Fetched.Bytes < 1<<20 {
		t.Errorf("%+v, %v\n%s", j, err, texts(events))
	}
	j, _, _, err = f[0].run(t, api.Request{Task: task(mod, "hello"), Where: api.WhereNetwork})
	if codeOf(err) != api.CodeNoPeer {
		t.Errorf("%+v, %v", j, err)
	}
}

// joinOnce joins dir as a process that does not serve.
func joinOnce(t testing.TB, dir string) *member {
	t.Helper()
	return &member{serving: &serving{Session: join(t, dir)}}
}

// A process that does not serve connects to its cluster for one job whose inputs it lacks.
func TestEphemeralPeer(t *testing.T) {
	f := fleet(t, 2, nil)
	in := addFile(t, f[1], 1<<20)
	f[0].leave()
	client := joinOnce(t, f[0].dir)
	mod := put(t, client.Session, "module")
	put(t, f[1].Session, "module") // so that f[1] lacks nothing, even with slow round trips
	j, events, _, err := client.run(t, api.Request{Task: task(mod, "read", in)})
	if err != nil || j.State != api.JobDone || j.Where != f[1].did {
		t.Errorf("ran at %s, %v\n%s\n%+v", j.Where, err, texts(events), j.Placement)
	}
	j, events, _, err = client.run(t, api.Request{Task: task(mod, "hello")})
	if err != nil || j.Remote || kinds(events) != "submitted started done" {
		t.Errorf("job with all inputs: %+v, %v\n%s", j, err, texts(events))
	}
	nowhere := dag.NewBlock(cid.Raw, []byte("nowhere")).CID()
	if _, _, _, err := client.run(t, api.Request{Task: task(mod, "read", nowhere)}); err == nil {
		t.Error("no error for an input that no peer has")
	} else {
		contains(t, err.Error(), nowhere.String())
	}
}

// Concurrent jobs of such a process share one ephemeral peer.
func TestEphemeralPeerIsShared(t *testing.T) {
	g := newGate()
	f := fleet(t, 2, func(i int, c *node.Config) {
		c.Executors, c.Network.Slots = runtime.Executors{script{"gate": g.run}}, 2
	})
	f[0].leave()
	client := joinOnce(t, f[0].dir)
	mod := put(t, client.Session, "module")
	put(t, f[1].Session, "module")
	var jobs sync.WaitGroup
	for _, in := range []string{"one", "another"} {
		in := put(t, f[1].Session, in)
		jobs.Go(func() {
			j, events, _, err := client.run(t, api.Request{Task: task(mod, "gate", in), Where: api.WhereNetwork})
			if err != nil || j.Where != f[1].did {
				t.Errorf("ran at %s, %v\n%s", j.Where, err, texts(events))
			}
		})
	}
	for range 2 {
		<-g.begun
	}
	if n := node.Conns(f[1].Session); n != 1 {
		t.Errorf("%d connections", n)
	}
	close(g.open)
	jobs.Wait()
}

// When no peer of the cluster can be reached, such a process does not wait for long, and the error names the
// peers that it tried.
func TestEphemeralPeerReachesNoPeer(t *testing.T) {
	f := fleet(t, 7, nil) // more than are dialed at once
	in := addFile(t, f[1], 1<<20)
	var gone []string
	for _, m := range f {
		m.leave()
		gone = append(gone, scheduler.Short(job.DID(m.did)))
	}
	client := joinOnce(t, f[0].dir)
	mod := put(t, client.Session, "module")
	for _, r := range []api.Request{{Task: task(mod, "read", in)}, {Task: task(mod, "hello"), Where: api.WhereNetwork}} {
		began := time.Now()
		_, events, _, err := client.run(t, r)
		if codeOf(err) != api.CodeNoPeer {
			t.Fatalf("%v\n%s", err, texts(events))
		}
		if d := time.Since(began); d > node.ConnectTime { // every peer refuses at once
			t.Errorf("took %v", d)
		}
		contains(t, err.Error(), "not reached: ", "/ip4/127.0.0.1/tcp/", "it did not answer at any of its addresses", " and 2 more")
		named := 0
		for _, name := range gone[1:] {
			named += strings.Count(err.Error(), name)
		}
		if named != 4 || !strings.Contains(texts(events), "no peer of the cluster was reached") {
			t.Errorf("%v\n%s", err, texts(events))
		}
	}
}

// A peer that shuts down hands its jobs back: another peer runs them.
func TestHandedBack(t *testing.T) {
	g, w := newGate(), &where{}
	f := fleet(t, 3, func(i int, c *node.Config) {
		c.Executors = runtime.Executors{script{"gate": w.at(fmt.Sprint(i), g.run)}}
		c.Grace = 50 * time.Millisecond
	})
	mod := put(t, f[0].Session, "module")
	j, err := f[0].Jobs.Submit(t.Context(), api.Request{Task: task(mod, "gate"), Where: api.WhereNetwork})
	if err != nil {
		t.Fatal(err)
	}
	<-g.begun
	w.mu.Lock()
	at := 1
	if w.ran["2"] > 0 {
		at = 2
	}
	w.mu.Unlock()
	f[at].leave()
	<-g.begun
	close(g.open)
	done, events := waitFor(t, f[0].Session, j.ID)
	if done.State != api.JobDone || done.Where == f[at].did || count(events, api.EventAwarded) != 2 {
		t.Errorf("%+v\n%s", done, texts(events))
	}
	contains(t, texts(events), "shutting down") // the requester was told, and did not wait for a missing heartbeat
}

// Many concurrent jobs from several requesters: each ends exactly once, and no slot stays occupied.
func TestManyJobs(t *testing.T) {
	f := fleet(t, 4, func(i int, c *node.Config) {
		c.Network.Placement.Reply, c.Network.Market.Reply = 20*time.Second, 20*time.Second // all peers are busy
	})
	mods := make([]cid.Cid, len(f))
	for i, m := range f {
		mods[i] = put(t, m.Session, "module")
	}
	const each = 30
	gate := make(chan struct{}, 24) // concurrent jobs: enough to fill all slots and use the queues
	var group sync.WaitGroup
	for i, m := range f {
		for k := range each {
			group.Go(func() {
				gate <- struct{}{}
				defer func() { <-gate }()
				tk := task(mods[i], "hello")
				tk.Args = []string{fmt.Sprint(i, " ", k)}
				j, events, out, err := m.run(t, api.Request{Task: tk, Where: []string{"", "network"}[k%2]})
				if err != nil || out != "hello\n" || j.State != api.JobDone {
					t.Errorf("%d %d: %v, %q\n%s", i, k, err, out, texts(events))
				}
			})
		}
	}
	group.Wait()
	for _, m := range f {
		list, err := m.Jobs.List(t.Context())
		if err != nil || len(list) != each {
			t.Errorf("%d jobs, %v", len(list), err)
		}
		eventually(t, "all slots are free", func() bool {
			p, err := m.Peers.Self(t.Context())
			return err == nil && p.Capacity.FreeSlots == 2
		})
	}
}
