package request

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"testing"
	"time"

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

// runner is a market.Provider that takes every job, and none of whose runs comes to an
// end by itself.
type runner struct{ heard chan market.Why }

func (r runner) Admit(peer.ID) error { return nil }

func (r runner) Ask(context.Context, peer.ID, market.Request) job.Bid { return job.Bid{Slots: 1} }

func (r runner) Award(context.Context, peer.ID, market.Request, market.Awarded) (*market.Run, time.Duration, error) {
	return market.NewRun(market.RunConfig{
		Closed: func(w market.Why) { r.heard <- w },
		Away:   func() { r.heard <- market.Gone },
	}), 0, nil
}

func (r runner) Attach(context.Context, peer.ID, market.Attach) (*market.Run, error) {
	return nil, &market.FailedError{Code: CodeUnknown, Why: "no such lease"}
}

// world is a World of one peer, that is told of each change of what would be left.
type world struct {
	World
	self, other party
	job         job.Job
	left        func(Left)
}

func (w world) Sign(_ int, to job.DID) ([]byte, error) {
	j := w.job
	j.Audience = to
	return j.Sign(w.self.key)
}

func (w world) Peers(context.Context) []scheduler.Candidate {
	return []scheduler.Candidate{{Peer: w.other.did, Slots: -1}}
}

func (w world) Left(l Left)     { w.left(l) }
func (w world) Event(api.Event) {}

// A requester that is going to come back does not end what runs elsewhere, however the end
// of its ctx and what its conversations make of it come together.
func TestReturningEndsNothing(t *testing.T) {
	self, other := newParty(t), newParty(t)
	r := runner{make(chan market.Why, 10)}
	server, err := market.Serve(other, r, market.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	self.Peerstore().AddAddrs(other.ID(), other.Addrs(), peerstore.PermanentAddrTTL)
	task := job.Task{
		ABI: job.ABIWASI, Mod: dag.NewBlock(0x55, []byte("module")).CID(), Fn: "f", Det: job.Det1, Out: job.OutProfile,
	}
	b, err := task.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		ctx, cancel := context.WithCancelCause(t.Context())
		now := time.Now()
		w := world{self: self, other: other, job: job.Job{
			Task: job.CIDOf(b), Limits: job.DefaultLimits, Replicas: 1, Issuer: self.did, Issued: now.UnixMilli(), Expires: now.Add(time.Hour).UnixMilli(),
		}}
		rand.Read(w.job.Nonce[:])
		w.left = func(l Left) {
			if len(l.Leases) == 1 { // it runs: the loop writes this down while ctx ends
				cancel(ErrReturning)
				time.Sleep(10 * time.Millisecond)
			}
		}
		slow := func() time.Time { // what is decided from then on takes a while
			if ctx.Err() != nil {
				time.Sleep(2 * time.Millisecond)
			}
			return time.Now()
		}
		run := Run{
			Request: scheduler.Request{Job: w.job, CID: w.job.Task, Self: self.did, Where: scheduler.OnNetwork, Work: scheduler.Work{ABI: task.ABI}},
			Task:    b, Limits: w.job.Limits, Market: market.NewClient(self, market.Config{}), World: w, Clock: slow,
			Printed: NewPrinted(Output{}),
		}
		_, err := run.Do(ctx, scheduler.Start{})
		if !errors.Is(err, ErrReturning) {
			t.Fatal(err)
		}
		self.Network().ClosePeer(other.ID())
		if why := <-r.heard; why != market.Gone {
			t.Fatalf("the run was ended: %s", why)
		}
	}
}
