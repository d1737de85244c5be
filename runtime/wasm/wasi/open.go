package wasi

import (
	"context"
	"slices"
)

// maxOpen is the number of descriptors that a guest may have open: more is eMFILE.
const maxOpen = 4096

// The bits of path_open that are used.
const (
	oCreat     = 1 << 0
	oDirectory = 1 << 1
	oExcl      = 1 << 2
	oTrunc     = 1 << 3

	fdAppend   = 1 << 0
	fdNonblock = 1 << 2
	fdAll      = 1<<5 - 1

	rightRead  = 1 << 1
	rightWrite = 1 << 6
)

// openMode is the mode in which a guest opens a node.
type openMode struct {
	follow bool
	oflags uint32
	flags  uint32 // fdflags: append has an effect, the others are only stored
	read   bool
	write  bool
}

// modeOf reads the arguments of path_open. WASI has removed rights, but those to read and to
// write are the only place where programs say which access they want; without either, the flags
// decide.
func modeOf(lookup, oflags, rights, fdflags uint64) openMode {
	m := openMode{
		follow: lookup&1 != 0,
		oflags: uint32(oflags) & 15,
		flags:  uint32(fdflags) & fdAll,
		read:   rights&rightRead != 0,
		write:  rights&rightWrite != 0,
	}
	if !m.read && !m.write {
		m.read = true
		m.write = oflags&(oCreat|oTrunc) != 0 || fdflags&fdAppend != 0
	}
	return m
}

// descriptor is the target of a descriptor number.
type descriptor struct {
	node    node
	pos     uint64
	flags   uint32
	read    bool
	write   bool
	preopen bool
}

// open opens path and returns its descriptor's number.
func (s *System) open(ctx context.Context, from directory, path string, m openMode) (uint32, errno) {
	d, e := s.openNode(ctx, from, path, m)
	if e != eOK {
		return 0, e
	}
	return s.fds.add(d), eOK
}

func (s *System) openNode(ctx context.Context, from directory, path string, m openMode) (*descriptor, errno) {
	if m.oflags&oCreat != 0 && m.oflags&oDirectory != 0 {
		return nil, eINVAL
	}
	if s.fds.full() {
		return nil, eMFILE
	}
	f := followSlash
	if m.follow && (m.oflags&oCreat == 0 || m.oflags&oExcl == 0) {
		f = followAlways
	}
	p, e := s.walk(ctx, from, path, f)
	switch {
	case e != eOK:
		return nil, e
	case p.node == nil && m.oflags&oCreat == 0:
		return nil, eNOENT
	case p.node == nil:
		if p.node, e = s.create(p); e != eOK {
			return nil, e
		}
	default:
		if e := mayOpen(p.node, m); e != eOK {
			return nil, e
		}
	}
	if f, ok := p.node.(*inFile); ok {
		if e := f.settle(ctx); e != eOK {
			return nil, e
		}
	}
	d := &descriptor{node: p.node, flags: m.flags, read: m.read, write: m.write}
	if mf, ok := p.node.(*memFile); ok {
		if m.oflags&oTrunc != 0 {
			_ = mf.truncate(0)
		}
		mf.opened()
	}
	return d, eOK
}

// create creates an empty file at a place without one.
func (s *System) create(p place) (node, errno) {
	if p.slash {
		return nil, eISDIR
	}
	d, e := memDirOf(p)
	if e != eOK {
		return nil, e
	}
	if d.conflicting(p.name) != nil {
		return nil, eINVAL
	}
	f := newMemFile(d.q, s.newInode(), &s.scratch)
	d.add(p.name, f)
	return f, eOK
}

// mayOpen returns the errno for opening an existing node in mode m, or eOK.
func mayOpen(n node, m openMode) errno {
	if m.oflags&oCreat != 0 && m.oflags&oExcl != 0 {
		return eEXIST
	}
	writes := m.write || m.oflags&oTrunc != 0
	switch n.(type) {
	case symlink:
		if m.oflags&oDirectory != 0 {
			return eNOTDIR
		}
		return eLOOP
	case directory:
		if writes || m.oflags&oCreat != 0 {
			return eISDIR
		}
		return eOK
	}
	if m.oflags&oDirectory != 0 {
		return eNOTDIR
	}
	if _, writable := n.(*memFile); writes && !writable {
		return eROFS
	}
	return eOK
}

// fdTable numbers descriptors; a new one gets the lowest free number, as in POSIX.
type fdTable struct {
	slots []*descriptor // nil: the number is free
	low   int           // no number below is free
	used  int
}

func (t *fdTable) full() bool { return t.used >= maxOpen }

// get returns the descriptor fd, or nil.
func (t *fdTable) get(fd uint32) *descriptor {
	if fd < uint32(len(t.slots)) {
		return t.slots[fd]
	}
	return nil
}

// add numbers d; the table is not full.
func (t *fdTable) add(d *descriptor) uint32 {
	i := slices.Index(t.slots[t.low:], nil)
	if i < 0 {
		i = len(t.slots) - t.low
		t.slots = append(t.slots, nil)
	}
	t.low += i
	t.slots[t.low] = d
	t.low++
	t.used++
	return uint32(t.low - 1)
}

// close frees the number fd.
func (t *fdTable) close(fd uint32) errno {
	d := t.get(fd)
	if d == nil {
		return eBADF
	}
	t.slots[fd] = nil
	t.low = min(t.low, int(fd))
	t.used--
	if f, ok := d.node.(*memFile); ok {
		f.closed()
	}
	return eOK
}

// renumber moves from to the number to and closes what was there.
func (t *fdTable) renumber(from, to uint32) errno {
	d := t.get(from)
	switch {
	case d == nil || to >= maxOpen:
		return eBADF
	case from == to:
		return eOK
	}
	if t.get(to) != nil {
		t.close(to)
	}
	for uint32(len(t.slots)) <= to {
		t.slots = append(t.slots, nil)
	}
	t.slots[from], t.slots[to] = nil, d
	t.low = min(t.low, int(from))
	return eOK
}
