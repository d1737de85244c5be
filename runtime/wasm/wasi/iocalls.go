package wasi

import (
	"context"

	"github.com/ipfs-liftoff/liftoff/abi"
	"github.com/ipfs-liftoff/liftoff/runtime/wasm/fuel"
)

// The functions that move bytes between descriptors and the guest's memory. They copy once:
// from the source directly into the guest's buffer, or back.

const (
	iovecSize   = 8
	maxIovecs   = 1024        // of one call; more is eINVAL, as with IOV_MAX
	maxTransfer = 0x7fff_f000 // bytes of one call; a larger call moves this many, as on Linux
)

// buffers calls each with the guest's buffers of an iovec array, in order, until it returns
// false or an error.
func (m memory) buffers(iovs, count uint64, each func(b []byte) (bool, errno)) errno {
	if uint32(count) > maxIovecs {
		return eINVAL
	}
	list, e := m.span(iovs, uint64(uint32(count))*iovecSize)
	if e != eOK {
		return e
	}
	for left := maxTransfer; len(list) > 0 && left > 0; list = list[iovecSize:] {
		b, e := m.span(uint64(le.Uint32(list)), uint64(le.Uint32(list[4:])))
		if e != eOK {
			return e
		}
		b = b[:min(len(b), left)]
		left -= len(b)
		if more, e := each(b); e != eOK || !more {
			return e
		}
	}
	return eOK
}

// readTo fills the guest's buffers from off and returns the number of bytes read: all that was
// requested unless the file ends.
func (s *System) readTo(ctx context.Context, m memory, d *descriptor, off, iovs, count uint64) (uint64, errno) {
	if d == nil || !d.read {
		return 0, eBADF
	}
	f, ok := d.node.(file)
	if !ok {
		if _, ok := d.node.(directory); ok {
			return 0, eISDIR
		}
		return 0, eBADF
	}
	var total uint64
	e := m.buffers(iovs, count, func(b []byte) (bool, errno) {
		n, e := f.readAt(ctx, s.fuel, b, off+total)
		total += uint64(n)
		return n == len(b), e
	})
	return total, e
}

func fdRead(ctx context.Context, s *System, m memory, p []uint64) errno {
	d := s.fds.get(uint32(p[0]))
	if d == nil {
		return eBADF
	}
	n, e := s.readTo(ctx, m, d, d.pos, p[1], p[2])
	if e != eOK {
		return e
	}
	d.pos += n
	return m.put32(p[3], uint32(n))
}

func fdPread(ctx context.Context, s *System, m memory, p []uint64) errno {
	if int64(p[3]) < 0 {
		return eINVAL
	}
	n, e := s.readTo(ctx, m, s.fds.get(uint32(p[0])), p[3], p[1], p[2])
	if e != eOK {
		return e
	}
	return m.put32(p[4], uint32(n))
}

// writeFrom writes the guest's buffers at off and returns the number of bytes written.
func (s *System) writeFrom(ctx context.Context, m memory, d *descriptor, off, iovs, count uint64) (uint64, errno) {
	if d == nil || !d.write {
		return 0, eBADF
	}
	var total uint64
	e := m.buffers(iovs, count, func(b []byte) (bool, errno) {
		var e errno
		switch n := d.node.(type) {
		case *stream:
			s.payCopy(len(b))
			s.fuel.Spend(uint64(len(b)) * abi.FuelHashByte)
			n.write(b)
			total += uint64(len(b))
			return true, eOK
		case *memFile:
			s.payCopy(len(b))
			fuel.Steps(ctx, b, func(b []byte) {
				if e != eOK {
					return
				}
				if e = n.writeAt(b, off+total); e == eOK {
					total += uint64(len(b))
				}
			})
			return true, e
		}
		return false, eBADF
	})
	return total, e
}

func fdWrite(ctx context.Context, s *System, m memory, p []uint64) errno {
	d := s.fds.get(uint32(p[0]))
	if d == nil {
		return eBADF
	}
	off := d.pos
	if d.flags&fdAppend != 0 {
		off = d.node.stat().size
	}
	n, e := s.writeFrom(ctx, m, d, off, p[1], p[2])
	if e != eOK {
		return e
	}
	if n > 0 {
		d.pos = off + n
	}
	return m.put32(p[3], uint32(n))
}

func fdPwrite(ctx context.Context, s *System, m memory, p []uint64) errno {
	d := s.fds.get(uint32(p[0]))
	switch {
	case d == nil:
		return eBADF
	case int64(p[3]) < 0:
		return eINVAL
	}
	if _, ok := d.node.(*stream); ok {
		return eSPIPE
	}
	n, e := s.writeFrom(ctx, m, d, p[3], p[1], p[2])
	if e != eOK {
		return e
	}
	return m.put32(p[4], uint32(n))
}

// direntSize is the size of a directory entry's header in fd_readdir's buffer.
const direntSize = 24

// fdReaddir writes entries, starting at a cookie. A full buffer means that there may be more:
// its last entry may be truncated, and is read again.
func fdReaddir(ctx context.Context, s *System, m memory, p []uint64) errno {
	d := s.fds.get(uint32(p[0]))
	if d == nil {
		return eBADF
	}
	dir, ok := d.node.(directory)
	if !ok {
		return eBADF // not eNOTDIR, on which Rust's library panics
	}
	buf, e := m.bytes(p[1], p[2])
	if e != eOK {
		return e
	}
	used, cookie := 0, p[3]
	for used < len(buf) {
		s.fuel.Spend(abi.FuelEntry)
		checkCancelled(ctx)
		ent, ok, e := nextEntry(ctx, dir, cookie)
		if e != eOK {
			return e
		}
		if !ok {
			break
		}
		n := putDirent(buf[used:], ent)
		s.payCopy(n)
		used += n
		cookie = ent.cookie
	}
	return m.put32(p[4], uint32(used))
}

// nextEntry returns the next entry of the directory, with "." and ".." first.
func nextEntry(ctx context.Context, dir directory, after uint64) (entry, bool, errno) {
	switch after {
	case cookieStart:
		return entry{".", dir.stat().ino, typeDirectory, cookieDot}, true, eOK
	case cookieDot:
		return entry{"..", dir.up().stat().ino, typeDirectory, cookieDotDot}, true, eOK
	}
	return dir.next(ctx, after)
}

// putDirent writes as much of an entry as fits.
func putDirent(b []byte, e entry) int {
	var head [direntSize]byte
	le.PutUint64(head[:], e.cookie)
	le.PutUint64(head[8:], e.ino)
	le.PutUint32(head[16:], uint32(len(e.name)))
	head[20] = byte(e.kind)
	n := copy(b, head[:])
	return n + copy(b[n:], e.name)
}
