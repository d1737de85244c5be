package exchange

import (
	"crypto/ed25519"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/ipfs-liftoff/liftoff/host"
	"github.com/ipfs-liftoff/liftoff/host/store"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
)

func openStore(t testing.TB, dir string) *store.Store {
	t.Helper()
	s, err := store.Open(dir, store.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func openPublished(t testing.TB, s *store.Store) *Published {
	t.Helper()
	p, err := OpenPublished(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

const (
	member, listed, runner, unknown = peer.ID("member"), peer.ID("listed"), peer.ID("runner"), peer.ID("unknown")
)

// isMember gives the peer member the rights of a member; byRelation gives each peer its relation.
func isMember(p peer.ID, a host.Action) bool { return p == member && host.Allows(host.Member, a) }

func byRelation(p peer.ID, a host.Action) bool {
	return host.Allows(map[peer.ID]host.Relation{member: host.Member, listed: host.Granted, runner: host.Provider}[p], a)
}

// privates puts a Task, its Outcome, a Receipt and an order, and returns their CIDs.
func privates(t *testing.T, bs dag.Blocks, mod cid.Cid) []cid.Cid {
	t.Helper()
	task := job.Task{ABI: job.ABIWASI, Mod: mod, Fn: "_start", Det: job.Det2, Out: job.OutProfile, Args: []string{"--password=1234"}}
	tb, err := task.Encode()
	if err != nil {
		t.Fatal(err)
	}
	o := job.Outcome{Task: job.CIDOf(tb), State: job.OK, Root: mod}
	ob, err := o.Encode()
	if err != nil {
		t.Fatal(err)
	}
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	rb, err := job.Receipt{Task: o.Task, Outcome: job.CIDOf(ob), Meta: job.Meta{Arch: "a", Engine: "e", Version: "v"}}.Sign(key)
	if err != nil {
		t.Fatal(err)
	}
	jb, err := job.Order{Task: o.Task, Runs: 1, Issued: 1, Expires: 2}.Sign(key)
	if err != nil {
		t.Fatal(err)
	}
	var cids []cid.Cid
	for _, b := range [][]byte{tb, ob, rb, jb} {
		bl := dag.NewBlock(cid.DagCBOR, b)
		put(t, bs, bl)
		cids = append(cids, bl.CID())
	}
	return cids
}

func TestAccess(t *testing.T) {
	s := openStore(t, t.TempDir())
	pub := openPublished(t, s)
	a := NewAccess(AccessConfig{Blocks: s, Published: pub, Allows: byRelation})
	p := dag.UnixFSv1
	p.ChunkSize, p.FileWidth = 1000, 10
	public := addFile(t, s, noise(50_000, 1), p)
	input := addFile(t, s, noise(50_000, 2), p)
	other := addFile(t, s, noise(50_000, 3), p)
	secret := privates(t, s, other)
	if err := pub.Publish(t.Context(), public, time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	revoke := a.Grant(runner, input)
	check := func(p peer.ID, c cid.Cid, want bool, what string) {
		t.Helper()
		if got := a.Allowed(t.Context(), p, c); got != want {
			t.Errorf("%s, %s: got %v, want %v", p, what, got, want)
		}
	}
	below := func(root cid.Cid, each func(cid.Cid)) {
		n := 0
		dag.Walk(t.Context(), s, []cid.Cid{root}, dag.WalkOptions{}, func(v dag.Visited) error {
			n++
			each(v.CID)
			return nil
		})
		if n < 50 {
			t.Fatalf("%d blocks", n)
		}
	}
	below(public, func(c cid.Cid) {
		check(member, c, true, "a published block")
		check(listed, c, true, "a published block")
		check(runner, c, false, "a published block")
		check(unknown, c, false, "a published block")
		raw := cid.NewCidV1(cid.Raw, c.Hash())
		check(listed, raw, true, "a published block, under another codec")
	})
	below(input, func(c cid.Cid) {
		check(member, c, true, "an input")
		check(listed, c, false, "an input")
		check(runner, c, true, "an input")
		check(unknown, c, false, "an input")
	})
	below(other, func(c cid.Cid) {
		check(member, c, true, "any block")
		check(listed, c, false, "any block")
		check(runner, c, false, "any block")
	})
	for i, c := range secret {
		for _, p := range []peer.ID{member, listed, runner, unknown} {
			check(p, c, false, []string{"a task", "an outcome", "a receipt", "an order"}[i])
			check(p, cid.NewCidV1(cid.Raw, c.Hash()), false, "the same under another codec")
			check(p, cid.NewCidV1(cid.DagProtobuf, c.Hash()), false, "the same under another codec")
		}
	}
	revoke()
	check(runner, input, false, "an input of an ended job")
	revoke()

	if err := pub.Publish(t.Context(), secret[2], time.Unix(2, 0)); err != nil { // a receipt, and its links
		t.Fatal(err)
	}
	check(member, secret[2], true, "a published receipt")
	check(listed, secret[2], true, "a published receipt")
	check(member, secret[1], true, "a published receipt's outcome")

	if was, err := pub.Unpublish(t.Context(), public); !was || err != nil {
		t.Error(was, err)
	}
	check(listed, public, false, "an unpublished block")
	check(listed, secret[2], true, "a block that is still published")
	if was, err := pub.Unpublish(t.Context(), public); was || err != nil {
		t.Error(was, err)
	}
	var none *Access
	if none.Allowed(t.Context(), member, public) {
		t.Error("an Access without rules allows a block")
	}
}

// TestPublishedGrows publishes a root; a part of its DAG arrives later.
func TestPublishedGrows(t *testing.T) {
	all := new(dag.MemBlocks)
	p := dag.UnixFSv1
	p.ChunkSize, p.FileWidth = 1000, 10
	root := addFile(t, all, noise(150_000, 1), p)
	s := openStore(t, t.TempDir())
	pub := openPublished(t, s)
	a := NewAccess(AccessConfig{Blocks: s, Published: pub, Allows: byRelation})
	if err := pub.Publish(t.Context(), root, time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	var last cid.Cid
	dag.Walk(t.Context(), all, []cid.Cid{root}, dag.WalkOptions{Data: true}, func(v dag.Visited) error {
		put(t, s, v.Block)
		last = v.CID
		return nil
	})
	if a.Allowed(t.Context(), listed, randomBlock(10).CID()) {
		t.Error("an unrelated block is published")
	}
	eventually(t, "the new block is served", func() bool { return a.Allowed(t.Context(), listed, last) })
}

// TestPublishedStays opens a repo a second time.
func TestPublishedStays(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	pub := openPublished(t, s)
	first := addFile(t, s, noise(5000, 1), dag.UnixFSv1)
	second := addFile(t, s, noise(5000, 2), dag.UnixFSv0)
	for i, c := range []cid.Cid{second, first, second} {
		if err := pub.Publish(t.Context(), c, time.Unix(int64(i+1), 0)); err != nil {
			t.Fatal(err)
		}
	}
	if err := pub.Publish(t.Context(), cid.Undef, time.Unix(1, 0)); err == nil {
		t.Error("the root was not published")
	}
	s.Close()
	s = openStore(t, dir)
	pub = openPublished(t, s)
	list := pub.List()
	if len(list) != 2 || list[0].CID != second || list[1].CID != first || !list[0].Added.Equal(time.Unix(1, 0)) {
		t.Errorf("%+v", list)
	}
	a := NewAccess(AccessConfig{Blocks: s, Published: pub, Allows: byRelation})
	if !a.Allowed(t.Context(), listed, first) {
		t.Error("the root is not published after a restart")
	}
}

func TestReachIsBounded(t *testing.T) {
	bs := new(dag.MemBlocks)
	p := dag.UnixFSv1
	p.ChunkSize, p.FileWidth = 100, 10
	root := addFile(t, bs, noise(100_000, 1), p)
	r := newReach(50)
	if err := r.add(t.Context(), bs, root); err == nil {
		t.Error("a set of 50 accepted more")
	}
	if len(r.keys) > 50 || len(r.inner) > 50 || len(r.missing) > 50 {
		t.Errorf("got %d, %d and %d entries", len(r.keys), len(r.inner), len(r.missing))
	}
}
