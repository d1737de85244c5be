package exchange

import (
	"bufio"
	"bytes"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
)

// TestPipelined reads a file in order from a source that is slow to answer: many blocks are requested before the
// first one arrives, and never more than the window.
func TestPipelined(t *testing.T) {
	there, here := new(dag.MemBlocks), new(dag.MemBlocks)
	p := dag.UnixFSv1
	p.ChunkSize = 16 << 10
	data := noise(8<<20, 5)
	root := addFile(t, there, data, p)
	a, b := newHost(t), newHost(t)
	var asked, most atomic.Int64
	a.SetStreamHandler(Protocol, func(s network.Stream) {
		defer s.Reset()
		wants := make(chan request, 4096)
		go func() {
			defer close(wants)
			r := bufio.NewReader(s)
			for {
				frame, err := readFrame(r, maxRequest)
				if err != nil {
					return
				}
				req, err := decodeRequest(frame)
				if err != nil {
					t.Error(err)
					return
				}
				if n := asked.Add(int64(len(req.cids))); n > most.Load() {
					most.Store(n)
				}
				wants <- req
			}
		}()
		for req := range wants {
			time.Sleep(5 * time.Millisecond)
			for _, c := range req.cids {
				bl, err := there.Get(t.Context(), c)
				if err != nil {
					return
				}
				asked.Add(-1)
				if _, err := s.Write(appendFrame(nil, []byte{isHere}, bl.Data())); err != nil {
					return
				}
			}
		}
	})
	const window = 2 << 20
	s := newSession(t, newExchange(t, b, Config{Blocks: here, Window: window}), here, a)
	if got := readFile(t, s, root); !bytes.Equal(got, data) {
		t.Error("file differs")
	}
	if n := most.Load(); n < 32 || n > window/(16<<10)+urgentRoom {
		t.Errorf("%d blocks were in flight at once", n)
	}
}
