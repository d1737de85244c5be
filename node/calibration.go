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

// The calibration of peers is one record, so that a peer with false claims keeps its factor across restarts of
// this node. It is written at most every minute, and at the end: a kill loses at most a minute of it.
const (
	calibrationRecord = "calibration"
	calibrationEvery  = time.Minute
)

// calibration is the calibration of all peers. network.mu guards it.
type calibration struct {
	scheduler.Calibration
	dirty bool
	saved time.Time
}

func (w *network) loadCalibration() error {
	b, found, err := w.node.store.Lookup(calibrationRecord)
	if err != nil || !found {
		return err
	}
	var factors map[job.DID]float64
	if err := json.Unmarshal(b, &factors); err != nil {
		w.node.log.Warn("read calibration of peers' bids", "err", err)
		return nil
	}
	w.calibration.Restore(factors)
	return nil
}

// observe records how long a peer took compared with its claim.
func (w *network) observe(c scheduler.Calibrate) {
	w.mu.Lock()
	w.calibration.Observe(c.Peer, c.Claimed, c.Actual)
	w.calibration.dirty = true
	due := w.node.clock().Sub(w.calibration.saved) >= calibrationEvery
	w.mu.Unlock()
	if !due {
		return
	}
	if err := w.saveCalibration(); err != nil {
		w.node.log.Warn("save calibration of peers' bids", "err", err)
	}
}

// saveCalibration writes the calibration if it has changed.
func (w *network) saveCalibration() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.calibration.dirty {
		return nil
	}
	b, err := json.Marshal(w.calibration.Snapshot())
	if err == nil {
		err = w.node.store.Commit(context.Background(), store.Batch{Records: []store.Record{{Name: calibrationRecord, Value: b}}})
	}
	if err != nil {
		return fmt.Errorf("save calibration of peers' bids: %w", err)
	}
	w.calibration.dirty, w.calibration.saved = false, w.node.clock()
	return nil
}
