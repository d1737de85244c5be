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

// slots is where the places of runs come from.
type slots interface {
	Acquire(ctx context.Context, n int64) error
	Release(n int64)
}

var (
	_ slots = (*semaphore.Weighted)(nil)
	_ slots = (*ownSlot)(nil)
	_ slots = reserved{}
)

// reserved is the place of a run that has one already.
type reserved struct{}

func (reserved) Acquire(context.Context, int64) error { return nil }
func (reserved) Release(int64)                        { /* its lease is released */ }

// book is a peer's admission behind its lock, with those who wait for a slot.
type book struct {
	clock   func() time.Time
	changed func() // called, without the lock, when there is more or less room
	wake    chan struct{}

	mu        sync.Mutex
	admission *scheduler.Admission
	held      map[scheduler.Lease]*reservation
}

// reservation is a lease in the book.
type reservation struct {
	started chan struct{} // closed when it has its slot
	expired func()        // called, without the lock, when its time is over
}

func newBook(cfg scheduler.AdmissionConfig, clock func() time.Time, changed func()) *book {
	return &book{
		clock: clock, changed: changed, wake: make(chan struct{}, 1),
		admission: scheduler.NewAdmission(cfg), held: map[scheduler.Lease]*reservation{},
	}
}

// ask takes a token of a requester.
func (b *book) ask(from job.DID) (job.Bid, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.admission.Ask(from, b.clock())
}

// load says how busy the peer is for a job of so many bytes of memory.
func (b *book) load(memory uint64) scheduler.Load {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.admission.Load(memory, b.clock())
}

// reserve makes a reservation, or returns a *scheduler.Decline. started is closed when
// it has its slot.
func (b *book) reserve(r scheduler.Reservation, expired func()) (started <-chan struct{}, start time.Duration, err error) {
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
	b.tell()
	return h.started, g.Start, nil
}

func (b *book) renew(l scheduler.Lease) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.admission.Renew(l, b.clock())
}

func (b *book) release(l scheduler.Lease) {
	b.mu.Lock()
	delete(b.held, l)
	b.start(b.admission.Release(l, b.clock()))
	b.mu.Unlock()
	b.tell()
}

// start tells those who have got a slot. b.mu is held.
func (b *book) start(leases []scheduler.Lease) {
	for _, l := range leases {
		if h := b.held[l]; h != nil {
			close(h.started)
		}
	}
}

func (b *book) tell() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
	if b.changed != nil {
		b.changed()
	}
}

// keep ends the leases whose time is over, until ctx ends.
func (b *book) keep(ctx context.Context) error {
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

// expire ends what is over and returns when there is something to end next.
func (b *book) expire() (time.Time, bool) {
	b.mu.Lock()
	ended, started := b.admission.Expire(b.clock())
	var tell []func()
	for _, l := range ended {
		if h := b.held[l]; h != nil && h.expired != nil {
			tell = append(tell, h.expired)
		}
		delete(b.held, l)
	}
	b.start(started)
	at, ok := b.admission.Next()
	b.mu.Unlock()
	for _, f := range tell {
		f()
	}
	if len(ended) > 0 && b.changed != nil {
		b.changed()
	}
	return at, ok
}

// ownSlot is a slot for one of this node's own jobs. A run whose output nobody reads
// gives it back for a while, and then waits for one anew.
type ownSlot struct {
	book *book
	job  job.Order
	held scheduler.Lease
}

func (o *ownSlot) Acquire(ctx context.Context, _ int64) error {
	var l scheduler.Lease
	rand.Read(l[:])
	started, _, err := o.book.reserve(scheduler.Reservation{Lease: l, Job: o.job, Own: true}, nil)
	if err != nil {
		return err
	}
	select {
	case <-started:
		o.held = l
		return nil
	case <-ctx.Done():
		o.book.release(l)
		return ctx.Err()
	}
}

func (o *ownSlot) Release(int64) { o.book.release(o.held) }
