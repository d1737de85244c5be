package node_test

import (
	"strings"
	"testing"

	"github.com/ipfs-liftoff/liftoff/node/api"
)

// TestPeerMayNotReceiveJobs: a job for a peer that this node does not allow to receive jobs ends after one
// round, and the reason names the relation.
func TestPeerMayNotReceiveJobs(t *testing.T) {
	for _, test := range []struct{ relation, why string }{
		{"open", "its relation to this node is open"},
		{"granted", "its relation to this node is granted"},
		{"content", "its relation to this node is content"},
		{"revoked", ""}, // unknown from now on, like a member that has not connected yet: it is tried again
	} {
		t.Run(test.relation, func(t *testing.T) {
			t.Parallel()
			relation := test.relation
			if relation == "revoked" {
				relation = "member"
			}
			x := newPair(t, relation)
			if test.relation == "revoked" {
				if err := x.n.Cluster.Revoke(t.Context(), string(x.b.did)); err != nil {
					t.Fatal(err)
				}
			}
			rounds := 0
			w := api.Watch{Event: func(e api.Event) {
				if e.Kind == api.EventAsked {
					rounds++
				}
			}}
			r := api.Request{Task: task(put(t, x.n.Session, "module"), "hello"), Where: string(x.b.did)}
			j, err := x.n.Jobs.Run(t.Context(), r, w)
			if codeOf(err) != api.CodeNoPeer {
				t.Fatal(err)
			}
			contains(t, err.(*api.Error).Hint, "liftoff peers")
			if test.why != "" {
				if rounds != 1 || !strings.HasSuffix(err.Error(), ": this node does not send it jobs: "+test.why) {
					t.Errorf("%d rounds, %v", rounds, err)
				}
				for _, p := range j.Placement.Bids {
					if p.Peer == string(x.b.did) && p.Code != "denied" {
						t.Errorf("%+v", p)
					}
				}
			}
			if x.b.wasAsked() > 0 {
				t.Error("the peer was asked")
			}
		})
	}
}
