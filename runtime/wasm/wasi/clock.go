package wasi

import (
	"context"
	"math"
)

// Epoch is what every clock reads when a run begins, in nanoseconds since 1970:
// 2020-01-01T00:00:00Z. It is part of what "det0" names.
const Epoch = 1577836800_000_000_000

// tick is what reading the clock costs, in nanoseconds: two readings differ, as
// programs expect, and a loop that waits for a time comes to its end.
const tick = 1000

// clock is the time of one run: it passes when it is read and when the guest sleeps.
// Every clock id reads it.
type clock struct{ now uint64 }

func (c *clock) read() uint64 {
	c.sleep(tick)
	return c.now
}

// sleep lets ns pass at once. Time stops at the last moment that an int64 can tell.
func (c *clock) sleep(ns uint64) {
	if ns > math.MaxInt64-c.now {
		c.now = math.MaxInt64
		return
	}
	c.now += ns
}

// lastClock is the highest clock id: realtime, monotonic, process and thread time.
const lastClock = 3

func clockResGet(_ context.Context, _ *System, m memory, p []uint64) errno {
	if uint32(p[0]) > lastClock {
		return eINVAL
	}
	return m.put64(p[1], tick)
}

func clockTimeGet(_ context.Context, s *System, m memory, p []uint64) errno {
	if uint32(p[0]) > lastClock {
		return eINVAL
	}
	return m.put64(p[2], s.clock.read())
}

// randomStep is how many random bytes are made between two looks at the context.
const randomStep = 1 << 20

func randomGet(ctx context.Context, s *System, m memory, p []uint64) errno {
	b, e := m.bytes(p[0], p[1])
	for e == eOK && len(b) > 0 {
		checkCancelled(ctx)
		n := min(len(b), randomStep)
		_, _ = s.random.Read(b[:n]) // never fails
		b = b[n:]
	}
	return e
}
