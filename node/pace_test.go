package node

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/ipfs-liftoff/liftoff/node/api"
	"github.com/ipfs-liftoff/liftoff/node/spool"
)

// stuckWriter is a client that reads nothing until it is let go.
type stuckWriter chan struct{}

func (s stuckWriter) Write(b []byte) (int, error) {
	<-s
	return len(b), nil
}

// A client that was cancelled before it had all that was printed is told so: what it has
// is not the whole.
func TestEndBeforeAllIsShown(t *testing.T) {
	for _, c := range []struct {
		name string
		look bool
	}{{"somebody looks", true}, {"nobody looks", false}} {
		t.Run(c.name, func(t *testing.T) {
			let := make(stuckWriter)
			x := &running{spool: new(spool.Spool), clock: time.Now}
			if c.look {
				x.watch = api.Watch{Stdout: let}
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
			if err := p.end(ctx); errors.Is(err, errCancelled) != c.look {
				t.Errorf("%v", err)
			}
			close(let)
		})
	}
}
