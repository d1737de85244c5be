package node_test

import (
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

// An input whose bytes do not match its codec is content: a peer that links it as its output has a result, which
// the requester keeps, verifies and caches.
func TestMalformedInputIsARemoteResult(t *testing.T) {
	f := fleet(t, 2, nil)
	bad := dag.NewBlock(cid.DagProtobuf, []byte("not dag-pb"))
	for _, peer := range f {
		if err := peer.Blocks.Put(t.Context(), bad); err != nil {
			t.Fatal(err)
		}
	}
	r := api.Request{Task: task(put(t, f[0].Session, "module"), "same", bad.CID()), Where: f[1].did}
	j, events, _, err := f[0].run(t, r)
	if err != nil {
		t.Fatalf("%v\n%s", err, texts(events))
	}
	if !j.Remote || j.Outcome == nil || j.Outcome.State != job.OK || j.Outcome.Root != bad.CID() {
		t.Errorf("%+v", j)
	}
	if j, _, _, err = f[1].run(t, api.Request{Task: r.Task}); err != nil || !j.Cached {
		t.Errorf("again: %+v, %v", j, err)
	}
}
