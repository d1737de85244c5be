package node

import (
	"log/slog"
	"testing"
	"time"

	"github.com/ipfs-liftoff/liftoff/host/store"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/scheduler"
)

// The calibration of a peer with false claims survives a restart, and a damaged record does not prevent a start.
func TestCalibrationIsKept(t *testing.T) {
	n := &Node{store: openStore(t), clock: time.Now}
	const claimant = job.DID("did:key:z6Mkrogue")
	w := &network{node: n}
	for range 9 {
		w.observe(scheduler.Calibrate{Peer: claimant, Claimed: time.Second, Actual: time.Minute})
	}
	if err := w.saveCalibration(); err != nil {
		t.Fatal(err)
	}
	again := &network{node: n}
	if err := again.loadCalibration(); err != nil || again.factor(claimant) < 2 || again.factor(claimant) != w.factor(claimant) {
		t.Errorf("%v, %v; want %v", err, again.factor(claimant), w.factor(claimant))
	}
	n.log = slog.New(slog.DiscardHandler)
	if err := n.store.Commit(t.Context(), store.Batch{Records: []store.Record{{Name: calibrationRecord, Value: []byte("{")}}}); err != nil {
		t.Fatal(err)
	}
	if err := again.loadCalibration(); err != nil || again.factor(claimant) < 2 {
		t.Errorf("damaged record: %v", err)
	}
}
