package scheduler

import (
	"fmt"
	"slices"
	"time"

	"github.com/ipfs-liftoff/liftoff/internal/units"
	"github.com/ipfs-liftoff/liftoff/job"
)

// AdmissionConfig bounds an Admission. The zero value of each field is its default.
type AdmissionConfig struct {
	Slots        int     // jobs that run at once: 1
	Memory       uint64  // bytes that they may use together: no bound
	Queue        int     // jobs that may wait for a slot: 4 for each slot; negative: none
	PerRequester int     // running and waiting jobs of one requester: all slots and half the queue
	Rate         float64 // asks per second of one requester: 10
	Burst        int     // asks at once of one requester: 20
}

// Admission is a provider's book: which jobs have a slot, which wait for one, until when
// each lease lives. It admits and never exceeds what it was given: slots, memory, the
// queue. This node's own jobs go through it too.
type Admission struct {
	cfg     AdmissionConfig
	leases  map[Lease]*entry
	running []*entry // in the order in which they started
	waiting []*entry // in the order in which they will start
	memory  uint64   // of the running ones
	mean    time.Duration
	asks    buckets
	seen    replays
}

// Reservation is an Award as the book needs it.
type Reservation struct {
	Lease  Lease
	Job    job.Order     // its issuer, nonce, times, limits and priority are looked at
	For    time.Duration // how long the lease lives without a Renew; zero: until Release
	Queue  time.Duration // what was bid; zero: a free slot
	Expect time.Duration // the fetch and the run that were bid; zero: unknown
	Own    bool          // this node's own job: no nonce, no share, no queue bound
}

// Grant is what Accept gives.
type Grant struct {
	Started bool          // it has its slot now; else Release or Expire will name its lease
	Start   time.Duration // estimate until it has one
}

// Decline is why an Award was not accepted. It is an error.
type Decline struct {
	Code  string        // a Refuse constant of job
	Why   string        // a sentence about the peer
	Queue time.Duration // not zero: it would still take the job, but only this much later
}

func (d *Decline) Error() string { return d.Why }

type entry struct {
	Reservation
	accepted time.Time
	started  time.Time // zero: it waits
	expires  time.Time // zero: never
	memory   uint64
}

// MaxLeaseFor is the longest life of a lease between two renewals, whoever asks.
const MaxLeaseFor = time.Minute

// ClockSkew is how far the clocks of two peers may differ.
const ClockSkew = 5 * time.Minute

// NewAdmission opens an empty book.
func NewAdmission(cfg AdmissionConfig) *Admission {
	cfg.Slots = max(cfg.Slots, 1)
	cfg.Queue = max(orDefault(cfg.Queue, 4*cfg.Slots), 0)
	cfg.PerRequester = orDefault(cfg.PerRequester, cfg.Slots+(cfg.Queue+1)/2)
	return &Admission{
		cfg:    cfg,
		leases: map[Lease]*entry{},
		asks:   newBuckets(orDefault(cfg.Rate, 10), orDefault(cfg.Burst, 20)),
		seen:   newReplays(),
	}
}

// Ask takes one token of a requester, before any work is done for it. With none left
// it returns false and the refusal to answer with.
func (a *Admission) Ask(from job.DID, now time.Time) (job.Bid, bool) {
	if a.asks.take(from, now) {
		return job.Bid{}, true
	}
	return Refuse(job.RefuseRate, fmt.Sprintf("it takes %g asks a second of one requester", a.asks.rate)), false
}

// Timely returns the code and the sentence to refuse j with when it has expired, or
// comes from a clock too far ahead; "" when it is fine.
func Timely(j job.Order, now time.Time) (code, why string) {
	switch ms := now.UnixMilli(); {
	case j.Expires+ClockSkew.Milliseconds() < ms:
		return job.RefuseExpired, "the job has expired"
	case j.Issued-ClockSkew.Milliseconds() > ms:
		return job.RefuseExpired, "its clock is more than 5 minutes behind that of the requester"
	}
	return "", ""
}

// Accept reserves a slot, or a place in the queue, or returns a *Decline. The same
// (issuer, nonce) is accepted once.
func (a *Admission) Accept(r Reservation, now time.Time) (Grant, error) {
	e := &entry{Reservation: r, accepted: now, memory: memoryOf(r.Job)}
	if d := a.check(e, now); d != nil {
		return Grant{}, d
	}
	load := a.Load(e.memory, now)
	if !r.Own {
		if d := a.room(r, load); d != nil {
			return Grant{}, d
		}
		if !a.seen.add(r.Job, now) {
			return Grant{}, &Decline{Code: job.RefuseRate, Why: "the requester has too many jobs that have not expired yet"}
		}
	}
	if r.For > 0 {
		e.For = min(r.For, MaxLeaseFor)
		e.expires = now.Add(e.For)
	}
	a.leases[r.Lease] = e
	a.enqueue(e)
	return Grant{Started: slices.Contains(a.start(now), r.Lease), Start: load.Queue}, nil
}

// check says what is wrong with the Award itself.
func (a *Admission) check(e *entry, now time.Time) *Decline {
	if _, ok := a.leases[e.Lease]; ok {
		return &Decline{Code: job.RefuseReplay, Why: "it has this lease already"}
	}
	if a.cfg.Memory > 0 && e.memory > a.cfg.Memory {
		return &Decline{Code: job.RefuseMemory, Why: fmt.Sprintf("it has %s of memory for jobs, the job may use %s", units.Bytes(a.cfg.Memory), units.Bytes(e.memory))}
	}
	if e.Own {
		return nil
	}
	if code, why := Timely(e.Job, now); code != "" {
		return &Decline{Code: code, Why: why}
	}
	if a.seen.has(e.Job, now) {
		return &Decline{Code: job.RefuseReplay, Why: "the job was awarded to it before"}
	}
	return nil
}

// room says whether one more job fits, and is still as good as what was bid.
func (a *Admission) room(r Reservation, load Load) *Decline {
	if load.Full {
		return &Decline{Code: job.RefuseBusy, Why: "no slot is free and its queue is full"}
	}
	if n := a.of(r.Job.Issuer); n >= a.cfg.PerRequester {
		return &Decline{Code: job.RefuseBusy, Why: fmt.Sprintf("it has %s of this requester, which is its share", count(n, "job"))}
	}
	if load.Queue > 2*r.Queue+busier {
		return &Decline{
			Code: job.RefuseBusy, Queue: load.Queue,
			Why: fmt.Sprintf("it got busier: it would start in %s, its bid said %s", round(load.Queue), round(r.Queue)),
		}
	}
	return nil
}

// busier is how much longer the queue may be than twice what was bid.
const busier = 50 * time.Millisecond

func (a *Admission) of(issuer job.DID) (n int) {
	for _, e := range a.leases {
		if e.Job.Issuer == issuer && !e.Own {
			n++
		}
	}
	return n
}

// Renew gives a lease its time again; false: there is no such lease any more.
func (a *Admission) Renew(l Lease, now time.Time) bool {
	e, ok := a.leases[l]
	if ok && e.For > 0 {
		e.expires = now.Add(e.For)
	}
	return ok
}

// Release ends a lease, whether its job ran or waited, and returns the leases that have
// got a slot by it. A lease that is not known is fine.
func (a *Admission) Release(l Lease, now time.Time) (started []Lease) {
	if e, ok := a.leases[l]; ok {
		a.drop(e, now)
	}
	return a.start(now)
}

// Expire ends the leases whose time is over, and returns them, to be stopped, and the
// ones that have got a slot by it.
func (a *Admission) Expire(now time.Time) (ended, started []Lease) {
	for _, list := range [][]*entry{a.running, a.waiting} {
		for _, e := range list {
			if !e.expires.IsZero() && !now.Before(e.expires) {
				ended = append(ended, e.Lease)
			}
		}
	}
	for _, l := range ended {
		a.drop(a.leases[l], now)
	}
	return ended, a.start(now)
}

// Next returns when Expire has something to do, unless leases are renewed before.
func (a *Admission) Next() (at time.Time, ok bool) {
	for _, e := range a.leases {
		if !e.expires.IsZero() && (!ok || e.expires.Before(at)) {
			at, ok = e.expires, true
		}
	}
	return at, ok
}

// Running and Waiting count the jobs in the book.
func (a *Admission) Running() int { return len(a.running) }

// Waiting counts the jobs that have a place in the queue.
func (a *Admission) Waiting() int { return len(a.waiting) }

// drop takes e out of the book, and learns from a run how long one takes.
func (a *Admission) drop(e *entry, now time.Time) {
	delete(a.leases, e.Lease)
	if i := slices.Index(a.running, e); i >= 0 {
		a.running = slices.Delete(a.running, i, i+1)
		a.memory -= e.memory
		took := now.Sub(e.started)
		if a.mean == 0 {
			a.mean = took
		}
		a.mean += (took - a.mean) / 5
	}
	if i := slices.Index(a.waiting, e); i >= 0 {
		a.waiting = slices.Delete(a.waiting, i, i+1)
	}
}

// memoryOf is the most that j may use.
func memoryOf(j job.Order) uint64 { return j.Limits.OrDefault().Pages * pageSize }
