package node

import (
	"errors"
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/node/api"
)

// A job that is dismissed after all leaves nothing, even if its record was about to be written.
func TestDismissedJobLeavesNothing(t *testing.T) {
	n, err := Open(Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	mod := dag.NewBlock(cid.Raw, []byte("module"))
	if err := n.View.session.Put(t.Context(), mod); err != nil {
		t.Fatal(err)
	}
	x, err := n.accept(t.Context(), api.Request{Task: job.Task{ABI: job.ABIWASI, Mod: mod.CID(), Fn: "f", Det: job.Det2, Out: job.OutProfile}}, api.Watch{})
	if err != nil {
		t.Fatal(err)
	}
	x.submitted = true
	err = n.admit(t.Context(), &service{closing: true}, x)
	var e *api.Error
	if !errors.As(err, &e) || e.Code != api.CodeClosing {
		t.Errorf("%v", err)
	}
	n.history.recordLive(x) // as from a timer that had fired before
	if jobs, err := n.List(t.Context()); err != nil || len(jobs) != 0 {
		t.Errorf("%+v, %v", jobs, err)
	}
	if pins, err := n.Pins(t.Context()); err != nil || len(pins) != 0 {
		t.Errorf("%+v, %v", pins, err)
	}
	if _, found, err := n.store.Lookup(submissionPrefix + x.id); err != nil || found {
		t.Errorf("found %v, %v", found, err)
	}
}
