package node

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/ipfs-liftoff/liftoff/host/store"
	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/scheduler"
)

// What peers' claims were worth so far is one record, so that a liar does not begin anew
// whenever this node does. It is written now and then, and at the end: who is killed
// forgets a minute of it.
const (
	creditRecord = "calibration"
	creditEvery  = time.Minute
)

// credit is what the claims of peers are worth. It is used under network.mu.
type credit struct {
	scheduler.Calibration
	dirty bool
	saved time.Time
}

func (w *network) loadCredit() error {
	b, found, err := w.node.store.Lookup(creditRecord)
	if err != nil || !found {
		return err
	}
	var factors map[job.DID]float64
	if err := json.Unmarshal(b, &factors); err != nil {
		w.node.log.Warn("what was known of peers' claims cannot be read", "err", err)
		return nil
	}
	w.calibration.Restore(factors)
	return nil
}

// observe takes note of how long a peer took.
func (w *network) observe(c scheduler.Calibrate) {
	w.mu.Lock()
	w.calibration.Observe(c.Peer, c.Claimed, c.Actual)
	w.calibration.dirty = true
	due := w.node.clock().Sub(w.calibration.saved) >= creditEvery
	w.mu.Unlock()
	if !due {
		return
	}
	if err := w.saveCredit(); err != nil {
		w.node.log.Warn("what peers' claims are worth is not written down", "err", err)
	}
}

// saveCredit writes down what has changed.
func (w *network) saveCredit() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.calibration.dirty {
		return nil
	}
	b, err := json.Marshal(w.calibration.Snapshot())
	if err == nil {
		err = w.node.store.Commit(context.Background(), store.Batch{Records: []store.Record{{Name: creditRecord, Value: b}}})
	}
	if err != nil {
		return fmt.Errorf("keep what peers' claims are worth: %w", err)
	}
	w.calibration.dirty, w.calibration.saved = false, w.node.clock()
	return nil
}
