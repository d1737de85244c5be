package request

import (
	"errors"
	"testing"

	"github.com/ipfs-liftoff/liftoff/scheduler"
)

// A mismatch that is found while the job ends is reported: the output was taken back already.
func TestLateMismatch(t *testing.T) {
	d := &driver{events: make(chan event), over: make(chan struct{})}
	close(d.over)
	mismatch := &mismatchError{[]Mismatch{{Peer: "rogue", Stream: 1, Shown: true}}}
	d.lostAfter(t.Context(), nil, "rogue", scheduler.Lease{}, mismatch, 0)
	d.lostAfter(t.Context(), nil, "other", scheduler.Lease{}, errors.New("its stream broke"), 0)
	if len(d.late) != 1 || d.late[0].Peer != "rogue" {
		t.Errorf("late mismatches: %+v", d.late)
	}
}
