package wasi

import (
	"context"

	"github.com/ipfs-liftoff/liftoff/abi"
)

// The functions on paths. Each takes a directory descriptor, and a path relative to it.

// maxText is the longest string that is copied out of a guest's memory; whether it is a valid
// path is checked then.
const maxText = abi.MaxPath

// at reads a directory's descriptor and a path.
func (s *System) at(m memory, fd, ptr, size uint64) (directory, string, errno) {
	d := s.fds.get(uint32(fd))
	if d == nil {
		return nil, "", eBADF
	}
	dir, ok := d.node.(directory)
	if !ok {
		return nil, "", eNOTDIR
	}
	path, e := m.text(ptr, size)
	return dir, path, e
}

// followFlag reads the lookup flags.
func followFlag(lookup uint64) follow {
	if lookup&1 != 0 {
		return followAlways
	}
	return followSlash
}

func pathCreateDirectory(ctx context.Context, s *System, m memory, p []uint64) errno {
	dir, path, e := s.at(m, p[0], p[1], p[2])
	if e != eOK {
		return e
	}
	return s.mkdir(ctx, dir, path)
}

func pathFilestatGet(ctx context.Context, s *System, m memory, p []uint64) errno {
	dir, path, e := s.at(m, p[0], p[2], p[3])
	if e != eOK {
		return e
	}
	n, e := s.node(ctx, dir, path, followFlag(p[1]))
	if e != eOK {
		return e
	}
	return m.putStat(p[4], n.stat())
}

func pathFilestatSetTimes(ctx context.Context, s *System, m memory, p []uint64) errno {
	dir, path, e := s.at(m, p[0], p[2], p[3])
	if e != eOK {
		return e
	}
	if e := checkTimes(p[6]); e != eOK {
		return e
	}
	n, e := s.node(ctx, dir, path, followFlag(p[1]))
	if e != eOK {
		return e
	}
	return setTimes(n)
}

func pathOpen(ctx context.Context, s *System, m memory, p []uint64) errno {
	dir, path, e := s.at(m, p[0], p[2], p[3])
	if e != eOK {
		return e
	}
	if _, e := m.span(p[8], 4); e != eOK {
		return e // before a file is created
	}
	fd, e := s.open(ctx, dir, path, modeOf(p[1], p[4], p[5], p[7]))
	if e != eOK {
		return e
	}
	return m.put32(p[8], fd)
}

// pathReadlink truncates a target that is longer than the buffer, as readlink does: programs
// grow their buffer until it is not full.
func pathReadlink(ctx context.Context, s *System, m memory, p []uint64) errno {
	dir, path, e := s.at(m, p[0], p[1], p[2])
	if e != eOK {
		return e
	}
	buf, e := m.bytes(p[3], p[4])
	if e != eOK {
		return e
	}
	n, e := s.node(ctx, dir, path, followSlash)
	if e != eOK {
		return e
	}
	link, ok := n.(symlink)
	if !ok {
		return eINVAL
	}
	return m.put32(p[5], uint32(copy(buf, link.target())))
}

func pathRemoveDirectory(ctx context.Context, s *System, m memory, p []uint64) errno {
	dir, path, e := s.at(m, p[0], p[1], p[2])
	if e != eOK {
		return e
	}
	return s.rmdir(ctx, dir, path)
}

func pathRename(ctx context.Context, s *System, m memory, p []uint64) errno {
	dir, path, e := s.at(m, p[0], p[1], p[2])
	if e != eOK {
		return e
	}
	toDir, toPath, e := s.at(m, p[3], p[4], p[5])
	if e != eOK {
		return e
	}
	return s.rename(ctx, dir, path, toDir, toPath)
}

func pathSymlink(ctx context.Context, s *System, m memory, p []uint64) errno {
	target, e := m.text(p[0], p[1])
	if e != eOK {
		return e
	}
	dir, path, e := s.at(m, p[2], p[3], p[4])
	if e != eOK {
		return e
	}
	return s.symlink(ctx, target, dir, path)
}

func pathUnlinkFile(ctx context.Context, s *System, m memory, p []uint64) errno {
	dir, path, e := s.at(m, p[0], p[1], p[2])
	if e != eOK {
		return e
	}
	return s.unlink(ctx, dir, path)
}
