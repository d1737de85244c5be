package market

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
)

// converse reads a conversation to Done and returns its output.
func converse(t *testing.T, c *Conversation) (stdout, stderr []byte, heartbeats []Heartbeat, done Done) {
	t.Helper()
	for {
		ev, err := c.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		switch ev := ev.(type) {
		case Heartbeat:
			heartbeats = append(heartbeats, ev)
		case Log:
			if ev.Stream == 1 {
				stdout = append(stdout, ev.Data...)
			} else {
				stderr = append(stderr, ev.Data...)
			}
		case Done:
			return stdout, stderr, heartbeats, ev
		}
	}
}

func TestConversation(t *testing.T) {
	p := newPair(t, Config{HeartbeatInterval: 20 * time.Millisecond, Log: 5 * time.Millisecond})
	output := make([]byte, 3<<20)
	rand.Read(output)
	w := newWork(t, output)
	printed := bytes.Repeat([]byte("some line that a guest prints\n"), 20_000)
	p.seller.logs = func(_ context.Context, stdout, stderr io.Writer) error {
		if _, err := stdout.Write(printed); err != nil {
			return err
		}
		_, err := fmt.Fprint(stderr, "a line on stderr")
		return err
	}
	p.seller.started = func(run *Run, _ Request, a Awarded) {
		for _, phase := range []string{"fetch", "compile", "run"} {
			run.Heartbeat(Heartbeat{Phase: phase, Fuel: 5, Fetched: 9})
			for range 3 { // two of an earlier phase may be in flight
				<-p.seller.renewed
			}
		}
		run.Heartbeat(Heartbeat{Phase: "pack"})
		for range 3 {
			<-p.seller.renewed
		}
		w.finish(run, p.provider.key, a)
	}

	c, bid, err := p.client.Ask(t.Context(), p.provider.ID(), w.ask(t, p.requester))
	if err != nil {
		t.Fatal(err)
	}
	if bid.Have != 42 || bid.Refuses() || c.Provider() != p.provider.did || c.RTT() <= 0 {
		t.Errorf("got bid %+v of %s", bid, c.Provider())
	}
	r := p.seller.asked[0]
	if r.Bytes != 12 || r.Engine != "wasm" || r.Window != time.Second || !bytes.Equal(r.Task, w.taskB) || r.Work.Fn != "_start" {
		t.Errorf("provider: got request %+v", r)
	}
	award := w.award(t, p.requester, p.provider.did)
	award.Sources = []peer.AddrInfo{{ID: p.requester.ID(), Addrs: p.requester.Addrs()}, {ID: p.provider.ID()}}
	accept, err := c.Award(t.Context(), award)
	if err != nil {
		t.Fatal(err)
	}
	if accept.Start != 250*time.Millisecond {
		t.Errorf("got start %s", accept.Start)
	}
	got := p.seller.awarded[0]
	if got.For != 15*time.Second || got.Lease != award.Lease || len(got.Sources) != 2 ||
		got.Sources[0].ID != p.requester.ID() || len(got.Sources[0].Addrs) != len(p.requester.Addrs()) {
		t.Errorf("got award %+v", got.Award)
	}
	stdout, stderr, heartbeats, done := converse(t, c)
	if !bytes.Equal(stdout, printed) || string(stderr) != "a line on stderr" {
		t.Errorf("got %d bytes of stdout, %d of stderr", len(stdout), len(stderr))
	}
	phases := map[string]bool{}
	for _, b := range heartbeats {
		phases[b.Phase] = true
	}
	if !phases["fetch"] || !phases["run"] || !phases["pack"] {
		t.Errorf("got phases %v", phases)
	}
	if done.Receipt.Issuer != p.provider.did || done.Outcome.Root != w.outcome.Root {
		t.Errorf("got done %+v", done)
	}
	kept := &dag.MemBlocks{}
	for b, err := range c.Blocks(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		kept.Put(t.Context(), b)
	}
	f, err := dag.OpenFile(t.Context(), kept, done.Outcome.Root)
	if err != nil {
		t.Fatal(err)
	}
	var back bytes.Buffer
	if _, err := f.WriteTo(t.Context(), &back); err != nil || !bytes.Equal(back.Bytes(), output) {
		t.Errorf("output differs: %v", err)
	}
	for _, want := range [][]byte{w.taskB, w.outcomeB, done.ReceiptBytes} {
		if held, _ := kept.Has(t.Context(), job.CIDOf(want)); !held {
			t.Errorf("missing block %s", job.CIDOf(want))
		}
	}
	if held, _ := kept.Has(t.Context(), w.task.Mod); held {
		t.Error("the result contains the module")
	}
	if err := c.Close(OK); err != nil {
		t.Error(err)
	}
	if err := c.Close(OK); err != nil {
		t.Error(err)
	}
	if why := soon(t, p.seller.closed, "close"); why != OK {
		t.Errorf("got close reason %s", why)
	}
}

func TestRefusal(t *testing.T) {
	p := newPair(t, Config{})
	w := newWork(t, nil)
	p.seller.refuse = job.Bid{Refusal: "no slot is free", Code: job.RefuseBusy}
	c, bid, err := p.client.Ask(t.Context(), p.provider.ID(), w.ask(t, p.requester))
	if err != nil || c != nil || bid.Code != job.RefuseBusy || bid.Refusal != "no slot is free" {
		t.Errorf("%v %+v %v", c, bid, err)
	}
	p.seller.admitted = &FailedError{Code: job.RefuseRate, Why: "too many asks"}
	c, bid, err = p.client.Ask(t.Context(), p.provider.ID(), w.ask(t, p.requester))
	if err != nil || c != nil || bid.Code != job.RefuseRate {
		t.Errorf("%v %+v %v", c, bid, err)
	}
	if _, err := p.client.Attach(t.Context(), p.provider.ID(), Attach{Order: job.CIDOf(w.taskB)}, job.Limits{}); err == nil {
		t.Error("an attach was admitted")
	}
	if n := len(p.seller.asked); n != 1 {
		t.Errorf("%d asks were admitted", n)
	}
}

func TestDecline(t *testing.T) {
	p := newPair(t, Config{})
	w := newWork(t, nil)
	p.seller.decline = &DeclinedError{Why: "it got busier", Queue: 3 * time.Second}
	c, _, err := p.client.Ask(t.Context(), p.provider.ID(), w.ask(t, p.requester))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(Lost)
	_, err = c.Award(t.Context(), w.award(t, p.requester, p.provider.did))
	var d *DeclinedError
	if !errors.As(err, &d) || d.Queue != 3*time.Second || d.Why != "it got busier" {
		t.Errorf("%v", err)
	}
}

// begin asks and awards.
func begin(t *testing.T, p pair, w work) (*Conversation, Award) {
	t.Helper()
	c, _, err := p.client.Ask(t.Context(), p.provider.ID(), w.ask(t, p.requester))
	if err != nil {
		t.Fatal(err)
	}
	a := w.award(t, p.requester, p.provider.did)
	if _, err := c.Award(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	return c, a
}

func TestFailure(t *testing.T) {
	p := newPair(t, Config{})
	w := newWork(t, nil)
	p.seller.started = func(run *Run, _ Request, _ Awarded) {
		run.Fail(FailedError{Code: "timeout", Why: "ran\ntoo long", Final: true})
		run.Fail(FailedError{Code: "second"})
	}
	c, _ := begin(t, p, w)
	var f *FailedError
	for {
		_, err := c.Next(t.Context())
		if err == nil {
			continue
		}
		if !errors.As(err, &f) || f.Code != "timeout" || f.Why != "ran too long" || !f.Final {
			t.Errorf("%v", err)
		}
		break
	}
	c.Close(Lost)
	if why := soon(t, p.seller.closed, "close"); why != Lost {
		t.Errorf("got close reason %s", why)
	}
}

// TestAttach breaks a conversation and resumes it, as after a restart: the output continues at the requester's
// offsets.
func TestAttach(t *testing.T) {
	p := newPair(t, Config{HeartbeatInterval: 10 * time.Millisecond, Log: time.Millisecond})
	w := newWork(t, []byte("result"))
	more := make(chan struct{})
	p.seller.logs = func(ctx context.Context, stdout, _ io.Writer) error {
		io.WriteString(stdout, "first,")
		select {
		case <-more:
		case <-ctx.Done():
			return ctx.Err()
		}
		_, err := io.WriteString(stdout, "second")
		return err
	}
	c, a := begin(t, p, w)
	var seen []byte
	for len(seen) < len("first,") {
		ev, err := c.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if l, ok := ev.(Log); ok {
			seen = append(seen, l.Data...)
		}
	}
	c.w.s.Reset()
	soon(t, p.seller.away, "call of Away")

	envelope := job.CIDOf(a.Order)
	at := Attach{Lease: a.Lease, Order: envelope, Task: w.outcome.Task, Stdout: uint64(len(seen))}
	again, err := p.client.Attach(t.Context(), p.provider.ID(), at, job.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	close(more)
	w.finish(p.seller.runs[a.Lease], p.provider.key, p.seller.awarded[0])
	stdout, _, _, _ := converse(t, again)
	if string(seen)+string(stdout) != "first,second" {
		t.Errorf("got %q and then %q", seen, stdout)
	}
	n := 0
	for _, err := range again.Blocks(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n < 4 {
		t.Errorf("%d blocks", n)
	}
	// A second attach, to a run that has ended, replaces the first and gets everything again.
	third, err := p.client.Attach(t.Context(), p.provider.ID(), Attach{Lease: a.Lease, Order: envelope, Task: w.outcome.Task}, job.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if stdout, _, _, _ = converse(t, third); string(stdout) != "first,second" {
		t.Errorf("got %q", stdout)
	}
	third.Close(OK)
	if why := soon(t, p.seller.closed, "close"); why != OK {
		t.Errorf("got close reason %s", why)
	}

	var f *FailedError
	if _, err := p.client.Attach(t.Context(), p.provider.ID(), Attach{Order: envelope}, job.Limits{}); !errors.As(err, &f) || f.Code != "unknown" {
		t.Errorf("another lease: %v", err)
	}
}

// TestSlowViewer has a guest print while the requester does not read: the run continues.
func TestSlowViewer(t *testing.T) {
	p := newPair(t, Config{HeartbeatInterval: 10 * time.Millisecond})
	w := newWork(t, nil)
	w.outcome.Log = 0
	stuck := make(chan int, 1)
	p.seller.logs = func(ctx context.Context, stdout, _ io.Writer) error {
		n := 0
		for {
			k, err := stdout.Write(make([]byte, 64<<10))
			n += k
			if err != nil {
				stuck <- n
				return err
			}
		}
	}
	c, _ := begin(t, p, w)
	time.Sleep(100 * time.Millisecond) // the requester does not read
	run := p.seller.runs[p.seller.awarded[0].Lease]
	returned := make(chan struct{})
	go func() {
		for range 1000 {
			run.Heartbeat(Heartbeat{Phase: "run", Fuel: 1})
		}
		close(returned)
	}()
	soon(t, returned, "end of the heartbeats")
	c.Close(Cancelled)
	if why := soon(t, p.seller.closed, "close"); why != Cancelled {
		t.Errorf("got close reason %s", why)
	}
	if n := soon(t, stuck, "end of the output"); n > 64<<20 {
		t.Errorf("buffered %d bytes for a viewer that does not read", n)
	}
}

// TestSilentProvider has a provider that stops sending during a run.
func TestSilentProvider(t *testing.T) {
	slow := Config{HeartbeatInterval: time.Hour}
	p := newPair(t, slow)
	p.client = NewClient(p.requester, Config{Silence: 50 * time.Millisecond})
	w := newWork(t, nil)
	c, _ := begin(t, p, w)
	var s *TimeoutError
	for {
		_, err := c.Next(t.Context())
		if err == nil {
			continue
		}
		if !errors.As(err, &s) {
			t.Errorf("%v", err)
		}
		break
	}
	c.Close(Lost)
	if why := soon(t, p.seller.closed, "close"); why != Lost {
		t.Errorf("got close reason %s", why)
	}
}

// TestSilentRequester has a requester that does not answer heartbeats: the provider's conversation ends, and the node
// gets a call of Away.
func TestSilentRequester(t *testing.T) {
	p := newPair(t, Config{HeartbeatInterval: 10 * time.Millisecond, Silence: 80 * time.Millisecond})
	begin(t, p, newWork(t, nil))
	soon(t, p.seller.away, "call of Away")
}

func TestCancelledCalls(t *testing.T) {
	p := newPair(t, Config{HeartbeatInterval: time.Hour, Silence: time.Hour})
	w := newWork(t, nil)
	c, _ := begin(t, p, w)
	ctx, cancel := context.WithCancelCause(t.Context())
	mine := errors.New("my own reason")
	time.AfterFunc(20*time.Millisecond, func() { cancel(mine) })
	for {
		_, err := c.Next(ctx)
		if err == nil {
			continue
		}
		if err != mine {
			t.Errorf("%v", err)
		}
		break
	}
	if err := c.Close(Cancelled); err != nil {
		t.Error(err)
	}
	if why := soon(t, p.seller.closed, "close"); why != Cancelled {
		t.Errorf("got close reason %s", why)
	}
}

func TestServerClose(t *testing.T) {
	p := newPair(t, Config{})
	c, _ := begin(t, p, newWork(t, nil))
	if n := p.server.Conversations(); n != 1 {
		t.Errorf("%d conversations", n)
	}
	p.server.Close()
	if n := p.server.Conversations(); n != 0 {
		t.Errorf("%d conversations after Close", n)
	}
	for {
		if _, err := c.Next(t.Context()); err != nil {
			break
		}
	}
	c.Close(Lost)
}

// TestManyConversations runs conversations one after the other: libp2p's limits reveal leaked streams.
func TestManyConversations(t *testing.T) {
	p := newPair(t, Config{})
	w := newWork(t, nil)
	ask := w.ask(t, p.requester)
	for i := range 600 {
		p.seller.refuse = job.Bid{}
		if i%3 == 0 {
			p.seller.refuse = job.Bid{Refusal: "no", Code: job.RefuseBusy}
		}
		c, _, err := p.client.Ask(t.Context(), p.provider.ID(), ask)
		if err != nil {
			t.Fatalf("after %d: %v", i, err)
		}
		if c == nil {
			continue
		}
		if i%3 == 1 {
			if _, err := c.Award(t.Context(), w.award(t, p.requester, p.provider.did)); err != nil {
				t.Fatalf("after %d: %v", i, err)
			}
		}
		c.Close(Lost)
		if i%3 == 1 {
			soon(t, p.seller.closed, "close")
		}
	}
}
