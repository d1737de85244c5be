package node_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	lpeer "github.com/libp2p/go-libp2p/core/peer"

	"github.com/ipfs-liftoff/liftoff/host"
	"github.com/ipfs-liftoff/liftoff/host/cluster"
	"github.com/ipfs-liftoff/liftoff/host/market"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node"
	"github.com/ipfs-liftoff/liftoff/node/api"
	"github.com/ipfs-liftoff/liftoff/runtime"
)

// rogue is a member that makes the best bid for every job and then does what a test defines. It speaks the real
// protocols.
type rogue struct {
	peer   *host.Peer
	key    ed25519.PrivateKey
	did    string
	awards atomic.Int32
	deaf   atomic.Int32                              // number of awards that it does not answer
	bend   atomic.Pointer[func(frame []byte) []byte] // modifies frames that it sends in the market; nil: no change
	again  atomic.Pointer[market.Run]                // the run that an attaching requester gets; nil: none
	busy   atomic.Int32                              // number of asks that it refuses as busy
	bid    job.Bid
	prints func(ctx context.Context, stdout, stderr io.Writer) error // nil: prints nothing
	run    func(r *rogue, q market.Request, a market.Awarded, run *market.Run)
}

// newRogue joins the cluster of f, and connects to all of f.
func newRogue(t *testing.T, f []*member, bid job.Bid, run func(*rogue, market.Request, market.Awarded, *market.Run)) *rogue {
	t.Helper()
	dir := t.TempDir()
	id, err := host.LoadIdentity(dir)
	if err != nil {
		t.Fatal(err)
	}
	fe, err := cluster.Open(filepath.Join(dir, "cluster"), id.Key)
	if err != nil {
		t.Fatal(err)
	}
	p, err := host.Open(host.Config{Dir: dir, Identity: id, Cluster: fe, Listen: []string{"/ip4/127.0.0.1/tcp/0"}})
	if err != nil {
		t.Fatal(err)
	}
	r := &rogue{peer: p, key: id.Key, did: string(id.DID), bid: bid, run: run}
	server, err := market.Serve(bending{p.Libp2p(), r}, r, quick)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		server.Close()
		p.Close()
	})
	err = p.SetCapacity(job.Capacity{ABIs: []string{job.ABIWASI}, Slots: 100, Memory: 1 << 40, Ceiling: job.DefaultLimits, Rate: 1e12})
	if err != nil {
		t.Fatal(err)
	}
	p.SetState(100, 1<<40, 0)
	token, err := f[0].Cluster.Invite(t.Context(), api.Invitation{})
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := cluster.ParseToken(token)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Join(t.Context(), parsed); err != nil {
		t.Fatal(err)
	}
	for _, m := range f {
		if _, err := m.Peers.Connect(t.Context(), p.Addrs()[0]); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the rogue is known", func() bool {
		for _, m := range f {
			peers, err := m.Peers.Peers(t.Context())
			known := false
			for _, o := range peers {
				known = known || o.DID == r.did && o.Capacity != nil
			}
			if err != nil || !known {
				return false
			}
		}
		return true
	})
	return r
}

func (r *rogue) Admit(lpeer.ID) error { return nil }

func (r *rogue) Ask(context.Context, lpeer.ID, market.Request) job.Bid {
	if r.busy.Add(-1) >= 0 {
		return job.Bid{Code: job.RefuseBusy, Refusal: "all of its slots are taken"}
	}
	return r.bid
}

func (r *rogue) Award(ctx context.Context, _ lpeer.ID, q market.Request, a market.Awarded) (*market.Run, time.Duration, error) {
	if r.awards.Add(1) <= r.deaf.Load() {
		<-ctx.Done()
		return nil, 0, ctx.Err()
	}
	run := market.NewRun(market.RunConfig{Logs: r.prints})
	go r.run(r, q, a, run)
	return run, 0, nil
}

func (r *rogue) Attach(context.Context, lpeer.ID, market.Attach) (*market.Run, error) {
	if run := r.again.Load(); run != nil {
		return run, nil
	}
	return nil, &market.FailedError{Code: "unknown", Why: "no such lease"}
}

// deliver signs an Outcome and sends blocks as its result.
func (r *rogue) deliver(q market.Request, a market.Awarded, run *market.Run, o job.Outcome, blocks ...dag.Block) {
	b, err := o.Encode()
	if err != nil {
		panic(err)
	}
	receipt, err := job.Receipt{
		Order: a.Envelope, Lease: a.Lease[:], Task: q.Signed.Task, Outcome: job.CIDOf(b), Issued: time.Now().UnixMilli(),
	}.Sign(r.key)
	if err != nil {
		panic(err)
	}
	bs := new(dag.MemBlocks)
	roots := []cid.Cid{}
	for _, c := range append(blocks, dag.NewBlock(cid.DagCBOR, b), dag.NewBlock(cid.DagCBOR, receipt)) {
		bs.Put(context.Background(), c)
		roots = append(roots, c.CID())
	}
	run.Done(receipt, b, func(ctx context.Context, w io.Writer) error {
		return dag.WriteCAR(ctx, w, bs, roots, dag.CAROptions{Skip: func(c cid.Cid) bool {
			has, _ := bs.Has(ctx, c)
			return !has
		}})
	})
}

// cutOff delivers a result whose CAR breaks off.
func cutOff(r *rogue, q market.Request, a market.Awarded, run *market.Run) {
	out := dag.NewBlock(cid.Raw, []byte("out"))
	b, _ := job.Outcome{Task: q.Signed.Task, State: job.OK, Root: out.CID(), Size: 3}.Encode()
	receipt, _ := job.Receipt{Order: a.Envelope, Lease: a.Lease[:], Task: q.Signed.Task, Outcome: job.CIDOf(b), Issued: 1}.Sign(r.key)
	run.Done(receipt, b, func(ctx context.Context, w io.Writer) error { return fmt.Errorf("broken") })
}

// best is a bid that no other peer can improve on.
var best = job.Bid{Have: 1 << 40, Exact: true, Slots: 100}

// Whatever a peer does with an award, another peer runs the job, the user gets the honest result, and one event
// reports the loss.
func TestRogues(t *testing.T) {
	honest := func(t *testing.T) []*member {
		return fleet(t, 2, func(i int, c *node.Config) {
			c.Executors = runtime.Executors{script{"hello": guests["hello"]}}
		})
	}
	for name, run := range map[string]func(*rogue, market.Request, market.Awarded, *market.Run){
		"fails": func(_ *rogue, _ market.Request, _ market.Awarded, run *market.Run) {
			run.Fail(market.FailedError{Code: "fault", Why: "its disk is full"})
		},
		"refuses the module": func(_ *rogue, _ market.Request, _ market.Awarded, run *market.Run) {
			run.Fail(market.FailedError{Code: "refused", Why: "not a module", Final: true})
		},
		"reports a timeout": func(_ *rogue, _ market.Request, _ market.Awarded, run *market.Run) {
			run.Fail(market.FailedError{Code: "timeout", Why: "too slow", Final: true})
		},
		"sends another task's outcome": func(r *rogue, q market.Request, a market.Awarded, run *market.Run) {
			other := dag.NewBlock(cid.Raw, []byte("other"))
			r.deliver(q, a, run, job.Outcome{Task: other.CID(), State: job.OK, Root: other.CID(), Size: 5}, other)
		},
		"sends no output": func(r *rogue, q market.Request, a market.Awarded, run *market.Run) {
			lost := dag.NewBlock(cid.Raw, []byte("lost"))
			r.deliver(q, a, run, job.Outcome{Task: q.Signed.Task, State: job.OK, Root: lost.CID(), Size: 4})
		},
		"sends no output, on every attempt": func(r *rogue, q market.Request, a market.Awarded, run *market.Run) {
			lost := dag.NewBlock(cid.Raw, []byte("lost"))
			r.again.Store(run)
			r.deliver(q, a, run, job.Outcome{Task: q.Signed.Task, State: job.OK, Root: lost.CID(), Size: 4})
		},
		"sends unrequested blocks": func(r *rogue, q market.Request, a market.Awarded, run *market.Run) {
			out, more := dag.NewBlock(cid.Raw, []byte("out")), dag.NewBlock(cid.Raw, make([]byte, 1<<20))
			r.deliver(q, a, run, job.Outcome{Task: q.Signed.Task, State: job.OK, Root: out.CID(), Size: 3}, out, more)
		},
		"printed more than its outcome counts": func(r *rogue, q market.Request, a market.Awarded, run *market.Run) {
			out, printed := dag.NewBlock(cid.Raw, []byte("out")), dag.NewBlock(cid.Raw, make([]byte, 1000))
			r.deliver(q, a, run, job.Outcome{Task: q.Signed.Task, State: job.OK, Root: out.CID(), Size: 3, Stdout: printed.CID(), Log: 999}, out, printed)
		},
		"printed output is not a file": func(r *rogue, q market.Request, a market.Awarded, run *market.Run) {
			out, printed := dag.NewBlock(cid.Raw, []byte("out")), dag.NewBlock(cid.DagCBOR, []byte{0xa0})
			r.deliver(q, a, run, job.Outcome{Task: q.Signed.Task, State: job.OK, Root: out.CID(), Size: 3, Stdout: printed.CID(), Log: 1}, out, printed)
		},
		"never ends the CAR": cutOff,
		"never ends the CAR, on every attempt": func(r *rogue, q market.Request, a market.Awarded, run *market.Run) {
			r.again.Store(run)
			cutOff(r, q, a, run)
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := honest(t)
			r := newRogue(t, f, best, run)
			mod := put(t, f[0].Session, "module")
			j, events, out, err := f[0].run(t, api.Request{Task: task(mod, "hello"), Where: api.WhereNetwork})
			if err != nil || j.Where != f[1].did || out != "hello\n" || r.awards.Load() == 0 {
				t.Errorf("%+v, %v, printed %q, %d awards\n%s", j, err, out, r.awards.Load(), texts(events))
			}
			if n := count(events, api.EventAwarded); n != 2 {
				t.Errorf("%d awarded events, want 2:\n%s", n, texts(events))
			}
			if b, err := f[0].Data.Get(t.Context(), j.Outcome.Root); err != nil || string(b) != "hello" {
				t.Errorf("output: %q, %v", b, err)
			}
		})
	}
}

// The only peer does not answer an award, like an overloaded one: the job waits and is offered again.
func TestUnansweredAwardIsRetried(t *testing.T) {
	f := fleet(t, 1, nil)
	r := newRogue(t, f, best, func(r *rogue, q market.Request, a market.Awarded, run *market.Run) {
		out := dag.NewBlock(cid.Raw, []byte("hello"))
		r.deliver(q, a, run, job.Outcome{Task: q.Signed.Task, State: job.OK, Root: out.CID(), Size: 5}, out)
	})
	r.deaf.Store(1)
	mod := put(t, f[0].Session, "module")
	j, events, _, err := f[0].run(t, api.Request{Task: task(mod, "hello"), Where: api.WhereNetwork})
	if err != nil || j.Where != r.did || r.awards.Load() != 2 {
		t.Errorf("%+v, %v, %d awards\n%s", j, err, r.awards.Load(), texts(events))
	}
}

// A peer that claims to hold data that it lacks, and is slow for that reason, wins less often: its calibration
// lowers the value of its bids.
func TestFalseClaimsAreCalibrated(t *testing.T) {
	f := fleet(t, 2, nil)
	r := newRogue(t, f, best, func(r *rogue, q market.Request, a market.Awarded, run *market.Run) {
		time.Sleep(700 * time.Millisecond)
		out := dag.NewBlock(cid.Raw, []byte("hello"))
		r.deliver(q, a, run, job.Outcome{Task: q.Signed.Task, State: job.OK, Root: out.CID(), Size: 5}, out)
	})
	mod := put(t, f[0].Session, "module")
	put(t, f[1].Session, "module")
	won := 0
	for i := range 8 {
		tk := task(mod, "hello")
		tk.Args = []string{fmt.Sprint(i)}
		j, events, _, err := f[0].run(t, api.Request{Task: tk, Where: api.WhereNetwork})
		if err != nil {
			t.Fatalf("%v\n%s", err, texts(events))
		}
		if j.Where == r.did {
			won++
		} else if won > 0 {
			return // its bid was the best, but was corrected
		}
	}
	t.Errorf("the peer with false claims got %d of 8 jobs", won)
}

// asks asks target for a bid for a job of the rogue.
func (r *rogue) asks(ctx context.Context, target string, tk job.Task) (*market.Conversation, job.Order, job.Bid, error) {
	id, err := lpeer.Decode(target)
	if err != nil {
		return nil, job.Order{}, job.Bid{}, err
	}
	b, err := tk.Encode()
	if err != nil {
		return nil, job.Order{}, job.Bid{}, err
	}
	now := time.Now().UnixMilli()
	j := job.Order{Task: job.CIDOf(b), Runs: 1, Issued: now, Expires: now + 1e5}
	envelope, err := j.Sign(r.key)
	if err != nil {
		return nil, job.Order{}, job.Bid{}, err
	}
	conv, bid, err := market.NewClient(r.peer.Libp2p(), quick).Ask(ctx, id, market.Ask{Order: envelope, Task: b, Engine: job.ABIWASI, Window: time.Second})
	return conv, j, bid, err
}

// An award with a zero lease duration is declined: it would never expire.
func TestZeroLease(t *testing.T) {
	g := newGate()
	f := fleet(t, 1, func(i int, c *node.Config) { c.Executors = runtime.Executors{script{"gate": g.run}} })
	r := newRogue(t, f, job.Bid{Code: job.RefuseBusy, Refusal: "it only asks"}, nil)
	target, err := f[0].Peers.Self(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	conv, j, bid, err := r.asks(t.Context(), target.PeerID, task(put(t, f[0].Session, "module"), "gate"))
	if err != nil || conv == nil {
		t.Fatalf("%+v, %v", bid, err)
	}
	j.Audience = job.DID(f[0].did)
	envelope, err := j.Sign(r.key)
	if err != nil {
		t.Fatal(err)
	}
	_, err = conv.Award(t.Context(), market.Award{Order: envelope, Lease: market.Lease{1}})
	var declined *market.DeclinedError
	if !errors.As(err, &declined) {
		t.Errorf("%v", err)
	}
	conv.Close(market.Cancelled)
}

// A flood of asks is refused before any work is done for it, and other requesters are served.
func TestFloodOfAsks(t *testing.T) {
	f := fleet(t, 2, func(i int, c *node.Config) { c.Network.AskRate, c.Network.AskBurst = 10, 20 })
	r := newRogue(t, f, job.Bid{Code: job.RefuseBusy, Refusal: "it is a flooder"}, nil)
	target, err := f[1].Peers.Self(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	tk := task(dag.NewBlock(cid.Raw, []byte("module")).CID(), "hello")
	var refused, bids atomic.Int32
	var group sync.WaitGroup
	gate := make(chan struct{}, 16)
	began := time.Now()
	for range 300 {
		group.Go(func() {
			gate <- struct{}{}
			defer func() { <-gate }()
			conv, _, bid, err := r.asks(t.Context(), target.PeerID, tk)
			switch {
			case err != nil:
				t.Error(err)
			case bid.Refuses():
				refused.Add(1)
			default:
				bids.Add(1)
				conv.Close(market.Cancelled)
			}
		})
	}
	mod := put(t, f[0].Session, "module")
	j, events, _, err := f[0].run(t, api.Request{Task: task(mod, "hello"), Where: f[1].did})
	if err != nil || j.Where != f[1].did {
		t.Errorf("other requester: %+v, %v\n%s", j, err, texts(events))
	}
	group.Wait()
	took := time.Since(began)
	if most := 21 + int32(10*took.Seconds()); bids.Load() > most || bids.Load()+refused.Load() != 300 {
		t.Errorf("%d bids, at most %d, and %d refusals for 300 asks in %v", bids.Load(), most, refused.Load(), took)
	}
}
