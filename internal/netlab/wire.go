//go:build linux

package netlab

import (
	"errors"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// maxQueue is the queue of a wire with a rate, in bytes; packets that do not fit are lost, as
// at a router.
const maxQueue = 4 << 20

// packet is a packet in transit.
type packet struct {
	data []byte
	due  time.Time
}

// wire is one direction of a link. Packets stay in order.
type wire struct {
	to    *Host
	bytes atomic.Int64

	mu     sync.Mutex
	link   Link
	free   time.Time // when the wire has sent its queue
	queue  chan packet
	waits  int64 // bytes in queue
	closed chan struct{}
	ended  chan struct{}
}

func newWire(to *Host, k Link) *wire {
	w := &wire{
		to: to, link: k, queue: make(chan packet, 16<<10),
		closed: make(chan struct{}), ended: make(chan struct{}),
	}
	go w.deliver()
	return w
}

func (l *Lab) wire(p pair) *wire {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.wires[p]
	if w == nil {
		w = newWire(l.hosts[p.to], l.rest)
		l.wires[p] = w
	}
	return w
}

// send queues one packet, whose bytes it keeps.
func (w *wire) send(data []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.link.Cut || w.waits > maxQueue || w.link.Loss > 0 && rand.Float64() < w.link.Loss {
		return
	}
	now := time.Now()
	if w.free.Before(now) {
		w.free = now
	}
	if w.link.Rate > 0 {
		w.free = w.free.Add(time.Duration(int64(len(data)-vnetHeader) * int64(time.Second) / w.link.Rate))
	}
	select {
	case w.queue <- packet{data, w.free.Add(w.link.Delay)}:
		w.waits += int64(len(data))
	default:
	}
}

// deliver delivers packets when they are due.
func (w *wire) deliver() {
	defer close(w.ended)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		var p packet
		select {
		case p = <-w.queue:
		case <-w.closed:
			return
		}
		if wait := time.Until(p.due); wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-w.closed:
				return
			}
		}
		w.mu.Lock()
		w.waits -= int64(len(p.data))
		cut := w.link.Cut
		w.mu.Unlock()
		if cut {
			continue
		}
		if _, err := w.to.tun.Write(p.data); err == nil {
			w.bytes.Add(int64(len(p.data) - vnetHeader))
		} else if errors.Is(err, os.ErrClosed) {
			return
		}
	}
}

func (w *wire) close() {
	close(w.closed)
	<-w.ended
}

// carry reads the packets that the kernel of h sends and puts each on the right wire, until the
// device is closed. A multicast goes to all hosts.
func (l *Lab) carry(h *Host) {
	defer l.group.Done()
	buf := make([]byte, vnetHeader+(64<<10))
	for {
		n, err := h.tun.Read(buf)
		if err != nil {
			return
		}
		if n < vnetHeader+20 || buf[vnetHeader]>>4 != 4 {
			continue // IPv6 background traffic
		}
		data := append([]byte(nil), buf[:n]...)
		dst := [4]byte(data[vnetHeader+16:])
		l.mu.Lock()
		hosts := len(l.hosts)
		l.mu.Unlock()
		if dst[0]&0xf0 == 0xe0 {
			for i := range hosts {
				if i != h.index {
					l.wire(pair{h.index, i}).send(data)
				}
			}
			continue
		}
		if to, err := indexOf(dst); err == nil && to < hosts && to != h.index {
			l.wire(pair{h.index, to}).send(data)
		} else {
			h.strays.Add(1)
		}
	}
}
