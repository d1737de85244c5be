package request

import (
	"errors"
	"testing"

	"github.com/ipfs-liftoff/liftoff/scheduler"
)

// A lie that is found out while the job ends is told: what was shown is taken back already.
func TestLateLie(t *testing.T) {
	d := &driver{events: make(chan event), over: make(chan struct{})}
	close(d.over)
	lie := &mismatchError{[]Mismatch{{Peer: "liar", Stream: 1, Shown: true}}}
	d.lostAfter(t.Context(), nil, "liar", scheduler.Lease{}, lie, 0)
	d.lostAfter(t.Context(), nil, "other", scheduler.Lease{}, errors.New("its stream broke"), 0)
	if len(d.late) != 1 || d.late[0].Peer != "liar" {
		t.Errorf("told late: %+v", d.late)
	}
}
