package host

import (
	"io"
	"sync"
	"testing"

	"github.com/libp2p/go-libp2p/core/network"
)

// TestManyConversations opens as many streams to one peer as a requester with many jobs does, at the same time.
func TestManyConversations(t *testing.T) {
	t.Parallel()
	peers := newCluster(t, 2, nil)
	peers[0].Libp2p().SetStreamHandler("/liftoff/market/1", func(s network.Stream) {
		defer s.Close()
		io.Copy(s, s)
	})
	const many = 200
	var open, end sync.WaitGroup
	open.Add(many)
	for range many {
		end.Go(func() {
			once := sync.OnceFunc(open.Done)
			defer once()
			s, err := peers[1].Libp2p().NewStream(limited(t), peers[0].id, "/liftoff/market/1")
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Close()
			if _, err := s.Write([]byte("x")); err != nil {
				t.Error(err)
			}
			b := make([]byte, 1)
			if _, err := io.ReadFull(s, b); err != nil {
				t.Error(err)
			}
			once()
			open.Wait() // all are open at once
		})
	}
	end.Wait()
}
