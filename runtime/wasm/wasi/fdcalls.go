package wasi

import "context"

// The functions on descriptors that move no bytes.

// Rights that fd_fdstat_get reports. They limit nothing, but C libraries mask the rights that
// they request with them, and treat a character device that cannot seek as a terminal.
const (
	rightsAll  = 1<<29 - 1
	rightSeek  = 1 << 2
	rightTell  = 1 << 5
	rightsDir  = rightsAll &^ (rightSeek | rightTell)
	rightsPipe = rightsAll &^ (rightSeek | rightTell)
)

func fdAdvise(_ context.Context, s *System, _ memory, p []uint64) errno {
	const lastAdvice = 5
	switch {
	case s.fds.get(uint32(p[0])) == nil:
		return eBADF
	case uint32(p[3]) > lastAdvice:
		return eINVAL
	}
	return eOK
}

func fdAllocate(_ context.Context, s *System, _ memory, p []uint64) errno {
	f, e := s.writable(p[0])
	off, size := p[1], p[2]
	switch {
	case e != eOK:
		return e
	case size == 0:
		return eINVAL
	case off > maxFileSize || size > maxFileSize-off:
		return eFBIG
	case off+size <= f.bytes.size:
		return eOK
	}
	return f.truncate(off + size)
}

// writable returns the file of a descriptor that can be resized.
func (s *System) writable(fd uint64) (*memFile, errno) {
	d := s.fds.get(uint32(fd))
	if d == nil {
		return nil, eBADF
	}
	f, ok := d.node.(*memFile)
	if !ok || !d.write {
		return nil, eINVAL
	}
	return f, eOK
}

func fdClose(_ context.Context, s *System, _ memory, p []uint64) errno {
	return s.fds.close(uint32(p[0]))
}

// fdSync implements fd_datasync, too: written bytes are stored at once.
func fdSync(_ context.Context, s *System, _ memory, p []uint64) errno {
	if s.fds.get(uint32(p[0])) == nil {
		return eBADF
	}
	return eOK
}

func fdFdstatGet(_ context.Context, s *System, m memory, p []uint64) errno {
	d := s.fds.get(uint32(p[0]))
	if d == nil {
		return eBADF
	}
	b, e := m.span(p[1], 24)
	if e != eOK {
		return e
	}
	base, inheriting := uint64(rightsAll), uint64(0)
	kind := d.node.stat().kind
	switch kind {
	case typeDirectory:
		base, inheriting = rightsDir, rightsAll
	case typeUnknown:
		base = rightsPipe
	}
	clear(b)
	b[0] = byte(kind)
	le.PutUint16(b[2:], uint16(d.flags))
	le.PutUint64(b[8:], base)
	le.PutUint64(b[16:], inheriting)
	return eOK
}

func fdFdstatSetFlags(_ context.Context, s *System, _ memory, p []uint64) errno {
	d := s.fds.get(uint32(p[0]))
	switch {
	case d == nil:
		return eBADF
	case uint32(p[1])&^fdAll != 0:
		return eINVAL
	}
	d.flags = uint32(p[1])
	return eOK
}

func fdFilestatGet(_ context.Context, s *System, m memory, p []uint64) errno {
	d := s.fds.get(uint32(p[0]))
	if d == nil {
		return eBADF
	}
	return m.putStat(p[1], d.node.stat())
}

func (m memory) putStat(ptr uint64, st stat) errno {
	b, e := m.span(ptr, 64)
	if e != eOK {
		return e
	}
	clear(b)
	le.PutUint64(b, st.dev)
	le.PutUint64(b[8:], st.ino)
	b[16] = byte(st.kind)
	le.PutUint64(b[24:], st.nlink)
	le.PutUint64(b[32:], st.size)
	return eOK
}

func fdFilestatSetSize(_ context.Context, s *System, _ memory, p []uint64) errno {
	f, e := s.writable(p[0])
	if e != eOK {
		return e
	}
	return f.truncate(p[1])
}

// checkTimes refuses flags that set both a given time and the current time.
func checkTimes(flags uint64) errno {
	if f := uint32(flags); f > 15 || f&3 == 3 || f&12 == 12 {
		return eINVAL
	}
	return eOK
}

func fdFilestatSetTimes(_ context.Context, s *System, _ memory, p []uint64) errno {
	d := s.fds.get(uint32(p[0]))
	if d == nil {
		return eBADF
	}
	if e := checkTimes(p[3]); e != eOK {
		return e
	}
	return setTimes(d.node)
}

// preopenName is the name of the one preopened directory.
const preopenName = "/"

func fdPrestatGet(_ context.Context, s *System, m memory, p []uint64) errno {
	if d := s.fds.get(uint32(p[0])); d == nil || !d.preopen {
		return eBADF
	}
	return m.put64(p[1], uint64(len(preopenName))<<32) // tag 0: a directory
}

func fdPrestatDirName(_ context.Context, s *System, m memory, p []uint64) errno {
	if d := s.fds.get(uint32(p[0])); d == nil || !d.preopen {
		return eBADF
	}
	b, e := m.bytes(p[1], p[2])
	switch {
	case e != eOK:
		return e
	case len(b) < len(preopenName):
		return eNAMETOOLONG
	}
	copy(b, preopenName)
	return eOK
}

func fdRenumber(_ context.Context, s *System, _ memory, p []uint64) errno {
	return s.fds.renumber(uint32(p[0]), uint32(p[1]))
}

func fdSeek(_ context.Context, s *System, m memory, p []uint64) errno {
	d := s.fds.get(uint32(p[0]))
	if d == nil {
		return eBADF
	}
	if _, ok := d.node.(file); !ok {
		if _, ok := d.node.(directory); ok {
			return eBADF // POSIX allows it; the tests of WASI do not
		}
		return eSPIPE
	}
	const set, current, end = 0, 1, 2
	var base uint64
	switch uint32(p[2]) {
	case set:
	case current:
		base = d.pos
	case end:
		base = d.node.stat().size
	default:
		return eINVAL
	}
	pos := int64(base) + int64(p[1]) // base is at most 1<<63-1; a sum that wraps is negative
	if pos < 0 {
		return eINVAL
	}
	if e := m.put64(p[3], uint64(pos)); e != eOK {
		return e
	}
	d.pos = uint64(pos)
	return eOK
}

func fdTell(ctx context.Context, s *System, m memory, p []uint64) errno {
	const current = 1
	return fdSeek(ctx, s, m, []uint64{p[0], 0, current, p[1]})
}
