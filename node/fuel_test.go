package node

import (
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/ipfs-liftoff/liftoff/host/store"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
)

// The fuel estimate of a module is available to the next process, written when it has changed much, and deleted
// with the module.
func TestFuelIsKept(t *testing.T) {
	n := &Node{store: openStore(t)}
	mod := dag.NewBlock(cid.Raw, []byte("module")).CID()
	learn := func(bytes, fuel uint64) int {
		t.Helper()
		r, err := n.learnFuel(mod, bytes, fuel)
		if err == nil {
			err = n.store.Commit(t.Context(), store.Batch{Records: r})
		}
		if err != nil {
			t.Fatal(err)
		}
		return len(r)
	}
	known := func(bytes uint64) uint64 {
		t.Helper()
		fuel, err := (&Node{store: n.store}).fuelEstimate(mod, bytes)
		if err != nil {
			t.Fatal(err)
		}
		return fuel
	}
	if known(1000) != 0 || learn(1000, 800) != 1 || known(1000) != 800 || known(1<<30) != 0 {
		t.Error("the first run is not kept")
	}
	if learn(1000, 800) != 0 || learn(1000, 820) != 0 || learn(1000, 10_000) != 1 || known(1000) != 405+5000 || learn(1000, 0) != 1 {
		t.Error("the estimate does not follow the runs")
	}
	for _, here := range []bool{true, false} {
		if err := n.dropFuel(t.Context(), func(cid.Cid) bool { return here }); err != nil {
			t.Fatal(err)
		}
		if known(1000) != 0 != here {
			t.Errorf("here %v: %d", here, known(1000))
		}
	}
}
