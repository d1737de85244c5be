package node_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
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
)

// gatedFleet is a requester and one provider, whose guests wait at g.
func gatedFleet(t *testing.T, g *gate, w *where) []*member {
	return fleet(t, 2, func(i int, c *node.Config) {
		c.Executors = runtime.Executors{script{"gate": w.at(fmt.Sprint(i), g.run)}}
		c.Network.Placement.Lease = 30 * time.Second
	})
}

// A connection that is cut and restored while a job runs costs nothing: the stream is attached again, and
// nothing runs or is shown twice.
func TestCutAndHealed(t *testing.T) {
	g, w := newGate(), &where{}
	f := gatedFleet(t, g, w)
	mod := put(t, f[0].Session, "module")
	ran := make(chan func(), 1)
	go func() {
		j, events, out, err := f[0].run(t, api.Request{Task: task(mod, "gate"), Where: api.WhereNetwork})
		ran <- func() {
			if err != nil || j.Where != f[1].did || w.ran["1"] != 1 || out != "begun\nended\n" || count(events, api.EventAwarded) != 1 {
				t.Errorf("%+v, %v, ran %v, printed %q\n%s", j, err, w.ran, out, texts(events))
			}
		}
	}()
	<-g.begun
	node.Cut(f[0].Session)
	time.Sleep(100 * time.Millisecond)
	node.Cut(f[1].Session)
	close(g.open)
	(<-ran)()
}

// A result whose requester was away is found again, even if its provider was restarted in between.
func TestBothRestart(t *testing.T) {
	g, w := newGate(), &where{}
	f := gatedFleet(t, g, w)
	mod := put(t, f[0].Session, "module")
	j, err := f[0].Jobs.Submit(t.Context(), api.Request{Task: task(mod, "gate"), Where: api.WhereNetwork})
	if err != nil {
		t.Fatal(err)
	}
	<-g.begun
	f[0].leave()
	close(g.open)
	eventually(t, "the result is retained", func() bool {
		pins, err := f[1].Pins.Pins(t.Context())
		return err == nil && len(pins) == 1 && strings.HasPrefix(pins[0].Name, "lease:")
	})
	f[1].leave()
	provider := &member{serving: serve(t, f[1].cfg), cfg: f[1].cfg}
	if _, err := provider.Maintenance.Collect(t.Context()); err != nil {
		t.Fatal(err)
	}
	requester := &member{serving: serve(t, f[0].cfg), cfg: f[0].cfg}
	connectAll(t, []*member{requester, provider})
	done, events := waitFor(t, requester.Session, j.ID)
	if done.State != api.JobDone || done.Where != f[1].did || w.ran["1"] != 1 || w.ran["0"] != 0 {
		t.Errorf("%+v, ran %v\n%s", done, w.ran, texts(events))
	}
	var out strings.Builder
	if err := requester.Jobs.Logs(t.Context(), j.ID, api.Watch{Stdout: &out}); err != nil {
		t.Error(err)
	}
	eventually(t, "the result is unpinned", func() bool {
		pins, err := provider.Pins.Pins(t.Context())
		return err == nil && len(pins) == 0
	})
}

// A peer that shuts down does not wait for absent requesters to get their results: neither for one that left
// before the end of the run, nor for one from before the peer's own restart.
func TestShutdownWithRetainedResults(t *testing.T) {
	g, w := newGate(), &where{}
	f := gatedFleet(t, g, w)
	provider := f[1]
	provider.leave()
	provider.cfg.Grace = time.Minute
	restart := func() {
		provider = &member{serving: serve(t, provider.cfg), cfg: provider.cfg, did: provider.did}
	}
	leave := func() {
		left := make(chan struct{})
		go func() {
			defer close(left)
			provider.leave()
		}()
		select {
		case <-left:
		case <-time.After(30 * time.Second):
			t.Fatal("shutdown waits for the requester")
		}
	}
	restart()
	connectAll(t, []*member{f[0], provider})
	mod := put(t, f[0].Session, "module")
	if _, err := f[0].Jobs.Submit(t.Context(), api.Request{Task: task(mod, "gate"), Where: api.WhereNetwork}); err != nil {
		t.Fatal(err)
	}
	<-g.begun
	f[0].leave()
	close(g.open)
	eventually(t, "the result is retained", func() bool {
		pins, err := provider.Pins.Pins(t.Context())
		return err == nil && len(pins) == 1
	})
	leave()
	restart()
	leave()
}

// A result that waits for its requester holds no file open, however much the guest has printed; the requester
// gets all of the output when it is back.
func TestRetainedResultHoldsNoFile(t *testing.T) {
	const lines = 10_000 // more than is kept in memory
	g, w := newGate(), &where{}
	loud := func(ctx context.Context, t job.Task, env runtime.Env) (runtime.Result, error) {
		for range lines {
			fmt.Fprintln(env.Stdout, "one of many lines")
		}
		return g.run(ctx, t, env)
	}
	f := fleet(t, 2, func(i int, c *node.Config) {
		c.Executors = runtime.Executors{script{"loud": w.at(fmt.Sprint(i), loud)}}
		c.Network.Placement.Lease = 30 * time.Second
	})
	mod := put(t, f[0].Session, "module")
	j, err := f[0].Jobs.Submit(t.Context(), api.Request{Task: task(mod, "loud"), Where: api.WhereNetwork})
	if err != nil {
		t.Fatal(err)
	}
	<-g.begun
	f[0].leave()
	close(g.open)
	eventually(t, "no output file is open", func() bool {
		pins, err := f[1].Pins.Pins(t.Context())
		return err == nil && len(pins) == 1 && spoolFiles(t) == 0
	})
	again := &member{serving: serve(t, f[0].cfg), cfg: f[0].cfg}
	connectAll(t, []*member{again, f[1]})
	done, events := waitFor(t, again.Session, j.ID)
	if done.State != api.JobDone || w.ran["1"] != 1 || w.ran["0"] != 0 {
		t.Errorf("%+v, ran %v\n%s", done, w.ran, texts(events))
	}
	var out strings.Builder
	if err := again.Jobs.Logs(t.Context(), j.ID, api.Watch{Stdout: &out}); err != nil {
		t.Error(err)
	}
	if want := strings.Repeat("one of many lines\n", lines) + "begun\nended\n"; out.String() != want {
		t.Errorf("%d bytes were printed, want %d", out.Len(), len(want))
	}
}

// spoolFiles counts the output files that this process has open, where the system reports them.
func spoolFiles(t *testing.T) (n int) {
	open, _ := filepath.Glob("/proc/self/fd/*")
	for _, fd := range open {
		if to, err := os.Readlink(fd); err == nil && strings.Contains(to, "/output-") && strings.HasPrefix(to, os.TempDir()) {
			n++
		}
	}
	return n
}

// A job that is handed back while no other peer is available waits for one and starts again: output of its first
// run is not shown again.
func TestPrintsOnceOverPlacements(t *testing.T) {
	g := newGate()
	f := fleet(t, 3, func(i int, c *node.Config) {
		c.Executors = runtime.Executors{script{"gate": g.run}}
		c.Grace = 10 * time.Millisecond
		c.Network.StoreOnly = i == 2 // keeps one peer connected
	})
	mod := put(t, f[0].Session, "module")
	shown := make(chan string, 100)
	ended := make(chan error, 1)
	go func() {
		_, err := f[0].Jobs.Run(t.Context(), api.Request{Task: task(mod, "gate"), Where: api.WhereNetwork}, api.Watch{
			Stdout: writerFunc(func(b []byte) (int, error) { shown <- string(b); return len(b), nil }),
		})
		ended <- err
	}()
	out := <-shown
	f[1].leave()
	again := &member{serving: serve(t, f[1].cfg), cfg: f[1].cfg}
	connectAll(t, []*member{again, f[0], f[2]})
	close(g.open)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	close(shown)
	for s := range shown {
		out += s
	}
	if out != "begun\nended\n" {
		t.Errorf("printed %q", out)
	}
}

func TestPublishing(t *testing.T) {
	bothWays(t, func(t *testing.T, s *node.Session) {
		ctx := t.Context()
		c := put(t, s, "data")
		if err := s.Publishing.Publish(ctx, c); err != nil {
			t.Fatal(err)
		}
		if list, err := s.Publishing.Published(ctx); err != nil || len(list) != 1 || list[0].Root != c || list[0].At.IsZero() {
			t.Errorf("%+v, %v", list, err)
		}
		absent := dag.NewBlock(cid.Raw, []byte("absent")).CID()
		if err := s.Publishing.Publish(ctx, absent); codeOf(err) != api.CodeMissing {
			t.Errorf("publish an absent block: %v", err)
		}
		if err := s.Publishing.Unpublish(ctx, c); err != nil {
			t.Error(err)
		}
		if err := s.Publishing.Unpublish(ctx, c); codeOf(err) != api.CodeMissing {
			t.Errorf("unpublish twice: %v", err)
		}
		j, err := s.Jobs.Run(ctx, api.Request{Task: task(c, "hello"), Publish: true}, api.Watch{})
		if err != nil {
			t.Fatal(err)
		}
		if list, err := s.Publishing.Published(ctx); err != nil || len(list) != 1 || list[0].Root != j.Outcome.Root {
			t.Errorf("with --publish: %+v, %v", list, err)
		}
	})
}

// Without a network, calls that need one return an error with a hint.
func TestOffline(t *testing.T) {
	s := join(t, t.TempDir())
	mod := put(t, s, "module")
	for what, err := range map[string]error{
		"peers":   second(s.Peers.Peers(t.Context())),
		"self":    second(s.Peers.Self(t.Context())),
		"connect": second(s.Peers.Connect(t.Context(), "/ip4/127.0.0.1/tcp/1")),
		"invite":  second(s.Cluster.Invite(t.Context(), api.Invitation{})),
		"need":    second(s.Jobs.Run(t.Context(), api.Request{Task: task(mod, "hello"), Need: map[string]string{"gpu": "yes"}}, api.Watch{})),
		"network": second(s.Jobs.Run(t.Context(), api.Request{Task: task(mod, "hello"), Where: api.WhereNetwork}, api.Watch{})),
	} {
		if codeOf(err) != api.CodeConflict {
			t.Errorf("%s: %v", what, err)
		}
		contains(t, hintOf(err), "liftoff serve")
	}
	if _, err := s.Cluster.Cluster(t.Context()); codeOf(err) != api.CodeMissing {
		t.Errorf("no cluster: %v", err)
	}
	if _, err := s.Jobs.Run(t.Context(), api.Request{Task: task(mod, "hello"), Runs: 17}, api.Watch{}); codeOf(err) != api.CodeUsage {
		t.Errorf("17 runs: %v", err)
	}
	nowhere := dag.NewBlock(cid.Raw, []byte("nowhere")).CID()
	_, err := s.Jobs.Run(t.Context(), api.Request{Task: task(mod, "read", nowhere)}, api.Watch{})
	if codeOf(err) != api.CodeMissing {
		t.Errorf("%v", err)
	}
	contains(t, err.Error(), nowhere.String())
}

func second[T any](_ T, err error) error { return err }

// stuck is a writer that blocks until release is closed.
type stuck struct {
	release chan struct{}
	once    sync.Once
	hit     chan struct{} // closed at the first write
}

func (s *stuck) Write(b []byte) (int, error) {
	s.once.Do(func() { close(s.hit) })
	<-s.release
	return len(b), nil
}

// A user that does not read the output of a remote job does not lose the job: the provider still gets
// heartbeats, and the job ends normally.
func TestSlowReaderKeepsLease(t *testing.T) {
	g := newGate()
	f := fleet(t, 2, func(i int, c *node.Config) {
		c.Executors = runtime.Executors{script{"gate": g.run}}
		c.Network.Market.Silence = 2 * time.Second
		c.Network.Placement.Lease = 2 * time.Second
	})
	mod := put(t, f[0].Session, "module")
	out := &stuck{release: make(chan struct{}), hit: make(chan struct{})}
	type ended struct {
		j   api.Job
		err error
	}
	done := make(chan ended, 1)
	go func() {
		j, err := f[0].Jobs.Run(t.Context(), api.Request{Task: task(mod, "gate"), Where: api.WhereNetwork}, api.Watch{Stdout: out})
		done <- ended{j, err}
	}()
	<-out.hit
	time.Sleep(3 * time.Second) // longer than the allowed silence
	close(g.open)
	time.Sleep(200 * time.Millisecond)
	close(out.release)
	if e := <-done; e.err != nil || e.j.Where != f[1].did || e.j.Attempts != 1 {
		t.Errorf("%+v, %v", e.j, e.err)
	}
}

// A writer that fails ends the run, wherever it is, and its error is returned.
func TestRemoteWriterFails(t *testing.T) {
	g := newGate()
	f := fleet(t, 2, func(i int, c *node.Config) { c.Executors = runtime.Executors{script{"gate": g.run}} })
	mod := put(t, f[0].Session, "module")
	r, w := io.Pipe()
	r.Close()
	_, err := f[0].Jobs.Run(t.Context(), api.Request{Task: task(mod, "gate"), Where: api.WhereNetwork}, api.Watch{Stdout: w})
	if !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("%v", err)
	}
	eventually(t, "its slot is free", func() bool {
		p, err := f[1].Peers.Self(t.Context())
		return err == nil && p.Capacity.FreeSlots == 2
	})
}
