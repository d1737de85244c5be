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
	Slots        int     // jobs that run at the same time: 1
	Memory       uint64  // bytes that running jobs may use together: unlimited
	Queue        int     // jobs that may wait for a slot: 4 for each slot; negative: none
	PerRequester int     // running and queued jobs of one requester: all slots and half the queue
	Rate         float64 // asks per second of one requester: 10
	Burst        int     // asks of one requester in a burst: 20
}

// Admission is a provider's admission queue: which jobs have a slot, which wait for one, and when
// each lease expires. This node's own jobs go through it too.
//
// Invariant: what it admits never exceeds its configured slots, memory and queue.
type Admission struct {
	cfg     AdmissionConfig
	leases  map[Lease]*entry
	running []*entry // in the order in which they started
	waiting []*entry // in the order in which they will start
	memory  uint64   // bytes, of the running ones
	mean    time.Duration
	asks    buckets
	seen    replays
}

// Reservation is the part of an Award that Admission needs.
type Reservation struct {
	Lease  Lease
	Job    job.Order     // its issuer, nonce, times, limits and priority are used
	For    time.Duration // lifetime of the lease without a Renew; zero: until Release
	Queue  time.Duration // queue time of the bid; zero: a free slot
	Expect time.Duration // fetch and run time of the bid; zero: unknown
	Own    bool          // this node's own job: no nonce check, no share, no queue bound
}

// Grant is the result of a successful Accept.
type Grant struct {
	Started bool          // it has a slot now; otherwise Release or Expire will return its lease
	Start   time.Duration // estimated time until it has a slot
}

// Decline is the reason why an Award was not accepted. It is an error.
type Decline struct {
	Code  string        // a Refuse constant of job
	Why   string        // a sentence about the provider
	Queue time.Duration // not zero: the provider would accept the job, but only after this queue time
}

func (d *Decline) Error() string { return d.Why }

type entry struct {
	Reservation
	accepted time.Time
	started  time.Time // zero: it is queued
	expires  time.Time // zero: never
	memory   uint64
}

// MaxLeaseFor is the maximum lifetime of a lease between two renewals.
const MaxLeaseFor = time.Minute

// ClockSkew is the tolerated difference between the clocks of two peers.
const ClockSkew = 5 * time.Minute

// DefaultQueue is the default of AdmissionConfig.Queue.
func DefaultQueue(slots int) int { return 4 * slots }

// DefaultPerRequester is the default of AdmissionConfig.PerRequester.
func DefaultPerRequester(slots, queue int) int { return slots + (queue+1)/2 }

// NewAdmission returns an empty Admission.
func NewAdmission(cfg AdmissionConfig) *Admission {
	cfg.Slots = max(cfg.Slots, 1)
	cfg.Queue = max(orDefault(cfg.Queue, DefaultQueue(cfg.Slots)), 0)
	cfg.PerRequester = orDefault(cfg.PerRequester, DefaultPerRequester(cfg.Slots, cfg.Queue))
	return &Admission{
		cfg:    cfg,
		leases: map[Lease]*entry{},
		asks:   newBuckets(orDefault(cfg.Rate, 10), orDefault(cfg.Burst, 20)),
		seen:   newReplays(),
	}
}

// Ask takes one token of a requester from its rate limit, before any work is done for it. When no
// token is left it returns false and the refusal to answer with.
func (a *Admission) Ask(from job.DID, now time.Time) (job.Bid, bool) {
	if a.asks.take(from, now) {
		return job.Bid{}, true
	}
	return Refuse(job.RefuseRate, fmt.Sprintf("it accepts %g asks per second from one requester", a.asks.rate)), false
}

// Timely checks the times of j. It returns the code and the sentence of a refusal when j has
// expired or was issued by a clock that is too far ahead, else "".
func Timely(j job.Order, now time.Time) (code, why string) {
	switch ms := now.UnixMilli(); {
	case j.Expires+ClockSkew.Milliseconds() < ms:
		return job.RefuseExpired, "the order has expired"
	case j.Issued-ClockSkew.Milliseconds() > ms:
		return job.RefuseExpired, "its clock is more than 5 minutes behind the requester's clock"
	}
	return "", ""
}

// Accept reserves a slot or a place in the queue, or returns a *Decline. It accepts each (issuer,
// nonce) once.
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
			return Grant{}, &Decline{Code: job.RefuseRate, Why: "the requester has too many unexpired orders"}
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

// check validates the Award itself.
func (a *Admission) check(e *entry, now time.Time) *Decline {
	if _, ok := a.leases[e.Lease]; ok {
		return &Decline{Code: job.RefuseReplay, Why: "the award repeats a lease id that is in use"}
	}
	if a.cfg.Memory > 0 && e.memory > a.cfg.Memory {
		return &Decline{Code: job.RefuseMemory, Why: fmt.Sprintf("it has %s of memory for jobs, the job asks for %s", units.Bytes(a.cfg.Memory), units.Bytes(e.memory))}
	}
	if e.Own {
		return nil
	}
	if code, why := Timely(e.Job, now); code != "" {
		return &Decline{Code: code, Why: why}
	}
	if a.seen.has(e.Job, now) {
		return &Decline{Code: job.RefuseReplay, Why: "the order was awarded before"}
	}
	return nil
}

// room checks whether one more job fits, and whether the bid still holds.
func (a *Admission) room(r Reservation, load Load) *Decline {
	if load.Full {
		return &Decline{Code: job.RefuseBusy, Why: "all slots are in use and its queue is full"}
	}
	if n := a.countOf(r.Job.Issuer); n >= a.cfg.PerRequester {
		return &Decline{Code: job.RefuseBusy, Why: fmt.Sprintf("the requester has used up its share of slots and queue: %s", count(n, "job"))}
	}
	if load.Queue > 2*r.Queue+queueTolerance {
		return &Decline{
			Code: job.RefuseBusy, Queue: load.Queue,
			Why: fmt.Sprintf("its queue has grown: the job would start in %s, its bid said %s", roundTime(load.Queue), roundTime(r.Queue)),
		}
	}
	return nil
}

// queueTolerance is how much longer the queue may be than twice the queue time of the bid.
const queueTolerance = 50 * time.Millisecond

func (a *Admission) countOf(issuer job.DID) (n int) {
	for _, e := range a.leases {
		if e.Job.Issuer == issuer && !e.Own {
			n++
		}
	}
	return n
}

// Renew extends a lease by its lifetime. It returns false when the lease does not exist.
func (a *Admission) Renew(l Lease, now time.Time) bool {
	e, ok := a.leases[l]
	if ok && e.For > 0 {
		e.expires = now.Add(e.For)
	}
	return ok
}

// Release ends a lease, whether its job was running or queued, and returns the leases that got a
// slot because of it. An unknown lease is ignored.
func (a *Admission) Release(l Lease, now time.Time) (started []Lease) {
	if e, ok := a.leases[l]; ok {
		a.drop(e, now)
	}
	return a.start(now)
}

// Expire ends the leases whose lifetime has passed. It returns them, so that their runs are
// stopped, and the leases that got a slot because of it.
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

// Running returns the number of running jobs.
func (a *Admission) Running() int { return len(a.running) }

// Waiting returns the number of queued jobs.
func (a *Admission) Waiting() int { return len(a.waiting) }

// drop removes e, and updates the mean run time.
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

// memoryOf returns the maximum memory of j in bytes.
func memoryOf(j job.Order) uint64 { return j.Limits.OrDefault().Pages * pageSize }
