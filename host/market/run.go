package market

import (
	"context"
	"errors"
	"io"
	"sync"
)

// Run is the provider's side of one awarded job: the node reports its progress to it, and conversations about it read
// that. It outlives its conversations. Its methods may be called concurrently; none waits for a peer.
type Run struct {
	cfg RunConfig

	mu       sync.Mutex
	progress Heartbeat
	end      *ending
	changed  chan struct{} // closed, and replaced, when the phase changes or the run ends
	viewer   *viewer       // the latest
	closed   bool          // Closed was called because the requester closed
}

// RunConfig has the callbacks of a Run.
type RunConfig struct {
	// Logs writes all past and future output of the guest, in order, until the end. Each conversation calls it once,
	// and its writes wait for the peer: Logs reads from stored output, so the guest does not wait for it. Nil: no
	// output.
	Logs func(ctx context.Context, stdout, stderr io.Writer) error
	// Renewed is called when the requester has sent a message: the lease starts again.
	Renewed func()
	// Closed is called when the requester has closed the conversation: the run must end, and its result may be
	// deleted. It is called once.
	Closed func(Why)
	// Away is called when the last conversation broke: the requester is away until an Attach.
	Away func()
}

// ending is the end of a run.
type ending struct {
	done   *doneFrame
	failed *failedFrame
	car    func(ctx context.Context, w io.Writer) error
}

// NewRun returns a run that has just been accepted.
func NewRun(cfg RunConfig) *Run {
	return &Run{cfg: cfg, progress: Heartbeat{Phase: "queue"}, changed: make(chan struct{})}
}

// Heartbeat sets the progress of the run. A new phase is sent at once, other changes with the next heartbeat.
func (r *Run) Heartbeat(b Heartbeat) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.end != nil {
		return
	}
	fresh := b.Phase != r.progress.Phase
	r.progress = b
	if fresh {
		r.wake()
	}
}

// Done ends the run with an Outcome. receipt is the signed envelope, outcome the Outcome's bytes. car writes a CAR
// (docs/protocol.md has its content); each conversation that gets so far calls it. The guest's output must have ended
// before. Only the first call of Done or Fail has an effect.
func (r *Run) Done(receipt, outcome []byte, car func(ctx context.Context, w io.Writer) error) {
	r.finish(ending{done: &doneFrame{receipt, outcome}, car: car})
}

// Fail ends the run without an Outcome.
func (r *Run) Fail(e FailedError) {
	r.finish(ending{failed: &failedFrame{e.Code, clip(e.Why), e.Final}})
}

func (r *Run) finish(e ending) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.end == nil {
		r.end = &e
		r.wake()
	}
}

func (r *Run) wake() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// state returns the latest heartbeat, the end or nil, and a channel that is closed at the next change.
func (r *Run) state() (Heartbeat, *ending, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.progress, r.end, r.changed
}

var errSuperseded = errors.New("replaced by a later attach of the requester")

// attach makes v the run's viewer and ends the previous one.
func (r *Run) attach(v *viewer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.viewer != nil {
		r.viewer.cancel(errSuperseded)
	}
	r.viewer = v
}

// detach reports the end of v's conversation to the node, unless a later one replaced it.
func (r *Run) detach(v *viewer, why Why) {
	r.mu.Lock()
	last := r.viewer == v
	if last {
		r.viewer = nil
	}
	first := !r.closed
	if why != Gone {
		r.closed = true
	}
	r.mu.Unlock()
	switch {
	case why != Gone && first && r.cfg.Closed != nil:
		r.cfg.Closed(why)
	case why == Gone && last && first && r.cfg.Away != nil:
		r.cfg.Away()
	}
}
