package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

// faraway is api.Data in memory that counts the calls of a client.
type faraway struct {
	api.Data // methods that the test does not use
	blocks   map[cid.Cid][]byte
	order    []cid.Cid // the order of a Walk
	asked    int       // calls of Missing
	got      int       // blocks by Get
	walked   int       // blocks by Walk
	put      []cid.Cid
}

func (f *faraway) Get(_ context.Context, c cid.Cid) ([]byte, error) {
	f.got++
	b, ok := f.blocks[c]
	if !ok {
		return nil, api.Errorf(api.CodeMissing, "block %s is missing", c)
	}
	return b, nil
}

func (f *faraway) Put(_ context.Context, bs ...api.Block) error {
	for _, b := range bs {
		f.blocks[b.CID] = b.Data
		f.put = append(f.put, b.CID)
	}
	return nil
}

func (f *faraway) Missing(_ context.Context, cs ...cid.Cid) (missing []cid.Cid, err error) {
	f.asked++
	return slices.DeleteFunc(slices.Clone(cs), func(c cid.Cid) bool { return f.blocks[c] != nil }), nil
}

func (f *faraway) Walk(_ context.Context, _ cid.Cid, each func(api.Block) error) error {
	for _, c := range f.order {
		if err := each(api.Block{CID: c, Data: f.blocks[c]}); err != nil {
			return err
		}
		f.walked++
	}
	return nil
}

func rawBlocks(n, size int) []dag.Block {
	bs := make([]dag.Block, n)
	for i := range bs {
		bs[i] = dag.NewBlock(cid.Raw, append(bytes.Repeat([]byte{byte(i)}, size), fmt.Sprint(i)...))
	}
	return bs
}

func newCached(f *faraway) *cachedBlocks {
	return &cachedBlocks{remoteBlocks: remoteBlocks{f}, recent: recent{held: map[cid.Cid]dag.Block{}}}
}

func TestOnlyMissingBlocksAreSent(t *testing.T) {
	f := &faraway{blocks: map[cid.Cid][]byte{}}
	bs := rawBlocks(5, 100<<10)
	f.blocks[bs[1].CID()], f.blocks[bs[3].CID()] = bs[1].Data(), bs[3].Data()
	cached := newCached(f)
	if err := cached.Put(t.Context(), append(bs, bs[0])...); err != nil {
		t.Fatal(err)
	}
	if want := []cid.Cid{bs[0].CID(), bs[2].CID(), bs[4].CID()}; !slices.Equal(f.put, want) || f.asked != 1 {
		t.Errorf("sent %v after %d calls of Missing, want %v", f.put, f.asked, want)
	}
	if b, err := cached.Get(t.Context(), bs[3].CID()); err != nil || b.CID() != bs[3].CID() || f.got != 0 {
		t.Errorf("a recently sent block is fetched: %v, %d", err, f.got)
	}
	f.put, f.asked = nil, 0
	if err := cached.Put(t.Context(), rawBlocks(3, 10)...); err != nil || len(f.put) != 3 || f.asked != 0 {
		t.Errorf("small blocks: %v, sent %d after %d calls of Missing", err, len(f.put), f.asked)
	}
}

func TestReadingUsesOneStream(t *testing.T) {
	f := &faraway{blocks: map[cid.Cid][]byte{}}
	bs := rawBlocks(40, 1000)
	for _, b := range bs {
		f.blocks[b.CID()], f.order = b.Data(), append(f.order, b.CID())
	}
	s := &Session{remote: newCached(f)}
	blocks, stop := s.Reading(t.Context(), bs[0].CID())
	if _, ok := blocks.(interface{ ReadInOrder() }); !ok {
		t.Error("the set does not ask for reading in order")
	}
	for i, b := range bs {
		if i%7 == 3 {
			continue // a reader may skip blocks
		}
		if got, err := blocks.Get(t.Context(), b.CID()); err != nil || !bytes.Equal(got.Data(), b.Data()) {
			t.Fatalf("block %d: %v", i, err)
		}
	}
	if _, err := blocks.Get(t.Context(), bs[3].CID()); err != nil { // and read them later
		t.Error(err)
	}
	stop()
	if f.got != 0 || f.walked != len(bs) {
		t.Errorf("%d blocks were requested, %d came in the stream", f.got, f.walked)
	}
}

// A reader of blocks in another order gets them one by one, and does not drain the stream.
func TestReadingOutOfOrder(t *testing.T) {
	f := &faraway{blocks: map[cid.Cid][]byte{}}
	bs := rawBlocks(60, 1<<20)
	for _, b := range bs[:59] {
		f.blocks[b.CID()], f.order = b.Data(), append(f.order, b.CID())
	}
	f.blocks[bs[59].CID()] = bs[59].Data()
	s := &Session{remote: newCached(f)}
	blocks, stop := s.Reading(t.Context(), bs[0].CID())
	if _, err := blocks.Get(t.Context(), bs[59].CID()); err != nil || f.got != 1 {
		t.Errorf("%v, %d blocks requested", err, f.got)
	}
	stop()
	if f.walked == len(f.order) {
		t.Error("the whole stream was read")
	}
	absent := dag.NewBlock(cid.Raw, []byte("absent")).CID()
	var missing *dag.NotFoundError
	if _, err := blocks.Get(t.Context(), absent); !errors.As(err, &missing) {
		t.Errorf("absent block: %v", err)
	}
}

// Blocks of a remote node are hashed, by both ways of reading them.
func TestRemoteBlocksAreChecked(t *testing.T) {
	b := dag.NewBlock(cid.Raw, []byte("good"))
	f := &faraway{blocks: map[cid.Cid][]byte{b.CID(): []byte("evil")}, order: []cid.Cid{b.CID()}}
	if _, err := newCached(f).Get(t.Context(), b.CID()); err == nil {
		t.Error("Get accepts a block with another hash")
	}
	s := &Session{remote: newCached(f)}
	blocks, stop := s.Reading(t.Context(), b.CID())
	defer stop()
	if _, err := blocks.Get(t.Context(), b.CID()); err == nil {
		t.Error("Reading accepts a block with another hash")
	}
}

func TestRecentIsBounded(t *testing.T) {
	r := recent{held: map[cid.Cid]dag.Block{}}
	bs := rawBlocks(100, 1<<20)
	for _, b := range bs {
		r.add(b)
		r.add(b)
	}
	if _, ok := r.get(bs[0].CID()); ok || r.bytes > recentBytes || len(r.held) != len(r.order) {
		t.Errorf("%d bytes, %d blocks, the first is kept: %v", r.bytes, len(r.held), ok)
	}
	if _, ok := r.get(bs[99].CID()); !ok {
		t.Error("the last is not kept")
	}
}
