package exchange

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
)

// serveScript serves the protocol with an answer that say writes for each request.
func serveScript(h host.Host, say func(s network.Stream, r request)) {
	h.SetStreamHandler(Protocol, func(s network.Stream) {
		defer s.Close()
		r := bufio.NewReader(s)
		for {
			b, err := readFrame(r, maxRequest)
			if err != nil {
				return
			}
			req, err := decodeRequest(b)
			if err != nil {
				s.Reset()
				return
			}
			say(s, req)
		}
	})
}

// TestHostileSource has a source that sends invalid answers: it is not asked again, the block comes from an honest
// source, and no wrong block is stored.
func TestHostileSource(t *testing.T) {
	block := randomBlock(1000)
	other := randomBlock(1000)
	for _, c := range []struct {
		name, why string
		say       func(s network.Stream, r request)
	}{
		{"wrong bytes", "do not match the block's CID", func(s network.Stream, r request) {
			s.Write(appendFrame(nil, []byte{isHere}, other.Data()))
		}},
		{"no bytes", "do not match the block's CID", func(s network.Stream, r request) { s.Write(appendFrame(nil, []byte{isHere})) }},
		{"an oversized block", "want 1 to", func(s network.Stream, r request) {
			s.Write(protowire.AppendVarint(nil, maxAnswer+1))
		}},
		{"a huge frame", "want 1 to", func(s network.Stream, r request) { s.Write(protowire.AppendVarint(nil, 1<<62)) }},
		{"an endless length", "", func(s network.Stream, r request) { s.Write(bytes.Repeat([]byte{0xff}, 100)) }},
		{"an empty frame", "want 1 to", func(s network.Stream, r request) { s.Write([]byte{0}) }},
		{"an unknown answer", "", func(s network.Stream, r request) { s.Write(appendFrame(nil, []byte{99})) }},
		{"a refusal with data", "", func(s network.Stream, r request) { s.Write(appendFrame(nil, []byte{isMissing, 1, 2})) }},
		{"an unrequested answer", "", func(s network.Stream, r request) {
			for range r.cids {
				s.Write(appendFrame(nil, []byte{isMissing}))
			}
			s.Write(appendFrame(nil, []byte{isHere}, other.Data()))
		}},
		{"nothing", "no answer", func(s network.Stream, r request) {}},
		{"a trickle", "", func(s network.Stream, r request) {
			frame := appendFrame(nil, []byte{isHere}, block.Data())
			for _, b := range frame {
				if _, err := s.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(10 * time.Millisecond)
			}
		}},
		{"a reset", "", func(s network.Stream, r request) { s.Reset() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			rogue, honest, me := newHost(t), newHost(t), newHost(t)
			serveScript(rogue, c.say)
			there, here := new(dag.MemBlocks), new(dag.MemBlocks)
			put(t, there, block)
			newSource(t, honest, there)
			x := newExchange(t, me, Config{Blocks: here, Stall: 100 * time.Millisecond, Frame: 200 * time.Millisecond})
			alone := newSession(t, x, here, rogue)
			_, err := alone.Get(t.Context(), block.CID())
			var e *SourcesError
			if !errors.As(err, &e) || len(e.Answers) != 1 || !strings.Contains(e.Answers[0], c.why) {
				t.Errorf("%v, want %q", err, c.why)
			}
			if n, _ := here.Len(); n != 0 {
				t.Errorf("%d blocks were stored, want 0", n)
			}
			s := newSession(t, x, here, rogue, honest)
			b, err := s.Get(t.Context(), block.CID())
			if err != nil || !bytes.Equal(b.Data(), block.Data()) {
				t.Errorf("%v", err)
			}
			if n, _ := here.Len(); n != 1 {
				t.Errorf("%d blocks were stored, want 1", n)
			}
		})
	}
}

// TestHostileReader sends invalid requests. The stream ends, and no resource leaks.
func TestHostileReader(t *testing.T) {
	there := new(dag.MemBlocks)
	block := randomBlock(100)
	put(t, there, block)
	a, b := newHost(t), newHost(t)
	x := newExchange(t, a, Config{
		Blocks: there, Access: NewAccess(AccessConfig{Blocks: there, Allows: allowAll}),
		Frame: 200 * time.Millisecond, Idle: 100 * time.Millisecond,
	})
	for name, sent := range map[string][]byte{
		"nothing":              nil,
		"garbage":              []byte("GET / HTTP/1.1\r\n\r\n"),
		"a huge frame":         protowire.AppendVarint(nil, 1<<40),
		"half a frame":         {100, 1, 2, 3},
		"no CBOR":              appendFrame(nil, []byte{0xff, 0xff}),
		"an unknown operation": appendFrame(nil, []byte("\xa1\x64push\x80")),
		"no links":             appendFrame(nil, []byte("\xa1\x64want\x80")),
		"no list":              appendFrame(nil, []byte("\xa1\x64want\x01")),
		"deep":                 appendFrame(nil, bytes.Repeat([]byte{0x81}, 10_000)),
		"a list of billions":   appendFrame(nil, []byte("\xa1\x64want\x9a\xff\xff\xff\xff")),
	} {
		t.Run(name, func(t *testing.T) {
			s, err := b.NewStream(t.Context(), a.ID(), Protocol)
			if err != nil {
				if err := b.Connect(t.Context(), infoOf(a)); err != nil {
					t.Fatal(err)
				}
				if s, err = b.NewStream(t.Context(), a.ID(), Protocol); err != nil {
					t.Fatal(err)
				}
			}
			defer s.Reset()
			s.SetDeadline(time.Now().Add(20 * time.Second))
			s.Write(sent)
			if len(sent) == 0 {
				s.CloseWrite()
			}
			got, err := io.ReadAll(s)
			var timeout interface{ Timeout() bool }
			if len(got) > 0 || errors.As(err, &timeout) && timeout.Timeout() {
				t.Errorf("got answer %x, %v", got, err)
			}
		})
	}
	eventually(t, "all streams have ended", func() bool {
		return x.gate.Open() == 0
	})
}

// TestFlood requests more than it reads, on as many streams as it can open: the blocks read ahead for it are limited,
// and another peer is served.
func TestFlood(t *testing.T) {
	there := new(dag.MemBlocks)
	big := randomBlock(1 << 20)
	put(t, there, big)
	a, b, c := newHost(t), newHost(t), newHost(t)
	x := newExchange(t, a, Config{
		Blocks: there, Access: NewAccess(AccessConfig{Blocks: there, Allows: allowAll}), PerPeer: 3, Ahead: 8,
	})
	wants := request{opWant, make([]cid.Cid, maxCIDs)}
	for i := range wants.cids {
		wants.cids[i] = big.CID()
	}
	frame, err := wants.encode()
	if err != nil {
		t.Fatal(err)
	}
	frame = appendFrame(nil, frame)
	if err := b.Connect(t.Context(), infoOf(a)); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		s, err := b.NewStream(t.Context(), a.ID(), Protocol)
		if err != nil {
			continue
		}
		defer s.Reset()
		s.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		for range 40 {
			if _, err := s.Write(frame); err != nil {
				break
			}
		}
	}
	n := x.gate.OpenOf(b.ID())
	if n > 3 {
		t.Errorf("got %d streams to one peer", n)
	}
	if n := x.ahead.OpenOf(b.ID()); n > 2 {
		t.Errorf("%d of 8 blocks are read ahead for one peer", n)
	}
	if sent := x.Sent().Bytes; sent > 200<<20 {
		t.Errorf("%d bytes for a peer that does not read", sent)
	}
	here := new(dag.MemBlocks)
	s := newSession(t, newExchange(t, c, Config{Blocks: here}), here, a)
	if _, err := s.Get(t.Context(), big.CID()); err != nil {
		t.Errorf("another peer: %v", err)
	}
}

// TestUnknownPeer is an unknown peer: it gets no block, and does not learn which blocks are here.
func TestUnknownPeer(t *testing.T) {
	there := new(dag.MemBlocks)
	block := randomBlock(100)
	put(t, there, block)
	a, b := newHost(t), newHost(t)
	x := newExchange(t, a, Config{Blocks: there, Access: NewAccess(AccessConfig{Blocks: there, Allows: isMember})})
	mine := newExchange(t, b, Config{Blocks: new(dag.MemBlocks)})
	s := newSession(t, mine, new(dag.MemBlocks), a)
	_, here := s.Get(t.Context(), block.CID())
	_, nowhere := s.Get(t.Context(), randomBlock(100).CID())
	if here == nil || nowhere == nil || !strings.HasSuffix(here.Error(), ": refused to send the block") || !strings.HasSuffix(nowhere.Error(), ": refused to send the block") {
		t.Errorf("%v; %v", here, nowhere)
	}
	held, err := mine.Have(t.Context(), infoOf(a), []cid.Cid{block.CID()})
	if err != nil || held[0] {
		t.Errorf("%v %v", held, err)
	}
	if sent := x.Sent(); sent.Blocks != 0 || sent.Refused != 3 {
		t.Errorf("%+v", sent)
	}
}

func FuzzDecodeRequest(f *testing.F) {
	b, err := request{opWant, []cid.Cid{randomBlock(1).CID()}}.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decodeRequest(b)
		if err != nil {
			return
		}
		again, err := r.encode()
		if err != nil || !bytes.Equal(b, again) {
			t.Errorf("%x: encoded again as %x, %v", b, again, err)
		}
	})
}

// TestStoreFails has a store that refuses a fetched block.
func TestStoreFails(t *testing.T) {
	there := new(dag.MemBlocks)
	block := randomBlock(100)
	put(t, there, block)
	a, b := newHost(t), newHost(t)
	newSource(t, a, there)
	full := errors.New("the disk is full")
	s := newSession(t, newExchange(t, b, Config{Blocks: there}), fullBlocks{full}, a)
	if _, err := s.Get(t.Context(), block.CID()); !errors.Is(err, full) {
		t.Errorf("%v", err)
	}
}

type fullBlocks struct{ err error }

func (fullBlocks) Get(_ context.Context, c cid.Cid) (dag.Block, error) {
	return dag.Block{}, &dag.NotFoundError{CID: c}
}
func (fullBlocks) Has(context.Context, cid.Cid) (bool, error) { return false, nil }
func (f fullBlocks) Put(context.Context, ...dag.Block) error  { return f.err }
