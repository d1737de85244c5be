package request

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/libp2p/go-libp2p/p2p/net/swarm"
)

func TestReason(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{fmt.Errorf("open: %w", &swarm.DialError{Cause: swarm.ErrGaterDisallowedConnection}), "it is not a member of the fence, and no --connect names it"},
		{fmt.Errorf("open: %w", &swarm.DialError{Cause: swarm.ErrNoAddresses}), "no address of it is known"},
		{fmt.Errorf("open: %w", &swarm.DialError{Cause: swarm.ErrAllDialsFailed}), "it answers at none of its addresses"},
		{fmt.Errorf("ask: %w", context.DeadlineExceeded), "it does not answer"},
		{errors.New("something else"), "something else"},
	} {
		if got := Reason(c.err); got != c.want {
			t.Errorf("%v: %q, want %q", c.err, got, c.want)
		}
	}
}
