package wasi

import (
	"context"
	"strings"
	"unicode/utf8"

	"github.com/ipfs-liftoff/liftoff/abi"
	"github.com/ipfs-liftoff/liftoff/runtime/wasm/fuel"
)

// maxHops is the number of symlinks that may be followed for one path.
const maxHops = 40

// follow says how a symlink at the end of a path is treated.
type follow int

const (
	followNever follow = iota // the link itself; with a trailing slash, eNOTDIR
	followSlash               // the link itself; with a trailing slash, its target
	followAlways
)

// place is the target of a path: a name in a directory, and the node there.
type place struct {
	dir   directory
	name  string // "" if the path ends in ".", ".." or "/": then node is dir
	node  node   // nil if dir has no such name
	slash bool   // the path ends in a slash: the node must be a directory
}

// checkPath returns the errno of a path that is invalid whatever it leads to.
func checkPath(path string) errno {
	switch {
	case path == "":
		return eNOENT
	case len(path) > abi.MaxPath:
		return eNAMETOOLONG
	case strings.IndexByte(path, 0) >= 0:
		return eINVAL
	case !utf8.ValidString(path):
		return eILSEQ
	}
	return eOK
}

// walk follows path from a directory, as POSIX resolves pathnames: ".." is the parent
// directory, after symlinks, and the parent of the root is the root. The last name need not
// exist.
func (s *System) walk(ctx context.Context, from directory, path string, f follow) (place, errno) {
	if e := checkPath(path); e != eOK {
		return place{}, e
	}
	w := walker{root: s.root, fuel: s.fuel}
	return w.walk(ctx, from, path, f, nil)
}

// node follows path to an existing node.
func (s *System) node(ctx context.Context, from directory, path string, f follow) (node, errno) {
	p, e := s.walk(ctx, from, path, f)
	if e == eOK && p.node == nil {
		e = eNOENT
	}
	return p.node, e
}

type walker struct {
	root directory
	fuel *fuel.Account
	hops int
}

// walk resolves path below from. If inside is set, the path comes from a symlink of an input
// and must stay in that input: a path that leaves it is eNOENT.
func (w *walker) walk(ctx context.Context, from directory, path string, f follow, inside directory) (place, errno) {
	cur := from
	if strings.HasPrefix(path, "/") {
		if inside != nil {
			return place{}, eNOENT
		}
		cur = w.root
	}
	for {
		path = strings.TrimLeft(path, "/")
		name, rest, slash := strings.Cut(path, "/")
		last := strings.Trim(rest, "/") == ""
		switch name {
		case "":
			return place{dir: cur, node: cur, slash: true}, eOK
		case ".":
		case "..":
			if cur == inside {
				return place{}, eNOENT
			}
			cur = cur.up()
		default:
			if len(name) > abi.MaxName {
				return place{}, eNAMETOOLONG
			}
			p, e := w.step(ctx, place{dir: cur, name: name, slash: last && slash}, last, f)
			if e != eOK || last {
				return p, e
			}
			next, ok := p.node.(directory)
			if !ok {
				return place{}, eNOTDIR
			}
			cur = next
		}
		path = rest
		if last {
			return place{dir: cur, node: cur, slash: slash}, eOK
		}
	}
}

// step looks p.name up in p.dir and follows it if it is a symlink to be followed. For eNOTDIR
// before a path's last slash it also returns the place.
func (w *walker) step(ctx context.Context, p place, last bool, f follow) (place, errno) {
	w.fuel.Spend(lookupPrice(p.dir))
	n, e := p.dir.lookup(ctx, p.name)
	if e == eNOENT && last {
		return p, eOK
	}
	if e != eOK {
		return place{}, e
	}
	p.node = n
	link, ok := n.(symlink)
	if ok && (!last || f == followAlways || f == followSlash && p.slash) {
		if w.hops++; w.hops > maxHops {
			return place{}, eLOOP
		}
		inside, ok := link.inside()
		if !ok || checkPath(link.target()) != eOK {
			return place{}, eNOENT
		}
		at, e := w.walk(ctx, p.dir, link.target(), followAlways, inside)
		if e != eOK {
			return place{}, e
		}
		at.slash = at.slash || p.slash
		if at.node == nil && !last {
			return place{}, eNOENT
		}
		p = at
	}
	if _, isDir := p.node.(directory); p.slash && p.node != nil && !isDir {
		return p, eNOTDIR
	}
	return p, eOK
}

// lookupPrice is the fuel for looking up one name in d: inputs are blocks, everything else is
// in memory.
func lookupPrice(d directory) uint64 {
	switch d.(type) {
	case *inputs, *inDir:
		return abi.FuelBlock
	}
	return abi.FuelEntry
}
