package wasi

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/ipfs-liftoff/liftoff/internal/dag"
)

// memoryModule is a module that has only four pages of memory.
var memoryModule = []byte("\x00asm\x01\x00\x00\x00" + "\x05\x03\x01\x00\x04" + "\x07\x0a\x01\x06memory\x02\x00")

// caller calls host functions like a guest, through a real memory.
type caller struct {
	s *System
	m memory
}

const (
	pathAt  = 0       // address of paths
	path2At = 8 << 10 // address of second paths
	outAt   = 16 << 10
	iovAt   = 20 << 10
	dataAt  = 64 << 10
)

// sharedMemory is the memory of all callers: its content has no meaning between calls.
var sharedMemory = sync.OnceValue(func() api.Module {
	ctx := context.Background()
	mod, err := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter()).Instantiate(ctx, memoryModule)
	if err != nil {
		panic(err)
	}
	return mod
})

// makeCaller fills in the unset fields of cfg.
func makeCaller(cfg Config) (*caller, error) {
	if cfg.Blocks == nil {
		cfg.Blocks = &dag.MemBlocks{}
	}
	if cfg.OutLimit == 0 {
		cfg.OutLimit = 1 << 40
	}
	if cfg.TmpLimit == 0 {
		cfg.TmpLimit = 1 << 40
	}
	cfg.Profile = dag.UnixFSv1
	s, err := New(context.Background(), cfg)
	if err != nil {
		return nil, err
	}
	return &caller{s, s.memoryOf(sharedMemory())}, nil
}

func newCaller(t testing.TB, cfg Config) *caller {
	t.Helper()
	cfg.Scratch = t.TempDir()
	c, err := makeCaller(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.s.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func (c *caller) call(name string, p ...uint64) errno {
	for _, f := range functions {
		if f.name == name {
			return f.call(context.Background(), c.s, c.m, p)
		}
	}
	panic("no function " + name)
}

// put writes a string into the guest's memory and returns it as two parameters.
func (c *caller) put(at uint64, s string) (uint64, uint64) {
	if !c.m.WriteString(uint32(at), s) {
		panic(fmt.Sprintf("%d bytes do not fit at %d", len(s), at))
	}
	return at, uint64(len(s))
}

func (c *caller) out32() uint32 { v, _ := c.m.ReadUint32Le(outAt); return v }
func (c *caller) out64() uint64 { v, _ := c.m.ReadUint64Le(outAt); return v }

const (
	rootFD = 3
	rw     = rightRead | rightWrite
)

// openAt opens a path below the descriptor dir; symlinks are followed.
func (c *caller) openAt(dir uint32, path string, oflags, rights, fdflags uint64) (uint32, errno) {
	p, n := c.put(pathAt, path)
	e := c.call("path_open", uint64(dir), 1, p, n, oflags, rights, 0, fdflags, outAt)
	return c.out32(), e
}

func (c *caller) open(path string, oflags, rights uint64) (uint32, errno) {
	return c.openAt(rootFD, path, oflags, rights, 0)
}

func (c *caller) close(fd uint32) errno { return c.call("fd_close", uint64(fd)) }

// on calls a function with the parameters (dir, path).
func (c *caller) on(name string, dir uint32, path string) errno {
	p, n := c.put(pathAt, path)
	return c.call(name, uint64(dir), p, n)
}

func (c *caller) mkdir(path string) errno  { return c.on("path_create_directory", rootFD, path) }
func (c *caller) rmdir(path string) errno  { return c.on("path_remove_directory", rootFD, path) }
func (c *caller) unlink(path string) errno { return c.on("path_unlink_file", rootFD, path) }

func (c *caller) rename(from, to string) errno {
	p, n := c.put(pathAt, from)
	q, k := c.put(path2At, to)
	return c.call("path_rename", rootFD, p, n, rootFD, q, k)
}

func (c *caller) symlink(target, path string) errno {
	p, n := c.put(pathAt, target)
	q, k := c.put(path2At, path)
	return c.call("path_symlink", p, n, rootFD, q, k)
}

func (c *caller) readlink(path string, room uint64) (string, errno) {
	p, n := c.put(pathAt, path)
	e := c.call("path_readlink", rootFD, p, n, dataAt, room, outAt)
	if e != eOK {
		return "", e
	}
	b, _ := c.m.Read(dataAt, c.out32())
	return string(b), e
}

func (c *caller) iovec(size int) {
	c.m.WriteUint32Le(iovAt, dataAt)
	c.m.WriteUint32Le(iovAt+4, uint32(size))
}

func (c *caller) write(fd uint32, s string) (int, errno) {
	c.put(dataAt, s)
	c.iovec(len(s))
	e := c.call("fd_write", uint64(fd), iovAt, 1, outAt)
	return int(c.out32()), e
}

func (c *caller) pwrite(fd uint32, s string, off int64) (int, errno) {
	c.put(dataAt, s)
	c.iovec(len(s))
	e := c.call("fd_pwrite", uint64(fd), iovAt, 1, uint64(off), outAt)
	return int(c.out32()), e
}

func (c *caller) read(fd uint32, size int) (string, errno) {
	c.iovec(size)
	return c.taken(c.call("fd_read", uint64(fd), iovAt, 1, outAt))
}

func (c *caller) pread(fd uint32, size int, off int64) (string, errno) {
	c.iovec(size)
	return c.taken(c.call("fd_pread", uint64(fd), iovAt, 1, uint64(off), outAt))
}

func (c *caller) taken(e errno) (string, errno) {
	if e != eOK {
		return "", e
	}
	b, _ := c.m.Read(dataAt, c.out32())
	return string(b), eOK
}

func (c *caller) seek(fd uint32, off int64, origin int) (int64, errno) {
	e := c.call("fd_seek", uint64(fd), uint64(off), uint64(origin), outAt)
	return int64(c.out64()), e
}

func (c *caller) truncate(fd uint32, size int64) errno {
	return c.call("fd_filestat_set_size", uint64(fd), uint64(size))
}

// statOf reads the stat that a function wrote at dataAt.
func (c *caller) statOf(e errno) (stat, errno) {
	if e != eOK {
		return stat{}, e
	}
	b, _ := c.m.Read(dataAt, 64)
	return stat{le.Uint64(b), le.Uint64(b[8:]), fileType(b[16]), le.Uint64(b[32:]), le.Uint64(b[24:])}, eOK
}

func (c *caller) stat(path string, follow uint64) (stat, errno) {
	p, n := c.put(pathAt, path)
	return c.statOf(c.call("path_filestat_get", rootFD, follow, p, n, dataAt))
}

func (c *caller) fstat(fd uint32) (stat, errno) {
	return c.statOf(c.call("fd_filestat_get", uint64(fd), dataAt))
}

// list reads a directory's descriptor from a cookie to its end, through a buffer of a given
// size, as C libraries do: a truncated last entry is read again.
func (c *caller) list(fd uint32, cookie uint64, size uint32) ([]entry, errno) {
	var all []entry
	for {
		if e := c.call("fd_readdir", uint64(fd), dataAt, uint64(size), cookie, outAt); e != eOK {
			return all, e
		}
		used := c.out32()
		b, _ := c.m.Read(dataAt, used)
		for len(b) >= direntSize {
			n := int(le.Uint32(b[16:]))
			if len(b) < direntSize+n {
				break
			}
			cookie = le.Uint64(b)
			all = append(all, entry{string(b[direntSize : direntSize+n]), le.Uint64(b[8:]), fileType(b[20]), cookie})
			b = b[direntSize+n:]
		}
		if used < size {
			return all, eOK
		}
	}
}

// names lists a path, without "." and "..".
func (c *caller) names(t testing.TB, path string) []string {
	t.Helper()
	fd, e := c.open(path, oDirectory, 0)
	want(t, "open "+path, e, eOK)
	list, e := c.list(fd, 0, 4096)
	want(t, "list "+path, e, eOK)
	c.close(fd)
	names := []string{}
	for i, ent := range list {
		if i < 2 && ent.name != [2]string{".", ".."}[i] {
			t.Fatalf("entry %d of %s: got %q", i, path, ent.name)
		}
		if i >= 2 {
			names = append(names, ent.name)
		}
	}
	return names
}

// content reads the whole file at path.
func (c *caller) content(t testing.TB, path string) string {
	t.Helper()
	fd, e := c.open(path, 0, rightRead)
	want(t, "open "+path, e, eOK)
	defer c.close(fd)
	s, e := c.read(fd, 100_000)
	want(t, "read "+path, e, eOK)
	return s
}

// create creates a file with a content.
func (c *caller) create(t testing.TB, path, content string) {
	t.Helper()
	fd, e := c.open(path, oCreat|oTrunc, rw)
	want(t, "create "+path, e, eOK)
	_, e = c.write(fd, content)
	want(t, "write "+path, e, eOK)
	c.close(fd)
}

func want(t testing.TB, what string, got, wanted errno) {
	t.Helper()
	if got != wanted {
		t.Fatalf("%s: errno %d, want %d", what, got, wanted)
	}
}

// ended runs f and returns the error that ended the run, nil if the run continues.
func ended(f func()) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = r.(error)
		}
	}()
	f()
	return nil
}
