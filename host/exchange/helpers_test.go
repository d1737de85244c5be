package exchange

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	mrand "math/rand/v2"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p"
	p2phost "github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"go.uber.org/goleak"

	"github.com/ipfs-liftoff/liftoff/host"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newHost(t testing.TB) p2phost.Host {
	t.Helper()
	h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"), libp2p.DisableRelay(), libp2p.DisableMetrics())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

func infoOf(h p2phost.Host) peer.AddrInfo { return peer.AddrInfo{ID: h.ID(), Addrs: h.Addrs()} }

// newSource is a peer that serves the blocks of bs to every peer.
func newSource(t testing.TB, h p2phost.Host, bs dag.Blocks) *Exchange {
	t.Helper()
	return newExchange(t, h, Config{Blocks: bs, Access: NewAccess(AccessConfig{Blocks: bs, Allows: allowAll})})
}

// allowAll gives every peer every right.
func allowAll(peer.ID, host.Action) bool { return true }

// mayBeAsked lets every peer be asked for blocks, and gives no other right.
func mayBeAsked(_ peer.ID, a host.Action) bool { return a == host.BeAsked }

func newExchange(t testing.TB, h p2phost.Host, cfg Config) *Exchange {
	t.Helper()
	if cfg.Access == nil {
		cfg.Access = NewAccess(AccessConfig{Blocks: new(dag.MemBlocks), Allows: mayBeAsked})
	}
	x, err := New(h, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { x.Close() })
	return x
}

func newSession(t testing.TB, x *Exchange, local dag.Blocks, sources ...p2phost.Host) *Session {
	t.Helper()
	cfg := SessionConfig{Local: local}
	for _, h := range sources {
		cfg.Sources = append(cfg.Sources, infoOf(h))
	}
	s := x.Session(cfg)
	t.Cleanup(s.Close)
	return s
}

// noise returns n bytes that depend only on seed.
func noise(n int, seed byte) []byte {
	b := make([]byte, n)
	mrand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

func addFile(t testing.TB, bs dag.Blocks, data []byte, p dag.Profile) cid.Cid {
	t.Helper()
	e, err := dag.AddFile(t.Context(), bs, bytes.NewReader(data), p)
	if err != nil {
		t.Fatal(err)
	}
	return e.CID
}

func readFile(t testing.TB, bs dag.Blocks, c cid.Cid) []byte {
	t.Helper()
	f, err := dag.OpenFile(t.Context(), bs, c)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b bytes.Buffer
	if _, err := f.WriteTo(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func randomBlock(n int) dag.Block {
	b := make([]byte, n)
	io.ReadFull(rand.Reader, b)
	return dag.NewBlock(cid.Raw, b)
}

func put(t testing.TB, bs dag.Blocks, blocks ...dag.Block) {
	t.Helper()
	if err := bs.Put(t.Context(), blocks...); err != nil {
		t.Fatal(err)
	}
}

// counting counts the blocks that are read.
type counting struct {
	dag.MemBlocks
	gets func(cid.Cid)
}

func (c *counting) Get(ctx context.Context, id cid.Cid) (dag.Block, error) {
	if c.gets != nil {
		c.gets(id)
	}
	return c.MemBlocks.Get(ctx, id)
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}
