package market

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/network"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
)

func frameOf(t testing.TB, m message) []byte {
	t.Helper()
	b, err := encode(m)
	if err != nil {
		t.Fatal(err)
	}
	return append(protowire.AppendVarint(nil, uint64(len(b))), b...)
}

func chunkOf(b []byte) []byte { return append(protowire.AppendVarint(nil, uint64(len(b))), b...) }

// TestHostileRequester sends invalid input. The provider ends the conversation with a reason or a reset, and its
// state does not change.
func TestHostileRequester(t *testing.T) {
	p := newPair(t, Config{Frame: 200 * time.Millisecond, Reply: 200 * time.Millisecond, Hold: 200 * time.Millisecond})
	unknown := newNode(t)
	w := newWork(t, []byte("x"))
	ask := func(by node) []byte {
		return frameOf(t, &askFrame{order: w.envelope(t, by, ""), engine: "wasm"})
	}
	good := append(ask(p.requester), chunkOf(w.taskB)...)
	award := func(by node, aud job.DID) []byte {
		return append(bytes.Clone(good), frameOf(t, &awardFrame{order: w.envelope(t, by, aud)})...)
	}
	other := newWork(t, nil)
	other.taskB = append(bytes.Clone(w.taskB), 0)
	swapped := w
	swapped.task.Fn = "another"
	swapped.taskB, _ = swapped.task.Encode()

	for _, c := range []struct {
		name  string
		sent  []byte
		reply string // text in the reply frame; "": the stream ends without one
	}{
		{"nothing", nil, ""},
		{"garbage", []byte("GET / HTTP/1.1\r\n\r\n"), ""},
		{"an endless length", bytes.Repeat([]byte{0xff}, 32), ""},
		{"a length in long form", []byte{0x81, 0x00}, ""},
		{"a huge frame", protowire.AppendVarint(nil, 1<<40), ""},
		{"a frame just too large", protowire.AppendVarint(nil, MaxControl+1), ""},
		{"an empty frame", []byte{0}, ""},
		{"half a frame", good[:20], ""},
		{"an unknown message", chunkOf([]byte("\xa1\x63abc\xa0")), ""},
		{"two messages in one", chunkOf([]byte("\xa2\x65renew\xa0\x65close\xa0")), ""},
		{"deep nesting", chunkOf(bytes.Repeat([]byte{0x81}, 1000)), ""},
		{"a heartbeat first", frameOf(t, &heartbeatFrame{}), ""},
		{"an award first", frameOf(t, &awardFrame{}), ""},
		{"a forged order", append(ask(unknown), chunkOf(w.taskB)...), "invalid"},
		{"a malformed order", frameOf(t, &askFrame{order: []byte("job"), engine: "wasm"}), "invalid"},
		{"another task", append(ask(p.requester), chunkOf(swapped.taskB)...), "invalid"},
		{"a huge task", append(ask(p.requester), protowire.AppendVarint(nil, MaxTask+1)...), ""},
		{"no task", ask(p.requester), ""},
		{"two asks", append(bytes.Clone(good), good...), ""},
		{"no award", good, ""},
		{"an award by another peer", award(unknown, p.provider.did), "invalid"},
		{"an award for another peer", award(p.requester, unknown.did), "invalid"},
		{"an award without an audience", award(p.requester, ""), "invalid"},
		{"an attach to an unknown order", frameOf(t, &attachFrame{order: w.task.Mod.Bytes()}), "unknown"},
		{"an attach to an invalid CID", frameOf(t, &attachFrame{order: []byte{1}}), "invalid"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := p.requester.NewStream(t.Context(), p.provider.ID(), Protocol)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Reset()
			s.SetDeadline(time.Now().Add(20 * time.Second))
			s.Write(c.sent)
			if len(c.sent) == 0 {
				s.CloseWrite() // otherwise libp2p has not sent the protocol yet
			}
			got, err := io.ReadAll(s)
			if isTimeout(err) {
				t.Fatal("the provider did not end the stream")
			}
			if !strings.Contains(string(got), c.reply) || c.reply == "" && strings.Contains(string(got), "failed") {
				t.Errorf("got reply %q, %v", got, err)
			}
		})
	}
	if n := len(p.seller.awarded); n != 0 {
		t.Errorf("%d awards were accepted", n)
	}
	p.server.Close() // waits for all conversations
	if n := p.server.Conversations(); n != 0 {
		t.Errorf("%d conversations after Close", n)
	}
}

// TestTrickle sends a byte now and then: the time limit of a frame holds however slowly it arrives.
func TestTrickle(t *testing.T) {
	p := newPair(t, Config{Frame: 100 * time.Millisecond, Reply: 10 * time.Second})
	s, err := p.requester.NewStream(t.Context(), p.provider.ID(), Protocol)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Reset()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		io.Copy(io.Discard, s)
	}()
	frame := frameOf(t, &askFrame{order: make([]byte, 1000), engine: "wasm"})
	for _, b := range frame {
		if _, err := s.Write([]byte{b}); err != nil {
			return
		}
		select {
		case <-ended:
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
	t.Error("the frame had no time limit")
}

// TestFlood opens more conversations than allowed.
func TestFlood(t *testing.T) {
	p := newPair(t, Config{PerPeer: 4, Reply: 500 * time.Millisecond})
	w := newWork(t, nil)
	ask := w.ask(t, p.requester)
	var open []*Conversation
	failed := 0
	for range 12 {
		c, _, err := p.client.Ask(t.Context(), p.provider.ID(), ask)
		if err != nil {
			failed++
			continue
		}
		open = append(open, c)
	}
	if len(open) != 4 || failed != 8 {
		t.Errorf("got %d conversations, %d refused", len(open), failed)
	}
	for _, c := range open {
		c.Close(Lost)
	}
	deadline := time.Now().Add(20 * time.Second)
	for p.server.Conversations() > 0 && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	if c, _, err := p.client.Ask(t.Context(), p.provider.ID(), ask); err != nil {
		t.Error(err)
	} else {
		c.Close(Lost)
	}
}

// rogue serves the market's protocol with a script: it reads an Ask and an Award, and writes what the test defines.
func rogue(t *testing.T, p node, say func(s network.Stream, award []byte)) {
	t.Helper()
	var running sync.WaitGroup
	p.SetStreamHandler(Protocol, func(s network.Stream) {
		running.Add(1)
		defer running.Done()
		t.Cleanup(func() { // none of its goroutines outlives the test
			s.Reset()
			running.Wait()
		})
		defer s.Close()
		w := newWire(s, Config{}.orDefault())
		m, err := w.readMessage(context.Background(), time.Second)
		if err != nil {
			s.Reset()
			return
		}
		ask := m.(*askFrame)
		w.read(context.Background(), MaxTask, time.Second)
		bid, _ := job.Bid{Order: job.CIDOf(ask.order), Slots: 1}.Encode()
		w.send(&bidFrame{bid})
		m, err = w.readMessage(context.Background(), time.Second)
		if award, ok := m.(*awardFrame); ok && err == nil {
			w.send(&acceptFrame{})
			say(s, award.order)
		}
		w.readMessage(t.Context(), time.Second)
	})
}

// TestHostileProvider answers an award with invalid messages. Each is a *ProtocolError that names the fault, and
// costs no more than its frame.
func TestHostileProvider(t *testing.T) {
	w := newWork(t, bytes.Repeat([]byte("output"), 1000))
	unknown := newNode(t)
	var lease Lease
	type made struct{ receipt, outcome []byte }
	make := func(t *testing.T, n node, envelope []byte, change func(*job.Receipt, *job.Outcome)) made {
		o := w.outcome
		r := job.Receipt{Order: job.CIDOf(envelope), Task: o.Task, Lease: lease[:], Meta: job.Meta{Arch: "a", Engine: "e", Version: "v"}}
		change(&r, &o)
		ob, err := o.Encode()
		if err != nil {
			t.Error(err)
		}
		if !r.Outcome.Defined() {
			r.Outcome = job.CIDOf(ob)
		}
		rb, err := r.Sign(n.key)
		if err != nil {
			t.Error(err)
		}
		return made{rb, ob}
	}
	for _, c := range []struct {
		name, want string
		say        func(t *testing.T, p node, s network.Stream, envelope []byte)
	}{
		{"garbage", "decode", func(t *testing.T, _ node, s network.Stream, _ []byte) { s.Write(chunkOf([]byte("garbage"))) }},
		{"a huge frame", "at most", func(t *testing.T, _ node, s network.Stream, _ []byte) {
			s.Write(protowire.AppendVarint(nil, 1<<30))
		}},
		{"a bid again", "while a job is running", func(t *testing.T, _ node, s network.Stream, _ []byte) { s.Write(frameOf(t, &bidFrame{})) }},
		{"a gap in the output", "want byte 0", func(t *testing.T, _ node, s network.Stream, _ []byte) {
			s.Write(frameOf(t, &logFrame{1, 5, []byte("x")}))
		}},
		{"endless output", "more than the order's limit", func(t *testing.T, _ node, s network.Stream, _ []byte) {
			for off := uint64(0); off < 70<<20; off += MaxLog {
				if _, err := s.Write(frameOf(t, &logFrame{1, off, bytes.Repeat([]byte("x"), MaxLog)})); err != nil {
					return
				}
			}
		}},
		{"endless heartbeats", "too many heartbeats", func(t *testing.T, _ node, s network.Stream, _ []byte) {
			go io.Copy(io.Discard, s)
			for range 200_000 {
				if _, err := s.Write(frameOf(t, &heartbeatFrame{})); err != nil {
					return
				}
			}
		}},
		{"a receipt of another peer", "got issuer", func(t *testing.T, p node, s network.Stream, e []byte) {
			m := make(t, unknown, e, func(*job.Receipt, *job.Outcome) {})
			s.Write(frameOf(t, &doneFrame{m.receipt, m.outcome}))
		}},
		{"another task", "another task", func(t *testing.T, p node, s network.Stream, e []byte) {
			m := make(t, p, e, func(r *job.Receipt, o *job.Outcome) { o.Task = w.task.Mod; r.Task = w.task.Mod })
			s.Write(frameOf(t, &doneFrame{m.receipt, m.outcome}))
		}},
		{"another job", "another award", func(t *testing.T, p node, s network.Stream, e []byte) {
			m := make(t, p, e, func(r *job.Receipt, _ *job.Outcome) { r.Order = w.task.Mod })
			s.Write(frameOf(t, &doneFrame{m.receipt, m.outcome}))
		}},
		{"another lease", "another award", func(t *testing.T, p node, s network.Stream, e []byte) {
			m := make(t, p, e, func(r *job.Receipt, _ *job.Outcome) { r.Lease = []byte("replayed") })
			s.Write(frameOf(t, &doneFrame{m.receipt, m.outcome}))
		}},
		{"another outcome", "another outcome", func(t *testing.T, p node, s network.Stream, e []byte) {
			m := make(t, p, e, func(r *job.Receipt, _ *job.Outcome) { r.Outcome = w.task.Mod })
			s.Write(frameOf(t, &doneFrame{m.receipt, m.outcome}))
		}},
		{"more than the limits", "want at most", func(t *testing.T, p node, s network.Stream, e []byte) {
			m := make(t, p, e, func(_ *job.Receipt, o *job.Outcome) { o.Size = 1 << 40 })
			s.Write(frameOf(t, &doneFrame{m.receipt, m.outcome}))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			requester, provider := newNode(t), newNode(t)
			rogue(t, provider, func(s network.Stream, envelope []byte) { c.say(t, provider, s, envelope) })
			client := NewClient(requester, Config{})
			requester.Peerstore().AddAddrs(provider.ID(), provider.Addrs(), time.Hour)
			conv, _, err := client.Ask(t.Context(), provider.ID(), w.ask(t, requester))
			if err != nil {
				t.Fatal(err)
			}
			a := w.award(t, requester, provider.did)
			a.Lease = lease
			if _, err := conv.Award(t.Context(), a); err != nil {
				t.Fatal(err)
			}
			for {
				_, err = conv.Next(t.Context())
				if err != nil {
					break
				}
				if conv.done != nil {
					t.Fatal("it was accepted")
				}
			}
			var lie *ProtocolError
			if !errors.As(err, &lie) || lie.Peer != provider.ID() || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
			conv.Close(Lost)
		})
	}
}

// TestHostileBlocks ends a run correctly and then sends other blocks than those of the result.
func TestHostileBlocks(t *testing.T) {
	w := newWork(t, bytes.Repeat([]byte("output"), 1_000_000))
	foreign := dag.NewBlock(cid.Raw, []byte("not part of the result"))
	root, err := w.blocks.Get(t.Context(), w.outcome.Root)
	if err != nil {
		t.Fatal(err)
	}
	outcome := dag.NewBlock(cid.DagCBOR, w.outcomeB)
	car := func(t *testing.T, bs ...dag.Block) []byte {
		var b bytes.Buffer
		set := &dag.MemBlocks{}
		if err := dag.WriteCAR(t.Context(), &b, set, nil, dag.CAROptions{}); err != nil {
			t.Fatal(err)
		}
		for _, bl := range bs {
			name := bl.CID().Bytes()
			b.Write(protowire.AppendVarint(nil, uint64(len(name)+len(bl.Data()))))
			b.Write(name)
			b.Write(bl.Data())
		}
		return b.Bytes()
	}
	wrong := dag.TrustBlock(root.CID(), []byte("other bytes"))
	for _, c := range []struct {
		name, want string
		car        func(ctx context.Context, out io.Writer) error
	}{
		{"garbage", "bad CAR", func(_ context.Context, out io.Writer) error {
			_, err := out.Write(bytes.Repeat([]byte("garbage"), 10_000))
			return err
		}},
		{"wrong bytes", "is damaged", func(_ context.Context, out io.Writer) error {
			_, err := out.Write(car(t, outcome, wrong))
			return err
		}},
		{"a foreign block", "does not belong", func(_ context.Context, out io.Writer) error {
			_, err := out.Write(car(t, outcome, foreign))
			return err
		}},
		{"a foreign block and then silence", "does not belong", func(ctx context.Context, out io.Writer) error {
			// Blocks are checked some MiB at a time.
			large := dag.NewBlock(cid.Raw, make([]byte, 1<<20))
			b := car(t, outcome, foreign, large, large, large)
			if _, err := out.Write(b[:len(b)-10]); err != nil {
				return err
			}
			<-ctx.Done()
			return ctx.Err()
		}},
		{"a block twice", "came twice", func(_ context.Context, out io.Writer) error {
			_, err := out.Write(car(t, outcome, root, root))
			return err
		}},
		{"more than declared", "more bytes than", func(_ context.Context, out io.Writer) error {
			// A version 2 header whose payload begins at a large offset.
			out.Write([]byte("\x0a\xa1\x67version\x02"))
			out.Write(binary.LittleEndian.AppendUint64(make([]byte, 16), 1<<40))
			out.Write([]byte{1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
			for range 60 {
				if _, err := out.Write(make([]byte, 1<<20)); err != nil {
					return err
				}
			}
			return nil
		}},
		{"half of it", "", func(_ context.Context, out io.Writer) error {
			b := car(t, outcome, root)
			out.Write(b[:len(b)-10])
			return errors.New("disk failure")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPair(t, Config{Frame: time.Hour}) // the client must not wait for a hostile provider
			p.seller.started = func(run *Run, _ Request, a Awarded) {
				receipt, _ := w.result(p.provider.key, a)
				run.Done(receipt, w.outcomeB, c.car)
			}
			conv, _ := begin(t, p, w)
			converse(t, conv)
			var last error
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			for b, err := range conv.Blocks(ctx) {
				last = err
				if err == nil && b.CID() == foreign.CID() {
					t.Error("a foreign block was returned")
				}
			}
			if last == nil || !strings.Contains(last.Error(), c.want) || ctx.Err() != nil {
				t.Errorf("%v, want %q; %v", last, c.want, ctx.Err())
			}
			conv.Close(Lost)
			select {
			case <-p.seller.closed:
			case <-p.seller.away: // the stream was broken already
			case <-time.After(20 * time.Second):
				t.Error("the provider still waits")
			}
		})
	}
}

func TestFrames(t *testing.T) {
	for _, m := range []message{
		&askFrame{order: []byte{1}, engine: "wasm", bytes: 1, fuel: 2, output: 3, window: 4},
		&bidFrame{[]byte{1, 2}},
		&awardFrame{order: []byte{1}, lease: Lease{1, 2, 3}, dur: 5, queue: 6, sources: []string{"/p2p/x", "y"}},
		&acceptFrame{7}, &declineFrame{"why", 8},
		&attachFrame{[]byte{1}, Lease{4}, 9, 10},
		&heartbeatFrame{"run", 1, 2, 3, 4}, &renewFrame{}, &logFrame{2, 3, []byte("data")},
		&doneFrame{[]byte{1}, []byte{2}}, &failedFrame{"code", "why", true}, &closeFrame{"lost"},
	} {
		b, err := encode(m)
		if err != nil {
			t.Errorf("%s: %v", m.name(), err)
			continue
		}
		back, err := decode(b)
		if err != nil {
			t.Errorf("%s: %v", m.name(), err)
			continue
		}
		again, err := encode(back)
		if err != nil || !bytes.Equal(b, again) {
			t.Errorf("%s: %x and then %x, %v", m.name(), b, again, err)
		}
		for i := range b {
			if _, err := decode(b[:i]); err == nil {
				t.Errorf("%s: its first %d bytes are accepted", m.name(), i)
			}
		}
	}
	for _, bad := range []message{
		&heartbeatFrame{phase: "a\x1b[2Jb"}, &heartbeatFrame{fuel: 1 << 63}, &logFrame{3, 0, []byte("x")}, &logFrame{1, 0, nil},
		&closeFrame{"gone"}, &failedFrame{why: strings.Repeat("x", 1000)}, &askFrame{order: make([]byte, MaxControl)},
	} {
		if b, err := encode(bad); err == nil {
			t.Errorf("%+v: encoded as %x", bad, b)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, m := range []message{&heartbeatFrame{phase: "run"}, &awardFrame{sources: []string{"/p2p/x"}}, &closeFrame{"ok"}} {
		b, err := encode(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decode(b)
		if err != nil {
			return
		}
		again, err := encode(m)
		if err != nil || !bytes.Equal(b, again) {
			t.Errorf("%x: encoded again as %x, %v", b, again, err)
		}
	})
}
