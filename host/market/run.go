package market

import (
	"context"
	"errors"
	"io"
	"sync"
)

// Run is a provider's side of one awarded job: what the node says of it, for whoever
// has a conversation about it. It outlives its conversations. Its methods may be called
// from several goroutines; none waits for a peer.
type Run struct {
	cfg RunConfig

	mu      sync.Mutex
	beat    Heartbeat
	end     *ending
	changed chan struct{} // closed, and replaced, when the phase changes or the run ends
	viewer  *viewer       // the latest
	over    bool          // Closed was called with a requester's word
}

// RunConfig is how a Run reaches the node.
type RunConfig struct {
	// Logs writes all that the guest has printed and will print, in its order, until the
	// end. Each conversation calls it once, and its writes wait for the peer: it reads
	// from where the output is kept, and the guest does not wait for it. Nil: nothing.
	Logs func(ctx context.Context, stdout, stderr io.Writer) error
	// Renewed is called when the requester was heard: the lease begins anew.
	Renewed func()
	// Closed is called when the requester has ended the conversation: the run is to end,
	// if it has not, and its result to be forgotten. It is called once.
	Closed func(Why)
	// Away is called when the last conversation broke: nobody listens until an Attach.
	Away func()
}

// ending is what a run came to.
type ending struct {
	done   *doneFrame
	failed *failedFrame
	car    func(ctx context.Context, w io.Writer) error
}

// NewRun returns a run that has just been accepted.
func NewRun(cfg RunConfig) *Run {
	return &Run{cfg: cfg, beat: Heartbeat{Phase: "queue"}, changed: make(chan struct{})}
}

// Beat says how far the run is. A new phase is sent at once, the rest with the next
// sign of life.
func (r *Run) Heartbeat(b Heartbeat) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.end != nil {
		return
	}
	fresh := b.Phase != r.beat.Phase
	r.beat = b
	if fresh {
		r.wake()
	}
}

// Done ends the run with an Outcome. Receipt is the signed envelope, outcome the
// Outcome's bytes; car writes a CAR (see docs/protocol.md for what is in it) and is
// called by each conversation that gets so far. What the guest printed has come to its
// end before. Only the first of Done and Fail counts.
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

// state returns the latest of everything, and what tells of a change.
func (r *Run) state() (Heartbeat, *ending, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.beat, r.end, r.changed
}

var errSuperseded = errors.New("the requester has attached anew")

// attach makes v the run's viewer and ends the one before.
func (r *Run) attach(v *viewer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.viewer != nil {
		r.viewer.cancel(errSuperseded)
	}
	r.viewer = v
}

// detach tells the node how v's conversation ended, unless another one goes on.
func (r *Run) detach(v *viewer, why Why) {
	r.mu.Lock()
	last := r.viewer == v
	if last {
		r.viewer = nil
	}
	first := !r.over
	if why != Gone {
		r.over = true
	}
	r.mu.Unlock()
	switch {
	case why != Gone && first && r.cfg.Closed != nil:
		r.cfg.Closed(why)
	case why == Gone && last && first && r.cfg.Away != nil:
		r.cfg.Away()
	}
}
