package node

import (
	"context"
	"crypto/rand"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/ipfs-liftoff/liftoff/job"
	"github.com/ipfs-liftoff/liftoff/scheduler"
)

// slots is a source of run slots.
type slots interface {
	Acquire(ctx context.Context, n int64) error
	Release(n int64)
}

var (
	_ slots = (*semaphore.Weighted)(nil)
	_ slots = (*ownSlot)(nil)
	_ slots = reserved{}
)

// reserved is the source for a run that already has a slot.
type reserved struct{}

func (reserved) Acquire(context.Context, int64) error { return nil }
func (reserved) Release(int64)                        { /* the lease is released instead */ }

// admissionQueue is a node's scheduler.Admission behind a lock, with the awards that wait for a slot.
type admissionQueue struct {
	clock   func() time.Time
	changed func() // called, without the lock, when the free capacity changes
	wake    chan struct{}

	mu        sync.Mutex
	admission *scheduler.Admission
	held      map[scheduler.Lease]*reservation
}

// reservation is a lease in the queue.
type reservation struct {
	started chan struct{} // closed when the lease has its slot
	expired func()        // called, without the lock, when the lease expires
}

func newAdmissionQueue(cfg scheduler.AdmissionConfig, clock func() time.Time, changed func()) *admissionQueue {
	return &admissionQueue{
		clock: clock, changed: changed, wake: make(chan struct{}, 1),
		admission: scheduler.NewAdmission(cfg), held: map[scheduler.Lease]*reservation{},
	}
}

// takeAsk takes one token from a requester's ask rate limit. ok is false, with a refusing bid, when there is no
// token left.
func (b *admissionQueue) takeAsk(from job.DID) (job.Bid, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.admission.Ask(from, b.clock())
}

// load returns the node's load as a job with that many bytes of memory sees it.
func (b *admissionQueue) load(memory uint64) scheduler.Load {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.admission.Load(memory, b.clock())
}

// reserve adds a reservation, or returns a *scheduler.Decline. started is closed when it has its slot.
func (b *admissionQueue) reserve(r scheduler.Reservation, expired func()) (started <-chan struct{}, start time.Duration, err error) {
	b.mu.Lock()
	g, err := b.admission.Accept(r, b.clock())
	if err != nil {
		b.mu.Unlock()
		return nil, 0, err
	}
	h := &reservation{started: make(chan struct{}), expired: expired}
	b.held[r.Lease] = h
	if g.Started {
		close(h.started)
	}
	b.mu.Unlock()
	b.notify()
	return h.started, g.Start, nil
}

func (b *admissionQueue) renew(l scheduler.Lease) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.admission.Renew(l, b.clock())
}

func (b *admissionQueue) release(l scheduler.Lease) {
	b.mu.Lock()
	delete(b.held, l)
	b.start(b.admission.Release(l, b.clock()))
	b.mu.Unlock()
	b.notify()
}

// start signals the reservations that have got a slot. b.mu is held.
func (b *admissionQueue) start(leases []scheduler.Lease) {
	for _, l := range leases {
		if h := b.held[l]; h != nil {
			close(h.started)
		}
	}
}

func (b *admissionQueue) notify() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
	if b.changed != nil {
		b.changed()
	}
}

// expireLeases ends expired leases until ctx ends.
func (b *admissionQueue) expireLeases(ctx context.Context) error {
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-b.wake:
		case <-t.C:
		}
		if at, ok := b.expire(); ok {
			t.Reset(max(time.Millisecond, at.Sub(b.clock())))
		}
	}
}

// expire ends the expired leases and returns when the next one expires.
func (b *admissionQueue) expire() (time.Time, bool) {
	b.mu.Lock()
	ended, started := b.admission.Expire(b.clock())
	var callbacks []func()
	for _, l := range ended {
		if h := b.held[l]; h != nil && h.expired != nil {
			callbacks = append(callbacks, h.expired)
		}
		delete(b.held, l)
	}
	b.start(started)
	at, ok := b.admission.Next()
	b.mu.Unlock()
	for _, f := range callbacks {
		f()
	}
	if len(ended) > 0 && b.changed != nil {
		b.changed()
	}
	return at, ok
}

// ownSlot is a slot source for one of this node's own jobs. A run whose output is not being read releases its
// slot for that time, and then waits for another one.
type ownSlot struct {
	queue *admissionQueue
	job   job.Order
	held  scheduler.Lease
}

func (o *ownSlot) Acquire(ctx context.Context, _ int64) error {
	var l scheduler.Lease
	rand.Read(l[:])
	started, _, err := o.queue.reserve(scheduler.Reservation{Lease: l, Job: o.job, Own: true}, nil)
	if err != nil {
		return err
	}
	select {
	case <-started:
		o.held = l
		return nil
	case <-ctx.Done():
		o.queue.release(l)
		return ctx.Err()
	}
}

func (o *ownSlot) Release(int64) { o.queue.release(o.held) }
