package wasi

import (
	"context"
	"math"
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

// subscription is what a guest waits for. Descriptors are always ready. Deadline is
// on the run's clock and counts for clock subscriptions alone.
type subscription struct {
	userdata uint64
	kind     uint8
	fd       uint32
	deadline uint64
	bad      errno // why it can never happen: reported at once
}

// pollOneoff answers at once, always: when a descriptor is asked for it is ready,
// and when only clocks are, the run's clock jumps to the earliest deadline.
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
	start := s.clock.now
	earliest := uint64(math.MaxUint64)
	for i := range n {
		sub := s.subscription(in[i*subscriptionSize:], start)
		if sub.kind != eventClock || sub.bad != eOK {
			earliest = start // something is ready: no time passes
			break
		}
		earliest = min(earliest, sub.deadline)
	}
	if earliest > start {
		s.clock.sleep(earliest - start)
	}
	events := uint64(0)
	for i := range n {
		sub := s.subscription(in[i*subscriptionSize:], start)
		if sub.kind == eventClock && sub.bad == eOK && sub.deadline > s.clock.now {
			continue
		}
		sub.write(out[events*eventSize:], s.readable(sub))
		events++
	}
	return m.put32(p[3], uint32(events))
}

// subscription reads a subscription that was made at the moment now.
func (s *System) subscription(b []byte, now uint64) subscription {
	sub := subscription{userdata: le.Uint64(b), kind: b[8]}
	switch sub.kind {
	case eventClock:
		if le.Uint32(b[16:]) > lastClock {
			sub.bad = eINVAL
		}
		until := clock{now}
		sub.deadline = le.Uint64(b[24:])
		if le.Uint16(b[40:])&clockAbsolute == 0 {
			until.sleep(sub.deadline)
			sub.deadline = until.now
		}
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

// readable returns how many bytes a read would find.
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
