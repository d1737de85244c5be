package wasi

import (
	"context"
	"io"

	"github.com/ipfs-liftoff/liftoff/runtime/wasm/fuel"
)

// fileType is WASI's filetype.
type fileType uint8

const (
	typeUnknown   fileType = 0 // stdout and stderr: neither a terminal nor a file
	typeDirectory fileType = 3
	typeRegular   fileType = 4
	typeSymlink   fileType = 7
)

// Devices: one per part of the file system, so that programs that check see that the parts are
// separate.
const (
	devRoot = 1 + iota
	devIn
	devOut
	devTmp
	devStdio
)

// stat is what a guest can see of a node. There are no times: they read as 0.
type stat struct {
	dev, ino uint64
	kind     fileType
	size     uint64
	nlink    uint64
}

// node is the target of a path or a descriptor.
type node interface {
	stat() stat
}

// directory is a node that has entries.
type directory interface {
	node
	// up returns the parent directory; the root is its own parent.
	up() directory
	// lookup returns the entry name, or eNOENT.
	lookup(ctx context.Context, name string) (node, errno)
	// next returns the first entry whose cookie is greater than after, in an order that is the
	// same on every host; ok is false at the end. Cookies of entries are greater than
	// [cookieDotDot].
	next(ctx context.Context, after uint64) (e entry, ok bool, err errno)
}

// entry is one line of a listing. cookie is where the listing continues after it: a number that
// stays valid while entries are added and removed.
type entry struct {
	name   string
	ino    uint64
	kind   fileType
	cookie uint64
}

// The cookies of the entries that every directory has.
const (
	cookieStart  = 0
	cookieDot    = 1
	cookieDotDot = 2
)

// file is a node that has bytes.
type file interface {
	node
	// readAt reads into p from off: all of it, or up to the file's end. It charges a for what
	// it reads.
	readAt(ctx context.Context, a *fuel.Account, p []byte, off uint64) (int, errno)
}

// symlink is a node that stands for a path.
type symlink interface {
	node
	target() string
	// inside returns the directory that following the link may not leave, nil for none; ok is
	// false if the link cannot be followed at all.
	inside() (d directory, ok bool)
}

// stream is stdout or stderr. Its writer's error ends the run.
type stream struct {
	ino uint64
	w   io.Writer // may be nil
}

func (s *stream) stat() stat { return stat{dev: devStdio, ino: s.ino, kind: typeUnknown, nlink: 1} }

func (s *stream) write(p []byte) {
	if s.w == nil {
		return
	}
	if n, err := s.w.Write(p); err != nil {
		panic(err)
	} else if n != len(p) {
		panic(io.ErrShortWrite)
	}
}

// noFile is an empty stdin: a file without bytes.
type noFile struct{}

func (noFile) stat() stat { return stat{dev: devStdio, ino: 1, kind: typeRegular, nlink: 1} }

func (noFile) readAt(context.Context, *fuel.Account, []byte, uint64) (int, errno) { return 0, eOK }

// rootDir is "/": the fixed entries in, out and tmp.
type rootDir struct {
	names []string
	nodes []node
}

func (r *rootDir) stat() stat {
	return stat{dev: devRoot, ino: 1, kind: typeDirectory, nlink: 1}
}

func (r *rootDir) up() directory { return r }

func (r *rootDir) lookup(_ context.Context, name string) (node, errno) {
	for i, n := range r.names {
		if n == name {
			return r.nodes[i], eOK
		}
	}
	return nil, eNOENT
}

func (r *rootDir) next(_ context.Context, after uint64) (entry, bool, errno) {
	i := after - cookieDotDot
	if i >= uint64(len(r.names)) {
		return entry{}, false, eOK
	}
	st := r.nodes[i].stat()
	return entry{r.names[i], st.ino, st.kind, after + 1}, true, eOK
}

// hashInode derives an inode number from a node's place: the inode of its parent, and its name.
// The hash is FNV-1a.
func hashInode(parent uint64, name string) uint64 {
	const prime = 1099511628211
	h := uint64(14695981039346656037)
	for i := range 8 {
		h = (h ^ parent>>(8*i)&0xff) * prime
	}
	for i := range len(name) {
		h = (h ^ uint64(name[i])) * prime
	}
	return max(h, 1)
}
