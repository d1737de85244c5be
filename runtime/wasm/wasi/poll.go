package wasi

import (
	"context"
	"math"

	"github.com/ipfs-liftoff/liftoff/runtime/wasm/fuel"
)

// Layout and values of poll_oneoff.
const (
	subscriptionSize = 48
	eventSize        = 32

	eventClock = 0
	eventRead  = 1
	eventWrite = 2

	clockAbsolute = 1 << 0
)

// pollStep is the number of subscriptions that are processed between two checks of the context.
const pollStep = 1 << 14

// subscription is an event that a guest waits for. Descriptors are always ready. wait is in
// nanoseconds and is only used for clock subscriptions.
type subscription struct {
	userdata uint64
	kind     uint8
	fd       uint32
	wait     uint64
	bad      errno // why it can never occur: reported at once
}

// pollOneoff only waits for the clock: a descriptor is ready at once, and with only clocks it
// sleeps until the earliest deadline.
func pollOneoff(ctx context.Context, s *System, m memory, p []uint64) errno {
	n := uint64(uint32(p[2]))
	if n == 0 {
		return eINVAL
	}
	in, e := m.span(p[0], n*subscriptionSize)
	if e != eOK {
		return e
	}
	out, e := m.span(p[1], n*eventSize)
	if e != eOK {
		return e
	}
	s.payCopy(int(n * (subscriptionSize + eventSize)))
	start := s.moments()
	wait := uint64(math.MaxUint64)
	for i := range n {
		if i%pollStep == pollStep-1 {
			fuel.Yield(ctx)
		}
		sub := s.subscription(in[i*subscriptionSize:], start)
		if sub.kind != eventClock || sub.bad != eOK {
			wait = 0 // an event is ready: no time passes
			break
		}
		wait = min(wait, sub.wait)
	}
	if wait > 0 {
		s.clock.sleep(ctx, wait)
	}
	events := uint64(0)
	for i := range n {
		if i%pollStep == pollStep-1 {
			fuel.Yield(ctx)
		}
		sub := s.subscription(in[i*subscriptionSize:], start)
		if sub.kind == eventClock && sub.bad == eOK && sub.wait > wait {
			continue
		}
		sub.write(out[events*eventSize:], s.readable(sub))
		events++
	}
	return m.put32(p[3], uint32(events))
}

// moments reads all clocks.
func (s *System) moments() (now [lastClock + 1]uint64) {
	for id := range now {
		now[id] = s.clock.now(uint32(id))
	}
	return now
}

// subscription parses a subscription; now holds the values of the clocks.
func (s *System) subscription(b []byte, now [lastClock + 1]uint64) subscription {
	sub := subscription{userdata: le.Uint64(b), kind: b[8]}
	switch sub.kind {
	case eventClock:
		id := le.Uint32(b[16:])
		if id > lastClock {
			sub.bad = eINVAL
			break
		}
		until := le.Uint64(b[24:])
		if le.Uint16(b[40:])&clockAbsolute == 0 {
			until = later(now[id], until)
		}
		sub.wait = max(until, now[id]) - now[id]
	case eventRead, eventWrite:
		sub.fd = le.Uint32(b[16:])
		d := s.fds.get(sub.fd)
		if d == nil || sub.kind == eventRead && !d.read || sub.kind == eventWrite && !d.write {
			sub.bad = eBADF
		}
	default:
		sub.bad = eINVAL
	}
	return sub
}

// readable returns the number of bytes that a read would return.
func (s *System) readable(sub subscription) uint64 {
	if sub.kind != eventRead || sub.bad != eOK {
		return 0
	}
	d := s.fds.get(sub.fd)
	if size := d.node.stat().size; size > d.pos {
		return size - d.pos
	}
	return 0
}

func (sub subscription) write(b []byte, readable uint64) {
	clear(b[:eventSize])
	le.PutUint64(b, sub.userdata)
	le.PutUint16(b[8:], uint16(sub.bad))
	b[10] = sub.kind
	le.PutUint64(b[16:], readable)
}
