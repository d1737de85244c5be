package wasi

import (
	"context"
	"math"
	"time"

	"github.com/ipfs-liftoff/liftoff/runtime/wasm/fuel"
)

// Epoch is the value of every clock when a run begins, in nanoseconds since 1970:
// 2020-01-01T00:00:00Z. It is part of the profile "det2".
const Epoch = 1577836800_000_000_000

// clock is the time of one run.
type clock interface {
	// now reads the clock id, in nanoseconds, at most the largest int64.
	now(id uint32) uint64
	// sleep advances every clock by ns. It panics with ctx's cause if ctx is done earlier.
	sleep(ctx context.Context, ns uint64)
}

// madeClock is the same on every machine: it advances by 1 ns for each unit of fuel, and by the
// guest's sleeps, which take no real time. Every clock id reads it.
type madeClock struct {
	fuel  *fuel.Account
	slept uint64
}

func (c *madeClock) now(uint32) uint64 { return later(later(Epoch, c.fuel.Spent()), c.slept) }

func (c *madeClock) sleep(_ context.Context, ns uint64) { c.slept = later(c.slept, ns) }

// later adds ns to a moment. Time stops at the largest int64.
func later(moment, ns uint64) uint64 {
	if moment > math.MaxInt64 || ns > math.MaxInt64-moment {
		return math.MaxInt64
	}
	return moment + ns
}

// realClock is the machine's clock. All clocks except real time count from the start of the
// run.
type realClock struct{ start time.Time }

func newRealClock() *realClock { return &realClock{time.Now()} }

func (c *realClock) now(id uint32) uint64 {
	if id == clockRealtime {
		return uint64(time.Now().UnixNano())
	}
	return uint64(time.Since(c.start))
}

func (c *realClock) sleep(ctx context.Context, ns uint64) {
	t := time.NewTimer(time.Duration(min(ns, math.MaxInt64)))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
		panic(context.Cause(ctx))
	}
}

// The ids of clocks: real time, monotonic, and the process's and the thread's time.
const (
	clockRealtime = 0
	lastClock     = 3
)

func clockResGet(_ context.Context, _ *System, m memory, p []uint64) errno {
	if uint32(p[0]) > lastClock {
		return eINVAL
	}
	return m.put64(p[1], 1)
}

func clockTimeGet(_ context.Context, s *System, m memory, p []uint64) errno {
	if uint32(p[0]) > lastClock {
		return eINVAL
	}
	return m.put64(p[2], s.clock.now(uint32(p[0])))
}

func randomGet(ctx context.Context, s *System, m memory, p []uint64) errno {
	b, e := m.bytes(p[0], p[1])
	if e != eOK {
		return e
	}
	s.payCopy(len(b))
	fuel.Steps(ctx, b, func(b []byte) { _, _ = s.random.Read(b) })
	return eOK
}
