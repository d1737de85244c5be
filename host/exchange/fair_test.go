package exchange

import (
	"bufio"
	"context"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/multiformats/go-multihash"

	"github.com/ipfs-liftoff/liftoff/abi"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
)

// TestRogueThatHurries sends wrong bytes and breaks the stream before the reader can have hashed them: it is still not
// asked again.
func TestRogueThatHurries(t *testing.T) {
	rogue, me := newHost(t), newHost(t)
	var asked atomic.Int64
	wrong := noise(dag.MaxBlock, 1)
	serveScript(rogue, func(s network.Stream, r request) {
		asked.Add(1)
		s.Write(appendFrame(nil, []byte{isHere}, wrong))
		s.CloseWrite()
		time.Sleep(20 * time.Millisecond)
		s.Reset()
	})
	here := new(dag.MemBlocks)
	s := newSession(t, newExchange(t, me, Config{Blocks: here}), here, rogue)
	for range 10 {
		_, err := s.Get(t.Context(), randomBlock(10).CID())
		if err == nil || !strings.Contains(err.Error(), rogue.ID().String()) {
			t.Errorf("%v", err)
		}
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("got %d requests", n)
	}
}

// TestSlowReader takes longer to read its answers than the idle time of a stream. It gets all of them: those that the
// other end holds until it can send, and those that were in flight when the other end closed the stream.
func TestSlowReader(t *testing.T) {
	const idle = 50 * time.Millisecond
	for name, c := range map[string]struct {
		blocks, size int
		pause, each  time.Duration // before the first block, and after each
	}{
		"much":   {16, 1 << 20, 0, 20 * time.Millisecond},
		"little": {16, 1 << 10, 6 * idle, 0},
	} {
		t.Run(name, func(t *testing.T) {
			there := new(dag.MemBlocks)
			req := request{op: opWant}
			for range c.blocks {
				b := randomBlock(c.size)
				put(t, there, b)
				req.cids = append(req.cids, b.CID())
			}
			a, b := newHost(t), newHost(t)
			newExchange(t, a, Config{
				Blocks: there, Access: NewAccess(AccessConfig{Blocks: there, Allows: allowAll}), Idle: idle,
			})
			if err := b.Connect(t.Context(), infoOf(a)); err != nil {
				t.Fatal(err)
			}
			s, err := b.NewStream(t.Context(), a.ID(), Protocol)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Reset()
			frame, err := req.encode()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Write(appendFrame(nil, frame)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(c.pause)
			r := bufio.NewReader(s)
			for i := range req.cids {
				if _, err := readFrame(r, maxAnswer); err != nil {
					t.Fatalf("block %d: %v", i, err)
				}
				time.Sleep(c.each)
			}
			if _, err := r.ReadByte(); err != io.EOF { // the idle time has passed
				t.Errorf("%v", err)
			}
		})
	}
}

// TestCheapHave asks for the presence of many blocks: none is read as a whole.
func TestCheapHave(t *testing.T) {
	there := &parts{}
	var cids []cid.Cid
	for range 50 {
		b := dag.NewBlock(cid.Raw, append([]byte("not private"), noise(1000, 7)...))
		put(t, there, b)
		cids = append(cids, b.CID())
	}
	access := NewAccess(AccessConfig{Blocks: there, Allows: allowAll})
	a, b := newHost(t), newHost(t)
	newExchange(t, a, Config{Blocks: there, Access: access})
	held, err := newExchange(t, b, Config{Blocks: new(dag.MemBlocks)}).Have(t.Context(), infoOf(a), append(cids, randomBlock(1).CID()))
	if err != nil {
		t.Fatal(err)
	}
	for i, h := range held {
		if h != (i < len(cids)) {
			t.Errorf("block %d: %v", i, h)
		}
	}
	if !access.Allowed(t.Context(), b.ID(), cids[0]) {
		t.Error("a member may not have the block")
	}
	if n := there.whole.Load(); n != 0 {
		t.Errorf("%d blocks were read as a whole", n)
	}
}

// parts is a set of blocks with part reads, which counts the blocks read as a whole.
type parts struct {
	dag.MemBlocks
	whole atomic.Int64
}

func (p *parts) Get(ctx context.Context, c cid.Cid) (dag.Block, error) {
	b, err := p.MemBlocks.Get(ctx, c)
	if err == nil {
		p.whole.Add(1)
	}
	return b, err
}

func (p *parts) ReadPart(ctx context.Context, c cid.Cid, b []byte, off int64) (int, int64, error) {
	return dag.ReadPart(ctx, &p.MemBlocks, c, b, off)
}

// TestGuess asks for private blocks and for missing ones: it cannot distinguish them.
func TestGuess(t *testing.T) {
	s := openStore(t, t.TempDir())
	secret := privates(t, s, addFile(t, s, noise(10, 1), dag.UnixFSv1))
	a, b := newHost(t), newHost(t)
	newSource(t, a, s)
	x := newExchange(t, b, Config{Blocks: new(dag.MemBlocks)})
	mine := newSession(t, x, new(dag.MemBlocks), a)
	for _, c := range append(secret, randomBlock(9).CID()) {
		if _, err := mine.Get(t.Context(), c); err == nil || !strings.HasSuffix(err.Error(), ": does not have the block") {
			t.Errorf("%v", err)
		}
	}
	held, err := x.Have(t.Context(), infoOf(a), secret)
	for i, h := range held {
		if h {
			t.Errorf("private block %d: reported as present", i)
		}
	}
	if err != nil {
		t.Error(err)
	}
}

// TestRequestsFit checks that a request of perRequest longest links fits maxRequest.
func TestRequestsFit(t *testing.T) {
	digest, err := multihash.Encode(make([]byte, abi.MaxCID-6), multihash.IDENTITY)
	if err != nil {
		t.Fatal(err)
	}
	r := request{opWant, make([]cid.Cid, perRequest)}
	for i := range r.cids {
		r.cids[i] = cid.NewCidV1(cid.Raw, digest)
	}
	b, err := r.encode()
	if err != nil || len(b) > maxRequest || r.cids[0].ByteLen() < abi.MaxCID-2 {
		t.Errorf("got %d bytes for links of %d, %v", len(b), r.cids[0].ByteLen(), err)
	}
	if _, err := decodeRequest(b); err != nil {
		t.Error(err)
	}
}
