package node

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// A requester that wants its result kept for no time at all does not take it away from
// under the work that makes it.
func TestRetireWaitsForTheWork(t *testing.T) {
	s := openStore(t)
	synctest.Test(t, func(t *testing.T) {
		p := newProvider(&network{node: &Node{store: s}})
		x := &award{p: p, kept: make(chan struct{})}
		x.ctx, x.cancel = context.WithCancelCause(context.Background())
		p.awards[x.lease] = x
		x.retire(time.Nanosecond)
		time.Sleep(time.Second)
		synctest.Wait()
		if len(p.all()) != 1 || x.ctx.Err() != nil {
			t.Error("it is discarded while it is worked on")
		}
		close(x.kept)
		synctest.Wait()
		if len(p.all()) != 0 || x.ctx.Err() == nil {
			t.Error("it is not discarded")
		}
	})
}
