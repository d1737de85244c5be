package node_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node"
	"github.com/ipfs-liftoff/liftoff/node/api"
	"github.com/ipfs-liftoff/liftoff/runtime"
)

// gate is a guest that prints, signals that it has begun, and ends when open is closed.
type gate struct {
	begun, open chan struct{}
}

func newGate() *gate { return &gate{make(chan struct{}, 100), make(chan struct{})} }

func (g *gate) run(ctx context.Context, t job.Task, env runtime.Env) (runtime.Result, error) {
	fmt.Fprintln(env.Stdout, "begun")
	fmt.Fprintln(env.Stderr, "to stderr")
	g.begun <- struct{}{}
	select {
	case <-g.open:
	case <-ctx.Done():
		return runtime.Result{}, context.Cause(ctx)
	}
	fmt.Fprintln(env.Stdout, "ended")
	return result(ctx, t, env, "gate "+strings.Join(t.Args, " "))
}

// serving is a session with a node that serves.
type serving struct {
	*node.Session
	leave func() // ends Serve and closes the repo; the second call does nothing
}

// serve serves dir with guests until the test ends.
func serve(t testing.TB, cfg node.Config) *serving {
	t.Helper()
	s, err := node.Join(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx) }()
	leave := sync.OnceFunc(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
		s.Abort()
	})
	t.Cleanup(leave)
	eventually(t, "serving", func() bool {
		_, err := s.Jobs.Submit(t.Context(), api.Request{Timeout: -1})
		return !strings.Contains(fmt.Sprint(err), "no `liftoff serve` is running")
	})
	return &serving{s, leave}
}

// TestServeTwice calls Serve on a node that is serving: the second call returns an error and leaves the network
// of the first call alone.
func TestServeTwice(t *testing.T) {
	s := serve(t, node.Config{Dir: t.TempDir(), Grace: time.Millisecond, Network: &node.NetworkConfig{Listen: []string{"/ip4/127.0.0.1/tcp/0"}}})
	if err := s.Serve(t.Context()); err == nil || !strings.Contains(err.Error(), "already serving") {
		t.Errorf("%v", err)
	}
	if p, err := s.Peers.Self(t.Context()); err != nil || len(p.Addrs) == 0 {
		t.Errorf("%+v, %v", p, err)
	}
}

func gated(dir string, g *gate) node.Config {
	return node.Config{Dir: dir, Grace: time.Millisecond, Executors: runtime.Executors{script{"gate": g.run, "hello": guests["hello"]}}}
}

func kinds(events []api.Event) string {
	var all []string
	for i, e := range events {
		all = append(all, string(e.Kind))
		if e.Seq != events[0].Seq+i || e.At.IsZero() || e.Text == "" {
			all = append(all, fmt.Sprintf("(bad: %+v)", e))
		}
	}
	return strings.Join(all, " ")
}

// waitFor returns the job after it has ended.
func waitFor(t testing.TB, s *node.Session, id string) (api.Job, []api.Event) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var events []api.Event
	err := s.Jobs.Follow(ctx, id, 0, func(e api.Event) error { events = append(events, e); return nil })
	if err != nil {
		t.Fatalf("follow: %v, after %s", err, kinds(events))
	}
	j, err := s.Jobs.Find(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	return j, events
}

// A submitted job outlives its client; other clients follow it from its first event and its first byte, while it
// runs and after it has ended.
func TestSubmit(t *testing.T) {
	dir, g := t.TempDir(), newGate()
	s := serve(t, gated(dir, g))
	client := join(t, dir)
	mod := put(t, client, "module")
	j, err := client.Jobs.Submit(t.Context(), api.Request{Task: task(mod, "gate")})
	if err != nil || j.State != api.JobRunning || j.ID == "" {
		t.Fatalf("%+v, %v", j, err)
	}
	<-g.begun
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Maintenance.Collect(t.Context()); err != nil { // removes none of its data
		t.Fatal(err)
	}
	other := join(t, dir)
	var stdout, stderr bytes.Buffer
	var group sync.WaitGroup
	group.Go(func() {
		if err := other.Jobs.Logs(t.Context(), j.ID, api.Watch{Stdout: &stdout, Stderr: &stderr}); err != nil {
			t.Errorf("logs: %v", err)
		}
	})
	var events []api.Event
	follow := func(from int) {
		err := other.Jobs.Follow(t.Context(), j.ID, from, func(e api.Event) error {
			events = append(events, e)
			if e.Kind == api.EventStarted {
				close(g.open)
			}
			return nil
		})
		if err != nil {
			t.Errorf("follow: %v", err)
		}
	}
	follow(0)
	if got := kinds(events); got != "submitted started done" {
		t.Errorf("events: %s", got)
	}
	group.Wait()
	if stdout.String() != "begun\nended\n" || stderr.String() != "to stderr\n" {
		t.Errorf("logs: %q, %q", &stdout, &stderr)
	}
	done, again := waitFor(t, other, j.ID)
	if done.State != api.JobDone || kinds(again) != "submitted started done" {
		t.Errorf("%+v, %s", done, kinds(again))
	}
	if _, err := other.Data.Get(t.Context(), done.Outcome.Root); err != nil {
		t.Error(err)
	}
	events = nil
	follow(2)
	if got := kinds(events); got != "done" || events[0].Seq != 2 {
		t.Errorf("from 2: %s", got)
	}
	if err := other.Jobs.Cancel(t.Context(), j.ID); codeOf(err) != api.CodeConflict {
		t.Errorf("cancel of an ended job: %v", err)
	}
	enough := errors.New("enough")
	if err := s.Jobs.Follow(t.Context(), j.ID, 0, func(api.Event) error { return enough }); err != enough {
		t.Errorf("follow: got %v, want the callback's error", err)
	}
}

// Submit needs a node that serves.
func TestSubmitNeedsServe(t *testing.T) {
	bothWays(t, func(t *testing.T, s *node.Session) {
		_, err := s.Jobs.Submit(t.Context(), api.Request{Task: task(put(t, s, "module"), "hello")})
		if codeOf(err) != api.CodeConflict {
			t.Errorf("%v", err)
		}
		contains(t, hintOf(err), "liftoff serve")
	})
}

func hintOf(err error) string {
	var e *api.Error
	errors.As(err, &e)
	if e == nil {
		return ""
	}
	return e.Hint
}

func TestCancel(t *testing.T) {
	dir, g := t.TempDir(), newGate()
	s := serve(t, gated(dir, g))
	client := join(t, dir)
	mod := put(t, client, "module")
	j, err := client.Jobs.Submit(t.Context(), api.Request{Task: task(mod, "gate")})
	if err != nil {
		t.Fatal(err)
	}
	<-g.begun
	// The output so far is available while the job runs.
	var sofar, errs bytes.Buffer
	if err := client.Jobs.Logs(t.Context(), j.ID, api.Watch{Stdout: &sofar, Stderr: &errs, SoFar: true}); err != nil || sofar.String() != "begun\n" || errs.String() != "to stderr\n" {
		t.Errorf("%v, logs so far %q, %q", err, &sofar, &errs)
	}
	if err := client.Jobs.Cancel(t.Context(), j.ID); err != nil {
		t.Fatal(err)
	}
	done, events := waitFor(t, client, j.ID)
	if done.State != api.JobFailed || done.Err == nil || done.Err.Code != api.CodeInterrupted || kinds(events) != "submitted started failed" {
		t.Errorf("%+v, %s", done, kinds(events))
	}
	// Its printed output is kept.
	var stdout, stderr bytes.Buffer
	if _, err := s.Maintenance.Collect(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := client.Jobs.Logs(t.Context(), j.ID, api.Watch{Stdout: &stdout, Stderr: &stderr}); err != nil || stdout.String() != "begun\n" || stderr.String() != "to stderr\n" {
		t.Errorf("%v, logs %q, %q", err, &stdout, &stderr)
	}
	// A run of an attached client can be cancelled by another client.
	ran := make(chan error)
	go func() {
		_, err := client.Jobs.Run(t.Context(), api.Request{Task: task(mod, "gate")}, api.Watch{})
		ran <- err
	}()
	<-g.begun
	list, err := s.Jobs.List(t.Context())
	if err != nil || list[0].State != api.JobRunning {
		t.Fatalf("%+v, %v", list, err)
	}
	if err := s.Jobs.Cancel(t.Context(), list[0].ID); err != nil {
		t.Fatal(err)
	}
	if err := <-ran; codeOf(err) != api.CodeInterrupted {
		t.Errorf("%v", err)
	}
	for _, bad := range []string{"", "j-", j.ID[:5], "j-vvvvvvvvvvvvvvvvvvvv"} {
		if err := s.Jobs.Cancel(t.Context(), bad); codeOf(err) != api.CodeUsage && codeOf(err) != api.CodeMissing {
			t.Errorf("cancel %q: %v", bad, err)
		}
	}
}

// A process that shuts down gives running jobs a grace period; the next process resumes the unfinished ones,
// with the same ids and events.
func TestResume(t *testing.T) {
	dir, g := t.TempDir(), newGate()
	s := serve(t, gated(dir, g))
	mod := put(t, s.Session, "module")
	var ids []string
	for i := range 5 {
		tk := task(mod, "gate")
		tk.Args = []string{fmt.Sprint(i)}
		j, err := s.Jobs.Submit(t.Context(), api.Request{Task: tk, Labels: map[string]string{"n": fmt.Sprint(i)}})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, j.ID)
	}
	<-g.begun
	s.leave()

	between := join(t, dir) // a process that does not serve
	for _, id := range ids {
		j, err := between.Jobs.Find(t.Context(), id)
		if err != nil || j.State != api.JobFailed || j.Err.Code != api.CodeInterrupted {
			t.Fatalf("%+v, %v", j, err)
		}
		contains(t, j.Err.Hint, "liftoff serve")
	}
	if _, err := between.Maintenance.Collect(t.Context()); err != nil {
		t.Fatal(err)
	}
	between.Abort()

	g2 := newGate()
	close(g2.open)
	s2 := serve(t, gated(dir, g2))
	for i, id := range ids {
		j, events := waitFor(t, s2.Session, id)
		if j.State != api.JobDone || j.Labels["n"] != fmt.Sprint(i) || events[0].Seq != 0 {
			t.Errorf("%+v, %s", j, kinds(events))
		}
	}
	if list, err := s2.Jobs.List(t.Context()); err != nil || len(list) != 5 {
		t.Errorf("%d jobs, %v", len(list), err)
	}
	s2.leave()
	s3 := serve(t, gated(dir, newGate())) // nothing is left to resume
	for _, id := range ids {
		if j, err := s3.Jobs.Find(t.Context(), id); err != nil || j.State != api.JobDone {
			t.Errorf("%+v, %v", j, err)
		}
	}
}

// Unread output does not block a submitted job, and leaves no file.
func TestSubmitLoud(t *testing.T) {
	dir := t.TempDir()
	s := serve(t, node.Config{Dir: dir, Executors: runtime.Executors{guests}})
	mod := put(t, s.Session, "module")
	j, err := s.Jobs.Submit(t.Context(), api.Request{Task: task(mod, "lines")})
	if err != nil {
		t.Fatal(err)
	}
	if done, _ := waitFor(t, s.Session, j.ID); done.State != api.JobDone {
		t.Errorf("%+v", done)
	}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasPrefix(d.Name(), "output-") {
			t.Errorf("left: %s", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
