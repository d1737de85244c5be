package node

import (
	"context"
	"io"
	"sync"
	"time"
)

// stallAfter is how long a write of output may block before the run releases its slot.
const stallAfter = 50 * time.Millisecond

// runSlot is a run's slot among those that execute at once. While the guest's output is not being read, the slot
// is released to other runs: in `liftoff run a | xargs liftoff run b` the first run waits for the pipe, the pipe
// for the second run, and the second run for a slot.
type runSlot struct {
	ctx         context.Context
	sem         slots
	stall       *time.Timer
	stopAbandon func() bool // unregisters abandon

	mu      sync.Mutex
	held    bool
	writing bool
	err     error // the writers' first error
}

// acquireSlot waits for a free slot.
func acquireSlot(ctx context.Context, sem slots) (*runSlot, error) {
	if err := sem.Acquire(ctx, 1); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, err
	}
	p := &runSlot{ctx: ctx, sem: sem, held: true}
	p.stall = time.AfterFunc(time.Hour, p.releaseStalled)
	p.stall.Stop()
	p.stopAbandon = context.AfterFunc(ctx, p.abandon)
	return p, nil
}

// abandon releases the slot of a cancelled run, so that other runs need not wait for its end.
func (p *runSlot) abandon() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drop()
}

func (p *runSlot) releaseStalled() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.writing {
		p.drop()
	}
}

// drop releases the slot. p.mu is held.
func (p *runSlot) drop() {
	if p.held {
		p.held = false
		p.sem.Release(1)
	}
}

// close releases the slot for good.
func (p *runSlot) close() {
	p.stall.Stop()
	p.stopAbandon()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.writing = false
	p.drop()
}

// writeErr returns the writers' first error.
func (p *runSlot) writeErr() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// writer wraps one of a run's writers, which are not called at the same time. A nil w stays nil.
func (p *runSlot) writer(w io.Writer) io.Writer {
	if w == nil {
		return nil
	}
	return slotWriter{p, w}
}

type slotWriter struct {
	p *runSlot
	w io.Writer
}

func (w slotWriter) Write(b []byte) (int, error) {
	p := w.p
	p.mu.Lock()
	p.writing = true
	p.mu.Unlock()
	p.stall.Reset(stallAfter)

	n, err := w.w.Write(b)

	p.stall.Stop()
	p.mu.Lock()
	p.writing = false
	if err != nil && p.err == nil {
		p.err = err
	}
	lent := !p.held
	p.mu.Unlock()
	if lent {
		if e := p.sem.Acquire(p.ctx, 1); e != nil {
			if cause := context.Cause(p.ctx); cause != nil {
				e = cause
			}
			return n, e
		}
		p.mu.Lock()
		p.held = true
		p.mu.Unlock()
	}
	return n, err
}
