package node

import (
	"context"
	"io"
	"sync"
	"time"
)

// stallAfter is how long a run's output may block before the run gives up its place.
const stallAfter = 50 * time.Millisecond

// place is a run's place among those that execute at once. While what the guest prints
// is not being read, it is lent to others: in `liftoff run a | xargs liftoff run b` the
// first waits for the pipe, the pipe for the second, and the second for a place.
type place struct {
	ctx    context.Context
	sem    slots
	stall  *time.Timer
	forget func() bool // stops abandon

	mu      sync.Mutex
	held    bool
	writing bool
	err     error // the first of the writers
}

// takePlace waits for its turn.
func takePlace(ctx context.Context, sem slots) (*place, error) {
	if err := sem.Acquire(ctx, 1); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, err
	}
	p := &place{ctx: ctx, sem: sem, held: true}
	p.stall = time.AfterFunc(time.Hour, p.lend)
	p.stall.Stop()
	p.forget = context.AfterFunc(ctx, p.abandon)
	return p, nil
}

// abandon gives up the place of a run that was cancelled: others need not wait until it
// has ended.
func (p *place) abandon() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drop()
}

func (p *place) lend() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.writing {
		p.drop()
	}
}

// drop gives the place up. p.mu is held.
func (p *place) drop() {
	if p.held {
		p.held = false
		p.sem.Release(1)
	}
}

// leave gives the place up for good.
func (p *place) leave() {
	p.stall.Stop()
	p.forget()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.writing = false
	p.drop()
}

// writeErr is the first error of a writer.
func (p *place) writeErr() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// writer wraps one of a run's writers, which are not called at the same time. A nil w
// stays nil.
func (p *place) writer(w io.Writer) io.Writer {
	if w == nil {
		return nil
	}
	return placeWriter{p, w}
}

type placeWriter struct {
	p *place
	w io.Writer
}

func (w placeWriter) Write(b []byte) (int, error) {
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
