package node_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	lpeer "github.com/libp2p/go-libp2p/core/peer"

	"github.com/ipfs-liftoff/liftoff/host/exchange"
	"github.com/ipfs-liftoff/liftoff/host/market"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

// runsAt has the node run a Task, and returns whether the answer is a cached result. The award names sources.
func (b *barePeer) runsAt(t *testing.T, x *pair, tk job.Task, sources ...lpeer.AddrInfo) (replayed bool, err error) {
	t.Helper()
	ctx := limitedTo(t, time.Minute)
	conv, j, err := b.asksFor(ctx, x.self.ID, tk, job.Limits{Fuel: openFuel})
	if err != nil {
		return false, err
	}
	j.Audience = job.DID(x.did)
	envelope, err := j.Sign(b.key)
	if err != nil {
		t.Fatal(err)
	}
	defer conv.Close(market.OK)
	_, err = conv.Award(ctx, market.Award{Order: envelope, Lease: market.Lease{1}, For: time.Minute, Sources: sources})
	for err == nil {
		var e market.Event
		e, err = conv.Next(ctx)
		done, ok := e.(market.Done)
		if err != nil || !ok {
			continue
		}
		var all []dag.Block
		for bl, err := range conv.Blocks(ctx) {
			if err != nil {
				return false, err
			}
			all = append(all, bl)
		}
		if len(all) == 0 {
			t.Error("result without blocks")
		}
		return done.Receipt.Meta.Replayed, nil
	}
	return false, err
}

// TestJobsSeeWhatTheirRequesterMay has peers run jobs on the node's data: the jobs can read only the blocks that
// an exchange would give their requesters, and those that the requesters send themselves.
func TestJobsSeeWhatTheirRequesterMay(t *testing.T) {
	for _, relation := range []string{"open", "granted", "member"} {
		member := relation == "member"
		for name, c := range map[string]struct {
			task func(t *testing.T, x *pair) job.Task
			want bool
		}{
			"a private input": {func(t *testing.T, x *pair) job.Task {
				return task(x.b.has(t, "module"), "read", put(t, x.n.Session, "private"))
			}, member},
			"a private module": {func(t *testing.T, x *pair) job.Task {
				return task(put(t, x.n.Session, "private module"), "read", x.b.has(t, "input"))
			}, member},
			"a private input that the requester has": {func(t *testing.T, x *pair) job.Task {
				put(t, x.n.Session, "private")
				return task(x.b.has(t, "module"), "read", x.b.has(t, "private"))
			}, true},
			"below an input that the requester has": {func(t *testing.T, x *pair) job.Task {
				leaf := put(t, x.n.Session, "private")
				return task(x.b.has(t, "module"), "read", x.b.links(t, leaf))
			}, member},
			"a published input": {func(t *testing.T, x *pair) job.Task {
				in := put(t, x.n.Session, "published")
				if err := x.n.Publishing.Publish(t.Context(), in); err != nil {
					t.Fatal(err)
				}
				return task(x.b.has(t, "module"), "read", in)
			}, true},
			"what the owner has run": {func(t *testing.T, x *pair) job.Task {
				tk := task(put(t, x.n.Session, "module"), "read", put(t, x.n.Session, "private"))
				if _, err := x.n.Jobs.Run(t.Context(), api.Request{Task: tk}, api.Watch{}); err != nil {
					t.Fatal(err)
				}
				return tk
			}, member},
		} {
			t.Run(relation+"/"+name, func(t *testing.T) {
				x := newPair(t, relation)
				tk := c.task(t, x)
				replayed, err := x.b.runsAt(t, x, tk)
				if (err == nil) != c.want {
					t.Errorf("%v, want a result: %v", err, c.want)
				}
				if replayed != (member && name == "what the owner has run") {
					t.Errorf("answered from the result cache: %v", replayed)
				}
			})
		}
	}
}

// links stores a block that links to c.
func (b *barePeer) links(t *testing.T, c cid.Cid) cid.Cid {
	t.Helper()
	bl := dag.NewBlock(cid.DagCBOR, append([]byte{0xd8, 42, 0x58, byte(c.ByteLen() + 1), 0}, c.Bytes()...))
	if err := b.blocks.Put(t.Context(), bl); err != nil {
		t.Fatal(err)
	}
	return bl.CID()
}

// TestBidDoesNotReveal compares the bids for a block that the node has and for one that it lacks.
func TestBidDoesNotReveal(t *testing.T) {
	x := newPair(t, "open")
	bid := func(in cid.Cid) job.Bid {
		t.Helper()
		body, err := task(x.b.has(t, "module"), "read", in).Encode()
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now().UnixMilli()
		envelope, err := job.Order{Task: job.CIDOf(body), Runs: 1, Limits: job.Limits{Fuel: openFuel}, Issued: now, Expires: now + 1e5}.Sign(x.b.key)
		if err != nil {
			t.Fatal(err)
		}
		conv, bid, err := market.NewClient(x.b.h, quick).Ask(limitedTo(t, 20*time.Second), x.self.ID, market.Ask{
			Order: envelope, Task: body, Engine: job.ABIWASI, Window: time.Second, Bytes: 100,
		})
		if err != nil || conv == nil {
			t.Fatalf("%+v, %v", bid, err)
		}
		conv.Close(market.Cancelled)
		return bid
	}
	held, absent := bid(put(t, x.n.Session, "private")), bid(dag.NewBlock(cid.Raw, []byte("absent")).CID())
	if held.Have != 0 || held.Have != absent.Have || held.Missing != absent.Missing || held.Exact != absent.Exact {
		t.Errorf("bid for a held block: %+v\nbid for an absent block: %+v", held, absent)
	}
}

// TestOpenPeersJobAsksOnlyIt has an open peer name an input that only a member has, and sources of its own
// choice: neither is asked or dialed.
func TestOpenPeersJobAsksOnlyIt(t *testing.T) {
	x := newPair(t, "open")
	member, victim := newBarePeer(t), newBarePeer(t)
	token, err := x.n.Cluster.Invite(t.Context(), api.Invitation{})
	if err != nil {
		t.Fatal(err)
	}
	if err := member.join(limitedTo(t, 20*time.Second), x.self, token); err != nil {
		t.Fatal(err)
	}
	in := member.has(t, "private to the cluster")
	victim.has(t, "private to the cluster")
	source := lpeer.AddrInfo{ID: victim.h.ID(), Addrs: victim.h.Addrs()}
	if _, err := x.b.runsAt(t, x, task(x.b.has(t, "module"), "read", in), source); err == nil {
		t.Error("the job of the open peer got a result")
	}
	if member.blocks.askedFor(in) || victim.blocks.askedFor(in) || victim.dialed > 0 {
		t.Errorf("a member is asked: %v, a source is asked: %v, and dialed %d times", member.blocks.askedFor(in), victim.blocks.askedFor(in), victim.dialed)
	}
	if !x.b.blocks.askedFor(in) {
		t.Error("the requester is not asked")
	}
	// A member's job gets the input.
	other := newBarePeer(t)
	if token, err = x.n.Cluster.Invite(t.Context(), api.Invitation{}); err != nil {
		t.Fatal(err)
	}
	if err := other.join(limitedTo(t, 20*time.Second), x.self, token); err != nil {
		t.Fatal(err)
	}
	if _, err := other.runsAt(t, x, task(other.has(t, "module"), "read", in)); err != nil {
		t.Errorf("a member's job: %v", err)
	}
}

// TestRequesterIsAskedForItsJobOnly has an open peer with an accepted job hold another block, too: a fetch of
// the owner does not ask it for that block.
func TestRequesterIsAskedForItsJobOnly(t *testing.T) {
	x := newPair(t, "open")
	in, other := x.b.has(t, "input"), x.b.has(t, "what the owner looks for")
	result := make(chan error, 1)
	go func() {
		_, err := x.b.runsAt(t, x, task(x.b.has(t, "module"), "gate", in))
		result <- err
	}()
	<-x.gate.begun
	if err := x.n.Data.Fetch(limitedTo(t, 20*time.Second), other); codeOf(err) != api.CodeMissing {
		t.Errorf("fetch: %v", err)
	}
	if x.b.blocks.askedFor(other) {
		t.Error("the requester is asked")
	}
	// Another peer cannot attach to the run, even with the lease.
	thief := newBarePeer(t)
	if err := thief.connect(limitedTo(t, 20*time.Second), x.self); err != nil {
		t.Fatal(err)
	}
	_, err := market.NewClient(thief.h, quick).Attach(limitedTo(t, 20*time.Second), x.self.ID, market.Attach{Lease: market.Lease{1}, Order: in, Task: in}, job.Limits{})
	if err == nil {
		t.Error("another peer attaches to the run")
	}
	close(x.gate.open)
	if err := <-result; err != nil {
		t.Error(err)
	}
}

// TestBitswapIsForContentPeersOnly fetches over Bitswap while an open peer that supports it is connected: that
// peer does not learn which blocks are wanted, and still gets published blocks.
func TestBitswapIsForContentPeersOnly(t *testing.T) {
	content, openPeer := newBarePeer(t), newBarePeer(t)
	x := newPairOf(t, "open", openPeer, func(c *node.NetworkConfig) { c.Policy.AllowPeers = []string{content.h.ID().String()} })
	for _, b := range []*barePeer{content, openPeer} {
		b.h.RemoveStreamHandler(exchange.Protocol)
	}
	if err := content.connect(limitedTo(t, 20*time.Second), x.self); err != nil {
		t.Fatal(err)
	}
	sought := dag.NewBlock(cid.Raw, []byte("what no peer has")).CID()
	ctx, cancel := context.WithCancel(t.Context())
	fetched := make(chan error, 1)
	go func() { fetched <- x.n.Data.Fetch(ctx, sought) }()
	eventually(t, "the content peer is asked", func() bool { return content.blocks.askedFor(sought) })
	c := content.has(t, "what the content peer has")
	if err := x.n.Data.Fetch(limitedTo(t, 20*time.Second), c); err != nil {
		t.Error(err)
	}
	cancel()
	<-fetched
	for _, c := range []cid.Cid{sought, c} {
		if openPeer.blocks.askedFor(c) {
			t.Errorf("the open peer is asked for %s", c)
		}
	}
	published := put(t, x.n.Session, "published")
	if err := x.n.Publishing.Publish(t.Context(), published); err != nil {
		t.Fatal(err)
	}
	if _, err := openPeer.gets(limitedTo(t, 20*time.Second), x.self.ID, published); err != nil {
		t.Errorf("get a published block: %v", err)
	}
}

// TestPolicyAppliesToWebAssembly has the policy deny WebAssembly to open peers.
func TestPolicyAppliesToWebAssembly(t *testing.T) {
	x := newPair(t, "open")
	if !x.mayRun(t, job.Limits{Fuel: openFuel}) {
		t.Error("refused without a policy")
	}
	for i, policy := range []string{`{"rules": [{"who": ["open"], "engines": ["*"], "deny": true}]}`, `{"rules": [`} {
		if err := os.WriteFile(filepath.Join(x.dir, "policy.json"), []byte(policy), 0o600); err != nil {
			t.Fatal(err)
		}
		if x.mayRun(t, job.Limits{Fuel: openFuel}) {
			t.Errorf("policy %d allows it: %s", i, policy)
		}
	}
	if !x.runsOwn(t, job.Limits{}) {
		t.Error("the policy denies the owner's WebAssembly")
	}
}
