package wasi

import "context"

// The operations of a guest on names. Each checks in the same order as Linux, so that programs
// get the errors that they expect.

// memDirOf returns the directory in which p's name may be changed.
func memDirOf(p place) (*memDir, errno) {
	d, ok := p.dir.(*memDir)
	switch {
	case !ok:
		return nil, eROFS
	case d.removed:
		return nil, eNOENT
	}
	return d, eOK
}

// vacant returns the place where path can be created.
func (s *System) vacant(ctx context.Context, from directory, path string) (*memDir, place, errno) {
	p, e := s.walk(ctx, from, path, followSlash)
	if p.node != nil {
		return nil, p, eEXIST
	}
	if e != eOK {
		return nil, p, e
	}
	d, e := memDirOf(p)
	if e == eOK && d.conflicting(p.name) != nil {
		e = eINVAL
	}
	return d, p, e
}

func (s *System) mkdir(ctx context.Context, from directory, path string) errno {
	d, p, e := s.vacant(ctx, from, path)
	if e != eOK {
		return e
	}
	if !d.fits(0) {
		return eNAMETOOLONG
	}
	d.q.addInode(0)
	d.add(p.name, newMemDir(d.q, d.profile, s.newInode(), d))
	return eOK
}

func (s *System) symlink(ctx context.Context, target string, from directory, path string) errno {
	if e := checkPath(target); e != eOK {
		return e
	}
	d, p, e := s.vacant(ctx, from, path)
	switch {
	case e != eOK:
		return e
	case p.slash:
		return eNOENT
	}
	d.add(p.name, newMemLink(d.q, s.newInode(), target))
	return eOK
}

func (s *System) unlink(ctx context.Context, from directory, path string) errno {
	d, p, e := s.existing(ctx, from, path)
	if _, isDir := p.node.(directory); isDir {
		return eISDIR // even if nothing can be removed: then "rm -r /out" empties it
	}
	if e != eOK {
		return e
	}
	d.take(p.name).unlinked()
	return eOK
}

func (s *System) rmdir(ctx context.Context, from directory, path string) errno {
	d, p, e := s.existing(ctx, from, path)
	if e != eOK {
		return e
	}
	sub, ok := p.node.(*memDir)
	switch {
	case !ok:
		return eNOTDIR
	case len(sub.names) > 0:
		return eNOTEMPTY
	}
	d.take(p.name).unlinked()
	return eOK
}

// existing returns a name that can be removed.
func (s *System) existing(ctx context.Context, from directory, path string) (*memDir, place, errno) {
	p, e := s.walk(ctx, from, path, followNever)
	switch {
	case e != eOK:
		return nil, place{}, e
	case p.node == nil:
		return nil, place{}, eNOENT
	case p.name == "":
		return nil, p, eINVAL // ".", ".." or "/"
	}
	d, e := memDirOf(p)
	return d, p, e
}

// rename moves a name. Between /out and /tmp, files and symlinks can be moved; directories
// return eXDEV, as between two disks, and programs copy them.
func (s *System) rename(ctx context.Context, from directory, path string, toFrom directory, toPath string) errno {
	oldDir, old, e := s.existing(ctx, from, path)
	if e != eOK {
		return e
	}
	to, e := s.walk(ctx, toFrom, toPath, followNever)
	switch {
	case e != eOK:
		return e
	case to.node != nil && to.name == "":
		return eINVAL
	}
	newDir, e := memDirOf(to)
	switch {
	case e != eOK:
		return e
	case to.node == old.node:
		return eOK
	}
	moved := old.node.(memNode)
	if c := newDir.conflicting(to.name); c != nil && c.node != old.node {
		return eINVAL
	}
	if e := mayReplace(moved, newDir, to); e != eOK {
		return e
	}
	switch n := moved.(type) {
	case *memFile:
		n.move(newDir.q)
	case *memLink:
		n.move(newDir.q)
	}
	oldDir.take(old.name)
	if to.node != nil {
		newDir.take(to.name).unlinked()
	}
	newDir.add(to.name, moved)
	return eOK
}

// mayReplace returns the errno for replacing the place to in d by moved, or eOK.
func mayReplace(moved memNode, d *memDir, to place) errno {
	dir, isDir := moved.(*memDir)
	over, overDir := to.node.(*memDir)
	switch {
	case isDir && dir.contains(d):
		return eINVAL
	case !isDir && to.slash:
		return eNOTDIR
	case to.node != nil && isDir && !overDir:
		return eNOTDIR
	case overDir && !isDir:
		return eISDIR
	case overDir && len(over.names) > 0:
		return eNOTEMPTY
	case isDir && dir.q != d.q:
		return eXDEV
	case isDir && !d.fits(dir.height):
		return eNAMETOOLONG
	}
	return eOK
}

// setTimes accepts times for every writable node, and ignores them.
func setTimes(n node) errno {
	switch n.stat().dev {
	case devRoot, devIn:
		return eROFS
	}
	return eOK
}
