package market

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"go.uber.org/goleak"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// A library of libp2p's discovery starts this goroutine in an init and never ends it.
		goleak.IgnoreTopFunction("github.com/ipfs/go-log/v2/writer.(*MirrorWriter).logRoutine"),
		goleak.IgnoreAnyFunction("github.com/jackpal/go-nat-pmp.(*Client).GetExternalAddress"),
	)
}

// node is a libp2p host and its key.
type node struct {
	host.Host
	key ed25519.PrivateKey
	did job.DID
}

func newNode(t testing.TB) node {
	t.Helper()
	return nodeWith(t, libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"))
}

// nodeWith returns a node whose host has these additional options.
func nodeWith(t testing.TB, opts ...libp2p.Option) node {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	priv, err := crypto.UnmarshalEd25519PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	h, err := libp2p.New(append(opts, libp2p.Identity(priv), libp2p.DisableRelay(), libp2p.DisableMetrics())...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return node{h, key, job.DIDOf(key.Public().(ed25519.PublicKey))}
}

// pair is a connected requester and provider.
type pair struct {
	requester, provider node
	seller              *seller
	server              *Server
	client              *Client
}

func newPair(t testing.TB, cfg Config) pair {
	t.Helper()
	return connected(t, newNode(t), newNode(t), cfg)
}

// connected returns a pair of two nodes.
func connected(t testing.TB, requester, provider node, cfg Config) pair {
	t.Helper()
	p := pair{requester: requester, provider: provider}
	p.seller = &seller{key: p.provider.key, runs: map[Lease]*Run{}, closed: make(chan Why, 16), away: make(chan struct{}, 16), renewed: make(chan struct{}, 1)}
	var err error
	if p.server, err = Serve(p.provider, p.seller, cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.server.Close() })
	p.client = NewClient(p.requester, cfg)
	p.requester.Peerstore().AddAddrs(p.provider.ID(), p.provider.Addrs(), peerstore.PermanentAddrTTL)
	if err := p.requester.Connect(t.Context(), peer.AddrInfo{ID: p.provider.ID()}); err != nil {
		t.Fatal(err)
	}
	return p
}

// seller is a Provider that bids for every job, and whose runs a test controls.
type seller struct {
	key     ed25519.PrivateKey
	refuse  job.Bid
	decline error
	logs    func(ctx context.Context, stdout, stderr io.Writer) error
	started func(*Run, Request, Awarded)

	mu       sync.Mutex
	admitted error
	asked    []Request
	awarded  []Awarded
	runs     map[Lease]*Run

	closed  chan Why
	away    chan struct{}
	renewed chan struct{}
}

func (s *seller) Admit(peer.ID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.admitted
}

func (s *seller) Ask(_ context.Context, _ peer.ID, r Request) job.Bid {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, r)
	b := s.refuse
	if b.Code == "" {
		b.Have, b.Slots, b.Exact = 42, 1, true
	}
	return b
}

func (s *seller) Award(_ context.Context, _ peer.ID, r Request, a Awarded) (*Run, time.Duration, error) {
	if s.decline != nil {
		return nil, 0, s.decline
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.awarded = append(s.awarded, a)
	run := NewRun(RunConfig{
		Logs:    s.logs,
		Renewed: func() { signal(s.renewed) },
		Closed:  func(w Why) { s.closed <- w },
		Away:    func() { s.away <- struct{}{} },
	})
	s.runs[a.Lease] = run
	if s.started != nil {
		go s.started(run, r, a)
	}
	return run, 250 * time.Millisecond, nil
}

func (s *seller) Attach(_ context.Context, _ peer.ID, a Attach) (*Run, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	run, ok := s.runs[a.Lease]
	if !ok {
		return nil, &FailedError{Code: "unknown", Why: "no such lease"}
	}
	return run, nil
}

// work is a job with its result, as a set of blocks.
type work struct {
	task     job.Task
	taskB    []byte
	blocks   *dag.MemBlocks
	outcome  job.Outcome
	outcomeB []byte
}

func newWork(t testing.TB, output []byte) work {
	t.Helper()
	w := work{blocks: &dag.MemBlocks{}}
	put := func(codec uint64, b []byte) cid.Cid {
		bl := dag.NewBlock(codec, b)
		if err := w.blocks.Put(t.Context(), bl); err != nil {
			t.Fatal(err)
		}
		return bl.CID()
	}
	w.task = job.Task{
		ABI: job.ABIWASI, Mod: put(cid.Raw, []byte("\x00asm")), Fn: "_start", Det: job.Det2, Out: job.OutProfile,
		In: []job.Input{{Name: "in", CID: put(cid.Raw, []byte("an input"))}},
	}
	var err error
	if w.taskB, err = w.task.Encode(); err != nil {
		t.Fatal(err)
	}
	put(cid.DagCBOR, w.taskB)
	e, err := dag.AddFile(t.Context(), w.blocks, bytes.NewReader(output), dag.UnixFSv1)
	if err != nil {
		t.Fatal(err)
	}
	w.outcome = job.Outcome{Task: job.CIDOf(w.taskB), State: job.OK, Root: e.CID, Size: uint64(len(output)), Fuel: 7, Pages: 1}
	if w.outcomeB, err = w.outcome.Encode(); err != nil {
		t.Fatal(err)
	}
	put(cid.DagCBOR, w.outcomeB)
	return w
}

// envelope returns an order for w, signed by n, with the audience aud.
func (w work) envelope(t testing.TB, n node, aud job.DID) []byte {
	t.Helper()
	j := job.Order{Task: job.CIDOf(w.taskB), Audience: aud, Runs: 1, Issued: 1, Expires: 1000}
	rand.Read(j.Nonce[:])
	b, err := j.Sign(n.key)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (w work) ask(t testing.TB, n node) Ask {
	return Ask{Order: w.envelope(t, n, ""), Task: w.taskB, Engine: "wasm", Bytes: 12, Window: time.Second}
}

func (w work) award(t testing.TB, n node, aud job.DID) Award {
	var l Lease
	rand.Read(l[:])
	return Award{Order: w.envelope(t, n, aud), Lease: l, For: 15 * time.Second}
}

// finish ends run with w's result, as an honest provider does.
func (w work) finish(run *Run, key ed25519.PrivateKey, a Awarded) {
	r, car := w.result(key, a)
	run.Done(r, w.outcomeB, car)
}

func (w work) result(key ed25519.PrivateKey, a Awarded) (receipt []byte, car func(context.Context, io.Writer) error) {
	receipt, err := job.Receipt{
		Order: a.Envelope, Task: w.outcome.Task, Outcome: job.CIDOf(w.outcomeB), Lease: a.Lease[:],
		Meta: job.Meta{Arch: "amd64", Engine: "e", Version: "v"},
	}.Sign(key)
	if err != nil {
		panic(err)
	}
	rb := dag.NewBlock(cid.DagCBOR, receipt)
	return receipt, func(ctx context.Context, out io.Writer) error {
		bs := &dag.MemBlocks{}
		bs.Put(ctx, rb)
		skip := func(c cid.Cid) bool { return c == w.task.Mod || c == w.task.In[0].CID || c == a.Envelope }
		return dag.WriteCAR(ctx, out, union{bs, w.blocks}, []cid.Cid{job.CIDOf(w.outcomeB), rb.CID()}, dag.CAROptions{Skip: skip})
	}
}

// union is the union of two sets of blocks.
type union struct {
	*dag.MemBlocks
	more *dag.MemBlocks
}

func (u union) Get(ctx context.Context, c cid.Cid) (dag.Block, error) {
	b, err := u.MemBlocks.Get(ctx, c)
	if missing := (*dag.NotFoundError)(nil); errors.As(err, &missing) {
		return u.more.Get(ctx, c)
	}
	return b, err
}

// within fails a test that takes too long.
func soon[T any](t testing.TB, c <-chan T, what string) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(20 * time.Second):
		t.Fatalf("no %s", what)
	}
	return v
}
