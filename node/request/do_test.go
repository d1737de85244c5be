package request

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	p2phost "github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"

	"github.com/ipfs-liftoff/liftoff/host/market"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node/api"
	"github.com/ipfs-liftoff/liftoff/scheduler"
)

// party is a host and its key.
type party struct {
	p2phost.Host
	key ed25519.PrivateKey
	did job.DID
}

func newParty(t *testing.T) party {
	t.Helper()
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	priv, err := crypto.UnmarshalEd25519PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	h, err := libp2p.New(libp2p.Identity(priv), libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"), libp2p.DisableRelay(), libp2p.DisableMetrics())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return party{h, key, job.DIDOf(pub)}
}

// runner is a market.Provider that accepts every job. Its runs do not end by themselves.
type runner struct {
	heard    chan market.Why
	attached chan struct{}
	last     atomic.Pointer[market.Run]
}

func newRunner() *runner {
	return &runner{heard: make(chan market.Why, 100), attached: make(chan struct{}, 100)}
}

func (r *runner) Admit(peer.ID) error { return nil }

func (r *runner) Ask(context.Context, peer.ID, market.Request) job.Bid { return job.Bid{Slots: 1} }

func (r *runner) Award(context.Context, peer.ID, market.Request, market.Awarded) (*market.Run, time.Duration, error) {
	run := market.NewRun(market.RunConfig{
		Closed: func(w market.Why) { r.heard <- w },
		Away:   func() { r.heard <- market.Gone },
	})
	run.Heartbeat(market.Heartbeat{Phase: "run"}) // it has a slot
	r.last.Store(run)
	return run, 0, nil
}

func (r *runner) Attach(context.Context, peer.ID, market.Attach) (*market.Run, error) {
	r.attached <- struct{}{}
	return r.last.Load(), nil
}

// testNode is a Node that knows one peer, and reports each new Checkpoint.
type testNode struct {
	Node
	self, other party
	job         job.Order
	save        func(Checkpoint)
}

func (w testNode) Sign(_ int, to job.DID) ([]byte, error) {
	j := w.job
	j.Audience = to
	return j.Sign(w.self.key)
}

func (w testNode) Peers(context.Context) []scheduler.Candidate {
	return []scheduler.Candidate{{Peer: w.other.did, Slots: -1}}
}

func (w testNode) SaveCheckpoint(l Checkpoint) { w.save(l) }
func (w testNode) Event(api.Event)             {}

// pair is a requester, and a runner that the requester knows.
type pair struct {
	self, other party
	runner      *runner
	task        []byte
}

func newPair(t *testing.T, cfg market.Config) pair {
	t.Helper()
	p := pair{newParty(t), newParty(t), newRunner(), nil}
	server, err := market.Serve(p.other, p.runner, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	p.self.Peerstore().AddAddrs(p.other.ID(), p.other.Addrs(), peerstore.PermanentAddrTTL)
	p.task, err = job.Task{
		ABI: job.ABIWASI, Mod: dag.NewBlock(cid.Raw, []byte("module")).CID(), Fn: "f", Det: job.Det2, Out: job.OutProfile,
	}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// run returns a job for the runner.
func (p pair) run(cfg market.Config, clock func() time.Time, save func(Checkpoint)) Run {
	now := time.Now()
	w := testNode{self: p.self, other: p.other, save: save, job: job.Order{
		Task: job.CIDOf(p.task), Limits: job.DefaultLimits, Runs: 1,
		Issuer: p.self.did, Issued: now.UnixMilli(), Expires: now.Add(time.Hour).UnixMilli(),
	}}
	rand.Read(w.job.Nonce[:])
	return Run{
		Request: scheduler.Request{Job: w.job, CID: w.job.Task, Self: p.self.did, Where: scheduler.OnNetwork, Work: scheduler.Work{ABI: job.ABIWASI}},
		Config:  scheduler.Config{Silence: time.Minute},
		Task:    p.task, Limits: w.job.Limits, Market: market.NewClient(p.self, cfg), Node: w, Clock: clock, Printed: NewPrinted(Output{}, Policy{}),
	}
}

// A requester that will come back does not end its runs at peers, in whatever order the end of its
// ctx and the resulting events of its conversations arrive.
func TestReturningEndsNothing(t *testing.T) {
	p := newPair(t, market.Config{})
	for range 20 {
		ctx, cancel := context.WithCancelCause(t.Context())
		slow := func() time.Time { // decisions after the end of ctx take a while
			if ctx.Err() != nil {
				time.Sleep(2 * time.Millisecond)
			}
			return time.Now()
		}
		run := p.run(market.Config{}, slow, func(l Checkpoint) {
			if len(l.Leases) == 1 { // it runs: the loop saves this while ctx ends
				cancel(ErrReturning)
				time.Sleep(10 * time.Millisecond)
			}
		})
		if _, err := run.Do(ctx, scheduler.Start{}); !errors.Is(err, ErrReturning) {
			t.Fatal(err)
		}
		p.self.Network().ClosePeer(p.other.ID())
		if why := <-p.runner.heard; why != market.Gone {
			t.Fatalf("the run was ended: %s", why)
		}
	}
}

// A silent conversation is replaced by a new one. The old one is closed without a message: a late
// message would end the run.
func TestSilenceEndsNothing(t *testing.T) {
	p := newPair(t, market.Config{HeartbeatInterval: time.Hour})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	run := p.run(market.Config{Silence: 50 * time.Millisecond}, time.Now, func(Checkpoint) {})
	go func() {
		_, err := run.Do(ctx, scheduler.Start{})
		ended <- err
	}()
	for range 2 {
		<-p.runner.attached
	}
	for len(p.runner.heard) > 0 {
		if why := <-p.runner.heard; why != market.Gone {
			t.Errorf("the run was ended: %s", why)
		}
	}
	cancel()
	if err := <-ended; err == nil {
		t.Error("the job ended")
	}
}
