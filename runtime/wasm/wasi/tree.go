package wasi

import (
	"context"
	"sort"

	"github.com/ipfs-liftoff/liftoff/abi"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/runtime/wasm/fuel"
)

// maxDepth is the most nested directories below /out or /tmp. One more returns eNAMETOOLONG, on
// every host.
const maxDepth = 240

// memDir is a directory of /out or /tmp. The tree of names is in memory, because names behave
// differently on every host's disk.
type memDir struct {
	q      *quota
	ino    uint64
	parent directory // for a removed directory, its last parent
	// height is at least the number of directory levels below; it is recomputed exactly only
	// when the directory becomes empty. It bounds the depth without walking subtrees.
	height  int
	removed bool
	profile *dag.Profile      // of /out
	names   map[uint64]*child // by key: names with the same key cannot be in one directory
	order   []*child          // by cookie; those without a node are removed
	cookies uint64            // the last one used
}

// child is one name in a memDir.
type child struct {
	name   string
	node   memNode // nil if it was removed
	cookie uint64
}

// memNode is an entry of a memDir: *memDir, *memFile, *memLink.
type memNode interface {
	node
	inode() uint64
	// unlinked is called when the node's name was removed.
	unlinked()
}

func newMemDir(q *quota, p *dag.Profile, ino uint64, parent directory) *memDir {
	return &memDir{q: q, profile: p, ino: ino, parent: parent, names: map[uint64]*child{}, cookies: cookieDotDot}
}

func (d *memDir) inode() uint64 { return d.ino }
func (d *memDir) up() directory { return d.parent }
func (d *memDir) stat() stat {
	nlink := uint64(1)
	if d.removed {
		nlink = 0
	}
	return stat{dev: d.q.dev, ino: d.ino, kind: typeDirectory, nlink: nlink}
}

func (d *memDir) unlinked() {
	d.removed = true
	d.q.dropInode(0)
}

func (d *memDir) lookup(_ context.Context, name string) (node, errno) {
	if c := d.names[d.profile.NameKey(name)]; c != nil && c.name == name {
		return c.node, eOK
	}
	return nil, eNOENT
}

// bars returns another name in d that excludes name, or nil.
func (d *memDir) conflicting(name string) *child {
	if c := d.names[d.profile.NameKey(name)]; c != nil && c.name != name {
		return c
	}
	return nil
}

func (d *memDir) next(_ context.Context, after uint64) (entry, bool, errno) {
	i := sort.Search(len(d.order), func(i int) bool { return d.order[i].cookie > after })
	for ; i < len(d.order); i++ {
		if c := d.order[i]; c.node != nil {
			return entry{c.name, c.node.inode(), c.node.stat().kind, c.cookie}, true, eOK
		}
	}
	return entry{}, false, eOK
}

// add adds n under a free name that no other name excludes. For a directory, the caller has to
// check fits.
func (d *memDir) add(name string, n memNode) {
	d.q.remember(len(name))
	d.cookies++
	c := &child{name, n, d.cookies}
	d.names[d.profile.NameKey(name)] = c
	d.order = append(d.order, c)
	if sub, ok := n.(*memDir); ok {
		sub.parent = d
		for up, h := d, sub.height+1; up != nil && up.height < h; h++ {
			up.height = h
			up, _ = up.parent.(*memDir)
		}
	}
}

// take removes an existing name.
func (d *memDir) take(name string) memNode {
	k := d.profile.NameKey(name)
	c := d.names[k]
	n := c.node
	delete(d.names, k)
	c.node = nil
	d.q.forget(len(name))
	switch {
	case len(d.names) == 0:
		d.order, d.height = nil, 0
	case len(d.order) > 32 && len(d.order) > 2*len(d.names):
		live := make([]*child, 0, len(d.names))
		for _, c := range d.order {
			if c.node != nil {
				live = append(live, c)
			}
		}
		d.order = live
	}
	return n
}

// fits reports whether a directory with height levels below it may be in d.
func (d *memDir) fits(height int) bool {
	depth := 1
	for up, ok := d.parent.(*memDir); ok; up, ok = up.parent.(*memDir) {
		depth++
	}
	return depth+height <= maxDepth
}

// contains reports whether other is d or below it.
func (d *memDir) contains(other directory) bool {
	for up, ok := other.(*memDir); ok; up, ok = up.parent.(*memDir) {
		if up == d {
			return true
		}
	}
	return false
}

// memFile is a file of /out or /tmp.
type memFile struct {
	q      *quota
	ino    uint64
	bytes  content
	opens  int  // descriptors
	linked bool // has a name
}

func newMemFile(q *quota, ino uint64, s *scratch) *memFile {
	q.addInode(0)
	return &memFile{q: q, ino: ino, bytes: content{s: s}, linked: true}
}

func (f *memFile) inode() uint64 { return f.ino }

func (f *memFile) stat() stat {
	st := stat{dev: f.q.dev, ino: f.ino, kind: typeRegular, size: f.bytes.size}
	if f.linked {
		st.nlink = 1
	}
	return st
}

func (f *memFile) readAt(ctx context.Context, a *fuel.Account, p []byte, off uint64) (int, errno) {
	if off >= f.bytes.size {
		return 0, eOK
	}
	p = p[:min(uint64(len(p)), f.bytes.size-off)]
	a.Spend(abi.FuelCopy(uint64(len(p))))
	n := 0
	fuel.Steps(ctx, p, func(p []byte) { n += f.bytes.readAt(p, off+uint64(n)) })
	return n, eOK
}

func (f *memFile) writeAt(p []byte, off uint64) errno {
	if off > maxFileSize || uint64(len(p)) > maxFileSize-off {
		return eFBIG
	}
	if end := off + uint64(len(p)); len(p) > 0 && end > f.bytes.size {
		f.q.charge(end - f.bytes.size)
	}
	f.bytes.writeAt(p, off)
	return eOK
}

func (f *memFile) truncate(size uint64) errno {
	if size > maxFileSize {
		return eFBIG
	}
	old := f.bytes.size
	if size > old {
		f.q.charge(size - old)
	}
	if size != old {
		f.bytes.resize(size)
	}
	if size < old {
		f.q.release(old - size)
	}
	return eOK
}

// move charges the other side for the file.
func (f *memFile) move(to *quota) {
	if f.q == to {
		return
	}
	to.charge(inodeCharge + f.bytes.size)
	f.q.release(inodeCharge + f.bytes.size)
	f.q = to
}

func (f *memFile) unlinked() {
	f.linked = false
	f.freeIfUnused()
}

func (f *memFile) opened() { f.opens++ }

func (f *memFile) closed() {
	f.opens--
	f.freeIfUnused()
}

// freeIfUnused releases a file that has neither a name nor a descriptor.
func (f *memFile) freeIfUnused() {
	if f.linked || f.opens > 0 {
		return
	}
	f.q.release(f.bytes.size)
	f.q.dropInode(0)
	f.bytes.free()
}

// memLink is a symlink of /out or /tmp.
type memLink struct {
	q   *quota
	ino uint64
	to  string
}

func newMemLink(q *quota, ino uint64, to string) *memLink {
	q.addInode(len(to))
	return &memLink{q, ino, to}
}

func (l *memLink) inode() uint64             { return l.ino }
func (l *memLink) target() string            { return l.to }
func (l *memLink) inside() (directory, bool) { return nil, true }
func (l *memLink) unlinked()                 { l.q.dropInode(len(l.to)) }
func (l *memLink) stat() stat {
	return stat{dev: l.q.dev, ino: l.ino, kind: typeSymlink, size: uint64(len(l.to)), nlink: 1}
}

func (l *memLink) move(to *quota) {
	if l.q != to {
		to.charge(inodeCharge)
		l.q.release(inodeCharge)
		l.q = to
	}
}
