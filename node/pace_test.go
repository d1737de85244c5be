package node

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/ipfs-liftoff/liftoff/node/api"
	"github.com/ipfs-liftoff/liftoff/node/spool"
)

// stuckWriter is a client that reads nothing until the channel is closed.
type stuckWriter chan struct{}

func (s stuckWriter) Write(b []byte) (int, error) {
	<-s
	return len(b), nil
}

// A client that was cancelled before it had received all output gets an error.
func TestEndBeforeAllIsShown(t *testing.T) {
	for _, c := range []struct {
		name  string
		reads bool
	}{{"output is read", true}, {"no output is read", false}} {
		t.Run(c.name, func(t *testing.T) {
			stuck := make(stuckWriter)
			x := &running{spool: new(spool.Spool), clock: time.Now}
			if c.reads {
				x.watch = api.Watch{Stdout: stuck}
			}
			p, err := x.pace(func(error) {})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := p.output().Stdout.Write([]byte("hello")); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancelCause(t.Context())
			cancel(errCancelled)
			if err := p.end(ctx); errors.Is(err, errCancelled) != c.reads {
				t.Errorf("%v", err)
			}
			close(stuck)
		})
	}
}
