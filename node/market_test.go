package node_test

import (
	"testing"

	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

// The data is on one of five peers: the job goes there, no input crosses the wire, and
// the result comes back, checked and kept.
func TestJobGoesToItsData(t *testing.T) {
	f := fleet(t, 5, nil)
	holder, asker := f[3], f[1]
	in := addFile(t, holder, 4<<20)
	mod := put(t, asker.Session, "module")
	j, events, _, err := asker.run(t, api.Request{Task: task(mod, "read", in)})
	if err != nil {
		t.Fatalf("%v\n%s", err, texts(events))
	}
	t.Log("\n" + texts(events))
	for _, b := range j.Placement.Bids {
		t.Logf("%+v", b)
	}
	if j.Where != holder.did || !j.Remote || j.State != api.JobDone {
		t.Errorf("it ran at %s: %+v", j.Where, j)
	}
	r := receipt(t, asker, j.Receipt)
	if r.Issuer != job.DID(holder.did) || r.Meta.Fetched > 100 { // the module is 6 bytes
		t.Errorf("%+v", r)
	}
	if j.Placement == nil || len(j.Placement.Bids) != 5 {
		t.Errorf("the record of the placement: %+v", j.Placement)
	}
	if has, err := asker.Data.Has(t.Context(), in); err != nil || has {
		t.Errorf("the input has come to the requester: %v, %v", has, err)
	}
	if _, err := asker.Upkeep.Collect(t.Context()); err != nil {
		t.Fatal(err)
	}
	if b, err := asker.Data.Get(t.Context(), j.Result.Root); err != nil || string(b) != "read" {
		t.Errorf("the output: %q, %v", b, err)
	}
	found, err := asker.Jobs.Find(t.Context(), j.ID)
	if err != nil || found.Where != holder.did || len(found.Events) != len(events) {
		t.Errorf("%+v, %v", found, err)
	}
}
