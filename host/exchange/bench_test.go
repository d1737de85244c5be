package exchange

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
)

// slowLink forwards TCP connections to a peer, each byte delay later in both directions, and returns the peer with
// the address of the forwarder.
func slowLink(t testing.TB, to peer.AddrInfo, delay time.Duration) peer.AddrInfo {
	t.Helper()
	var target string
	for _, a := range to.Addrs {
		if n, err := manet.ToNetAddr(a); err == nil && n.Network() == "tcp" {
			target = n.String()
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() {
		cancel()
		l.Close()
		running.Wait()
	})
	running.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", target)
			if err != nil {
				in.Close()
				continue
			}
			context.AfterFunc(ctx, func() { in.Close(); out.Close() })
			running.Go(func() { delayed(out, in, delay) })
			running.Go(func() { delayed(in, out, delay) })
		}
	})
	a, err := manet.FromNetAddr(l.Addr())
	if err != nil {
		t.Fatal(err)
	}
	return peer.AddrInfo{ID: to.ID, Addrs: []multiaddr.Multiaddr{a}}
}

// delayed copies from in to out. At most 64 MiB are in flight.
func delayed(out, in net.Conn, delay time.Duration) {
	type piece struct {
		b   []byte
		due time.Time
	}
	pieces := make(chan piece, 1024)
	go func() {
		defer close(pieces)
		for {
			b := make([]byte, 64<<10)
			n, err := in.Read(b)
			if n > 0 {
				pieces <- piece{b[:n], time.Now().Add(delay)}
			}
			if err != nil {
				return
			}
		}
	}()
	for p := range pieces {
		time.Sleep(time.Until(p.due))
		if _, err := out.Write(p.b); err != nil {
			in.Close()
		}
	}
	out.Close()
}

var leaves = map[string]dag.Profile{
	"1MiB":   dag.UnixFSv1,
	"256KiB": {Name: "256 KiB", CIDVersion: 1, ChunkSize: 256 << 10, RawLeaves: true, FileWidth: 174},
}

// BenchmarkSequential reads a file of 256 MiB from a peer behind a link of 10 ms, from one store on disk into
// another. It compares with `ipfs cat` between two Kubo daemons on the same link, when LIFTOFF_TEST_KUBO names a
// binary.
func BenchmarkSequential(b *testing.B) {
	const size = 256 << 20
	for _, delay := range []time.Duration{0, 10 * time.Millisecond} {
		for name, p := range leaves {
			b.Run(fmt.Sprintf("liftoff/%s/%s", delay, name), func(b *testing.B) {
				there := openStore(b, b.TempDir())
				root := addFile(b, there, noise(size, 1), p)
				a := newHost(b)
				newSource(b, a, there)
				via := slowLink(b, infoOf(a), delay)
				b.SetBytes(size)
				for b.Loop() {
					readOver(b, via, root)
				}
			})
			b.Run(fmt.Sprintf("kubo/%s/%s", delay, name), func(b *testing.B) {
				from := newKubo(b)
				root := from.add(b, noise(size, 1), "--cid-version=1", "--raw-leaves", fmt.Sprintf("--chunker=size-%d", p.ChunkSize))
				via := slowLink(b, from.info, delay)
				to := newKubo(b)
				to.run(b, nil, "swarm", "connect", via.Addrs[0].String()+"/p2p/"+via.ID.String())
				b.SetBytes(size)
				for b.Loop() {
					if n := len(to.run(b, nil, "cat", root.String())); n != size {
						b.Fatalf("%d bytes", n)
					}
					b.StopTimer()
					to.run(b, nil, "repo", "gc")
					b.StartTimer()
				}
			})
		}
	}
}

// readOver reads root from a peer with a new host and a new repo.
func readOver(b *testing.B, from peer.AddrInfo, root cid.Cid) {
	b.StopTimer()
	h := newHost(b)
	here := openStore(b, b.TempDir())
	x := newExchange(b, h, Config{Blocks: here})
	s := x.Session(SessionConfig{Local: here, Sources: []peer.AddrInfo{from}})
	if err := h.Connect(b.Context(), from); err != nil {
		b.Fatal(err)
	}
	b.StartTimer()
	f, err := dag.OpenFile(b.Context(), s, root)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := f.WriteTo(b.Context(), io.Discard); err != nil {
		b.Fatal(err)
	}
	f.Close()
	b.StopTimer()
	s.Close()
	x.Close()
	h.Close()
	here.Close()
	b.StartTimer()
}

// BenchmarkOnePercent reads 1 % of a file of 1 GiB in pieces of 64 KiB, and reports the fraction of the file that was
// transferred.
func BenchmarkOnePercent(b *testing.B) {
	const size = 1 << 30
	there := openStore(b, b.TempDir())
	root := addFile(b, there, noise(size, 1), dag.UnixFSv1)
	a := newHost(b)
	newSource(b, a, there)
	var crossed int64
	for b.Loop() {
		h := newHost(b)
		s := newExchange(b, h, Config{Blocks: new(dag.MemBlocks)}).Session(SessionConfig{Local: new(dag.MemBlocks), Sources: []peer.AddrInfo{infoOf(a)}})
		f, err := dag.OpenFile(b.Context(), s, root)
		if err != nil {
			b.Fatal(err)
		}
		piece := make([]byte, 64<<10)
		for off := int64(size / 3); off < size/3+size/100; off += int64(len(piece)) {
			if _, err := f.ReadAt(b.Context(), piece, off); err != nil {
				b.Fatal(err)
			}
		}
		f.Close()
		s.Close()
		crossed = s.Fetched().Bytes
	}
	b.ReportMetric(100*float64(crossed)/size, "%crossed")
}

// BenchmarkSmallBlock measures the round trip of one block on loopback.
func BenchmarkSmallBlock(b *testing.B) {
	there := new(dag.MemBlocks)
	a, h := newHost(b), newHost(b)
	newSource(b, a, there)
	s := newSession(b, newExchange(b, h, Config{Blocks: new(dag.MemBlocks)}), new(dag.MemBlocks), host.Host(a))
	for b.Loop() {
		b.StopTimer()
		bl := randomBlock(300)
		put(b, there, bl)
		b.StartTimer()
		if _, err := s.Get(b.Context(), bl.CID()); err != nil {
			b.Fatal(err)
		}
	}
}
