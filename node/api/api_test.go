package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/job"
)

var equal = cmp.Options{
	cmpopts.EquateEmpty(),
	cmp.Comparer(func(a, b cid.Cid) bool { return a == b }),
	cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) }),
}

// Every value that goes in at one end comes out at the other.
func TestClientIsTheBackend(t *testing.T) {
	m := &memory{}
	_, path := serve(t, m)
	c := dial(t, path)
	ctx := t.Context()

	one := Block{rawCID([]byte("one")), []byte("one")}
	empty := Block{rawCID(nil), []byte{}}
	if err := c.Put(ctx, one, empty); err != nil {
		t.Fatal(err)
	}
	for _, b := range []Block{one, empty} {
		if got, err := c.Get(ctx, b.CID); err != nil || !bytes.Equal(got, b.Data) {
			t.Errorf("%q, %v", got, err)
		}
		if has, err := c.Has(ctx, b.CID); err != nil || !has {
			t.Errorf("has %v, %v", has, err)
		}
	}
	if err := c.Put(ctx); err != nil {
		t.Errorf("put without blocks: %v", err)
	}
	if err := c.Put(ctx, Block{one.CID, []byte("two")}); codeOf(err) != CodeUsage {
		t.Errorf("put a wrong block: %v", err)
	}
	if _, err := c.Get(ctx, rawCID([]byte("x"))); codeOf(err) != CodeMissing {
		t.Errorf("get an absent block: %v", err)
	}
	if err := c.Sync(ctx); err != nil {
		t.Error(err)
	}

	pin := Pin{Name: "n/\n\x1b[31m", Roots: []Root{{one.CID, true}, {CID: empty.CID}}, Rest: []cid.Cid{empty.CID}, Created: time.Unix(1, 2), Expires: time.Unix(3, 4), Opaque: true}
	if err := c.Pin(ctx, pin); err != nil {
		t.Fatal(err)
	}
	if pins, err := c.Pins(ctx); err != nil || !cmp.Equal(pins, []Pin{pin}, equal) {
		t.Errorf("%+v, %v", pins, err)
	}
	for _, name := range []string{pin.Name, "a", "/", ".", "..", "a?name=b&x#y%2f+ ;z", "", "\xff\x00"} { // any bytes, one way or the other
		named := Pin{Name: name, Roots: pin.Roots, Created: pin.Created}
		if name != pin.Name {
			if _, err := c.FindPin(ctx, name); codeOf(err) != CodeMissing {
				t.Errorf("find %q: %v", name, err)
			}
			if name == "\xff\x00" { // JSON cannot carry it
				continue
			}
			if err := c.Pin(ctx, named); err != nil {
				t.Fatal(err)
			}
		} else {
			named = pin
		}
		if got, err := c.FindPin(ctx, name); err != nil || !cmp.Equal(got, named, equal) {
			t.Errorf("find %q: %+v, %v", name, got, err)
		}
	}
	if err := c.Unpin(ctx, "none"); codeOf(err) != CodeMissing || err.Error() != `pin "none" does not exist` {
		t.Errorf("unpin: %v", err)
	}

	if got, err := c.Collect(ctx); err != nil || got != (Collected{1, 2, 3, 4}) {
		t.Errorf("%+v, %v", got, err)
	}
	var damages []Damage
	got, err := c.Check(ctx, func(d Damage) { damages = append(damages, d) })
	if err != nil || got != (Checked{5, 6, 2}) || len(damages) != 2 || damages[0] != (Damage{"c", "w", "e"}) {
		t.Errorf("%+v, %v, %v", got, damages, err)
	}
}

func codeOf(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

func fullJob() Job {
	o := job.Outcome{Task: rawCID([]byte("task")), State: job.Exit, Code: 3, Root: rawCID([]byte("root"))}
	return Job{
		ID: "j-1", State: JobDone, Task: o.Task, OutcomeCID: rawCID([]byte("outcome")), Outcome: &o, Fault: "\x00\xff?",
		Labels: map[string]string{"a": "b"}, Created: time.Unix(5, 6).UTC(), Ended: time.Unix(7, 8).UTC(), Read: Read{1, 2},
		Refs: []cid.Cid{rawCID([]byte("ref"))}, Compile: 3, Run: 4,
		Receipt: rawCID([]byte("receipt")), Cached: true,
	}
}

func TestRunCrosses(t *testing.T) {
	want := fullJob()
	want.Fault = "trap"
	req := Request{
		Task: testTask(), Limits: job.Limits{Pages: 1}, Timeout: 2, Keep: KeepForever,
		Local: []cid.Cid{rawCID([]byte("l"))}, Labels: map[string]string{"x": "y"}, NoCache: true, Trusted: true,
	}
	m := &memory{jobs: []Job{want, {ID: "j-0", State: JobFailed, Err: Errorf(CodeRefused, "no")}}}
	m.run = func(_ context.Context, r Request, w Watch) (Job, error) {
		if !cmp.Equal(r, req, equal) {
			t.Error(cmp.Diff(req, r, equal))
		}
		if w.Stderr != nil {
			t.Error("stderr is watched, but the client has no writer for it")
		}
		io.WriteString(w.Stdout, "out")
		w.Progress(-1, 1<<40)
		return want, nil
	}
	_, path := serve(t, m)
	c := dial(t, path)
	var out bytes.Buffer
	var done, total int64
	got, err := c.Run(t.Context(), req, Watch{Stdout: &out, Progress: func(d, n int64) { done, total = d, n }})
	if err != nil || !cmp.Equal(got, want, equal) {
		t.Errorf("%v\n%s", err, cmp.Diff(want, got, equal))
	}
	if out.String() != "out" || done != -1 || total != 1<<40 {
		t.Errorf("%q, %d of %d", &out, done, total)
	}
	if jobs, err := c.List(t.Context()); err != nil || !cmp.Equal(jobs, m.jobs, equal) {
		t.Errorf("%v\n%s", err, cmp.Diff(m.jobs, jobs, equal))
	}
	if j, err := c.Find(t.Context(), "j-1"); err != nil || j.ID != "j-1" {
		t.Errorf("find: %q, %v", j.ID, err)
	}
	for _, id := range []string{"", "a/b?c", "..", "%2f", "J-1"} {
		if _, err := c.Find(t.Context(), id); codeOf(err) != CodeUsage {
			t.Errorf("find %q: %v", id, err)
		}
	}
}

func TestProofsCross(t *testing.T) {
	task := rawCID([]byte("task"))
	m := &memory{
		receipts: []ReceiptInfo{
			{CID: rawCID([]byte("r")), Issuer: "did:key:a", Task: task, Outcome: rawCID([]byte("o")), Issued: time.Unix(1, 2), Own: true},
			{CID: rawCID([]byte("s")), Issuer: "did:key:b", Task: rawCID(nil), Outcome: rawCID([]byte("o")), Replayed: true},
		},
		cached: []CachedResult{{Task: task, Outcome: rawCID([]byte("o")), Receipt: rawCID([]byte("r")), Issuer: "did:key:a", State: job.Exit, Code: 3, Fuel: 4, Size: 5, Created: time.Unix(6, 0)}},
	}
	cached, receipts := m.cached, m.receipts
	_, path := serve(t, m)
	c, ctx := dial(t, path), t.Context()
	same := func(what string, got, want any, err error) {
		t.Helper()
		if err != nil || !cmp.Equal(got, want, equal) {
			t.Errorf("%s: %v\n%s", what, err, cmp.Diff(want, got, equal))
		}
	}
	fails := func(what string, err error, want Code) {
		t.Helper()
		if codeOf(err) != want {
			t.Errorf("%s: %v, want %s", what, err, want)
		}
	}
	all, err := c.Receipts(ctx)
	same("receipts", all, receipts, err)
	of, err := c.ReceiptsOf(ctx, task)
	same("receipts of a task", of, receipts[:1], err)
	_, err = c.ReceiptsOf(ctx, cid.Undef)
	fails("receipts of no task", err, CodeUsage)
	one, err := c.FindReceipt(ctx, receipts[1].CID.String())
	same("find", one, receipts[1], err)
	_, err = c.FindReceipt(ctx, "x")
	fails("find none", err, CodeMissing)
	for _, bad := range []string{"", "a/b", "..", "%41"} {
		_, err = c.FindReceipt(ctx, bad)
		fails("find "+bad, err, CodeUsage)
	}
	id, err := c.AddReceipt(ctx, []byte("envelope"))
	same("add", id, rawCID([]byte("envelope")), err)
	_, err = c.AddReceipt(ctx, nil)
	fails("add nothing", err, CodeUsage)

	known, err := c.CachedResults(ctx)
	same("cached", known, cached, err)
	fails("forget one", c.Forget(ctx, task), CodeMissing)
	err = c.Forget(ctx, cid.Undef)
	same("forget all", m.cached, []CachedResult(nil), err)

	if err := c.Trust(ctx, "did:key:z", "a \"note\""); err != nil {
		t.Error(err)
	}
	keys, err := c.Trusted(ctx)
	same("trusted", keys, []TrustedKey{{"did:key:z", "a \"note\"", time.Unix(9, 0)}}, err)
	fails("distrust", c.Distrust(ctx, "x"), CodeMissing)
	self, err := c.Identity(ctx)
	same("identity", self, ID{"12D3", "did:key:z"}, err)
}

func TestRunFails(t *testing.T) {
	for _, want := range []*Error{
		{Code: CodeRefused, Message: "refused", Hint: "a hint"},
		{Code: CodeTimeout, Message: "late"},
		{Code: CodeFault, Message: "block x is damaged", Hint: "bring it", Damaged: true},
	} {
		m := &memory{run: func(context.Context, Request, Watch) (Job, error) {
			return Job{ID: "j-1", State: JobFailed, Err: want}, fmt.Errorf("wrapped: %w", want)
		}}
		_, path := serve(t, m)
		j, err := dial(t, path).Run(t.Context(), Request{Task: testTask()}, Watch{})
		var got *Error
		if !errors.As(err, &got) || *got != *want || j.ID != "j-1" {
			t.Errorf("%+v, %+v; want %+v", j, err, want)
		}
	}
}

// A printed line arrives while the guest is running.
func TestStdoutIsLive(t *testing.T) {
	seen := make(chan string)
	m := &memory{run: func(ctx context.Context, _ Request, w Watch) (Job, error) {
		for i := range 3 {
			line := fmt.Sprintf("line %d\n", i)
			io.WriteString(w.Stdout, line)
			select {
			case got := <-seen:
				if got != line {
					t.Errorf("%q, want %q", got, line)
				}
			case <-time.After(5 * time.Second):
				return Job{}, errors.New("the line is not seen")
			}
		}
		return Job{ID: "j-1"}, nil
	}}
	_, path := serve(t, m)
	_, err := dial(t, path).Run(t.Context(), Request{Task: testTask()}, Watch{
		Stdout: writerFunc(func(b []byte) (int, error) { seen <- string(b); return len(b), nil }),
	})
	if err != nil {
		t.Error(err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// stdout and stderr arrive complete, each in order, and in their order relative to each other.
func TestOutputIsWhole(t *testing.T) {
	const lines = 20_000
	m := &memory{run: func(_ context.Context, _ Request, w Watch) (Job, error) {
		for i := range lines {
			to := w.Stdout
			if i%3 == 0 {
				to = w.Stderr
			}
			if _, err := fmt.Fprintf(to, "%d\n", i); err != nil {
				return Job{}, err
			}
		}
		w.Stdout.Write(bytes.Repeat([]byte("x"), 1<<20))
		return Job{ID: "j-1"}, nil
	}}
	_, path := serve(t, m)
	var both bytes.Buffer
	if _, err := dial(t, path).Run(t.Context(), Request{Task: testTask()}, Watch{Stdout: &both, Stderr: &both}); err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	for i := range lines {
		fmt.Fprintln(&want, i)
	}
	want.WriteString(strings.Repeat("x", 1<<20))
	if both.String() != want.String() {
		t.Errorf("%d bytes, want %d", both.Len(), want.Len())
	}
}

// Cancelling at one end cancels at the other, and so does an error of a writer.
func TestRunIsCancelled(t *testing.T) {
	ended := make(chan error)
	m := &memory{run: func(ctx context.Context, _ Request, w Watch) (Job, error) {
		io.WriteString(w.Stdout, "x")
		<-ctx.Done()
		ended <- ctx.Err()
		return Job{}, ctx.Err()
	}}
	_, path := serve(t, m)
	c := dial(t, path)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := c.Run(ctx, Request{Task: testTask()}, Watch{Stdout: writerFunc(func(b []byte) (int, error) {
		cancel()
		return len(b), nil
	})})
	if codeOf(err) != CodeInterrupted {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	_, err = c.Run(t.Context(), Request{Task: testTask()}, Watch{Stdout: writerFunc(func(b []byte) (int, error) {
		return 0, syscall.EPIPE
	})})
	if !errors.Is(err, syscall.EPIPE) {
		t.Error(err)
	}
	<-ended
}

// The requests of a client end with its session, and its Backend is closed.
func TestDetach(t *testing.T) {
	started, ended := make(chan bool), make(chan bool)
	m := &memory{run: func(ctx context.Context, _ Request, _ Watch) (Job, error) {
		close(started)
		<-ctx.Done()
		close(ended)
		return Job{}, ctx.Err()
	}}
	h, path := serve(t, m)
	c := dial(t, path)
	failed := make(chan error)
	go func() {
		_, err := c.Run(t.Context(), Request{Task: testTask()}, Watch{})
		failed <- err
	}()
	<-started
	c.Close()
	<-ended
	if err := <-failed; codeOf(err) != CodeFault {
		t.Error(err)
	}
	if err := h.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if m.closed != 1 {
		t.Errorf("the backend was closed %d times", m.closed)
	}
	if _, err := Dial(t.Context(), path); codeOf(err) != CodeClosing {
		t.Errorf("attach after Drain: %v", err)
	}
}

func TestDrainWaits(t *testing.T) {
	h, path := serve(t, &memory{})
	c := dial(t, path)
	ctx, cancel := context.WithTimeoutCause(t.Context(), 20*time.Millisecond, errors.New("enough"))
	defer cancel()
	if err := h.Drain(ctx); err == nil || err.Error() != "enough" {
		t.Fatal(err)
	}
	dial(t, path).Close() // it still accepts clients
	if err := c.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.Close()
	if err := c.Sync(t.Context()); codeOf(err) == "" {
		t.Errorf("a call after Close: %v", err)
	}
}

// A guest that cannot be interrupted does not block the owner process for ever.
func TestDrainWithUninterruptibleRun(t *testing.T) {
	started, release := make(chan bool), make(chan bool)
	m := &memory{run: func(context.Context, Request, Watch) (Job, error) {
		close(started)
		<-release
		return Job{}, nil
	}}
	h, path := serve(t, m)
	c := dial(t, path)
	var wg sync.WaitGroup
	wg.Go(func() { c.Run(t.Context(), Request{Task: testTask()}, Watch{}) })
	<-started
	c.Close()
	if err := h.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if m.closed != 0 {
		t.Error("the backend was closed during a run")
	}
	close(release)
	wg.Wait()
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		m.mu.Lock()
		closed := m.closed
		m.mu.Unlock()
		if closed == 1 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the backend was not closed after the run")
		}
	}
}

// A large Put is read in batches.
func TestPutIsBounded(t *testing.T) {
	m := &memory{}
	_, path := serve(t, m)
	c := dial(t, path)
	var bs []Block
	for i := range 40 {
		b := bytes.Repeat([]byte{byte(i)}, 1<<20)
		bs = append(bs, Block{rawCID(b), b})
	}
	if err := c.Put(t.Context(), bs...); err != nil {
		t.Fatal(err)
	}
	if len(m.blocks) != 40 || m.most > maxBatch+MaxBlock {
		t.Errorf("%d blocks, %d bytes at once", len(m.blocks), m.most)
	}
	big := make([]byte, MaxBlock+1)
	if err := c.Put(t.Context(), Block{rawCID(big), big}); codeOf(err) != CodeUsage {
		t.Errorf("a block above the limit: %v", err)
	}
}

func TestJobRoundTrip(t *testing.T) {
	want := fullJob()
	b, err := EncodeJob(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeJob(b)
	if err != nil {
		t.Fatal(err)
	}
	want.Fault = "\x00\ufffd?" // JSON holds text
	if d := cmp.Diff(want, got, equal); d != "" {
		t.Error(d)
	}
	for _, bad := range []string{
		"", "{", "[]", `{"unknown":1}`, `{"id":1}`, string(b) + "x", `{"outcome_bytes":"AAAA"}`, `{"task":{"/":"no CID"}}`,
	} {
		if j, err := DecodeJob([]byte(bad)); err == nil {
			t.Errorf("%q was decoded: %+v", bad, j)
		}
	}
}

func TestAsError(t *testing.T) {
	for _, c := range []struct {
		err  error
		want *Error
	}{
		{nil, nil},
		{fmt.Errorf("wrapped: %w", Errorf(CodeMissing, "m")), Errorf(CodeMissing, "m")},
		{fmt.Errorf("wrapped: %w", context.Canceled), Errorf(CodeInterrupted, "interrupted")},
		{errors.New("disk"), Errorf(CodeFault, "disk")},
	} {
		if got := AsError(c.err); !cmp.Equal(got, c.want) {
			t.Errorf("%v: %+v", c.err, got)
		}
	}
	if b, _ := json.Marshal(Errorf(CodeUsage, "x")); string(b) != `{"code":"usage","message":"x"}` {
		t.Errorf("%s", b)
	}
}

// A request without a session gets its own.
func TestRequestWithoutSession(t *testing.T) {
	m := &memory{}
	h, path := serve(t, m)
	answer := talk(t, path, "GET /v1/identity HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	if !strings.HasPrefix(answer, "HTTP/1.1 200 ") || !strings.Contains(answer, `"did":"did:key:z"`) {
		t.Errorf("%q", answer)
	}
	if m.mu.Lock(); m.closed != 1 {
		t.Errorf("its backend was closed %d times", m.closed)
	}
	m.mu.Unlock()
	if n := h.count(); n != 0 {
		t.Errorf("%d sessions are left", n)
	}
}
