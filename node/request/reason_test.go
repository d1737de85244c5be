package request

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/libp2p/go-libp2p/p2p/net/swarm"

	"github.com/ipfs-liftoff/liftoff/host"
)

func TestReason(t *testing.T) {
	for _, c := range []struct {
		err    error
		want   string
		denied bool
	}{
		{fmt.Errorf("open: %w", &swarm.DialError{Cause: swarm.ErrGaterDisallowedConnection}), "it is not a member of the cluster and not named by --connect", false},
		{fmt.Errorf("ask: %w", &host.DeniedError{Relation: host.OpenPeer, Action: host.ReceiveJobs}), "its relation to this node is open", true},
		{fmt.Errorf("ask: %w", &host.DeniedError{Action: host.ReceiveJobs}), "its relation to this node is unknown", false},
		{fmt.Errorf("open: %w", &swarm.DialError{Cause: swarm.ErrNoAddresses}), "its addresses are unknown", false},
		{fmt.Errorf("open: %w", &swarm.DialError{Cause: swarm.ErrAllDialsFailed}), "it did not answer at any of its addresses", false},
		{fmt.Errorf("ask: %w", context.DeadlineExceeded), "it did not answer in time", false},
		{errors.New("something else"), "something else", false},
	} {
		if got := denied(c.err); got != c.denied {
			t.Errorf("%v: denied is %v", c.err, got)
		}
		if got := Reason(c.err); got != c.want {
			t.Errorf("%v: %q, want %q", c.err, got, c.want)
		}
	}
}
