package wasi

import (
	"fmt"
	"os"
	"slices"
	"sort"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// errnos maps Linux's error numbers to WASI's.
var errnos = map[error]errno{
	nil: eOK, unix.EBADF: eBADF, unix.EEXIST: eEXIST, unix.EINVAL: eINVAL, unix.EISDIR: eISDIR, unix.ELOOP: eLOOP,
	unix.ENAMETOOLONG: eNAMETOOLONG, unix.ENOENT: eNOENT, unix.ENOTDIR: eNOTDIR, unix.ENOTEMPTY: eNOTEMPTY, unix.EBUSY: eINVAL,
}

// model is a real directory of this machine beside one below /out; every operation is applied
// to both, and everything observable must be equal.
type model struct {
	c    *caller
	host int    // the model's directory
	dir  string // the guest's directory, below "/"
	open []pair
}

// pair is one open file, on both sides.
type pair struct {
	fd   uint32
	host int
	dir  bool
}

// nest is the depth of both directories, so that ".." behaves the same above both.
const nest = "n/n/n/n/n/n"

func genPath(t *rapid.T, label string) string {
	n := rapid.IntRange(1, 4).Draw(t, label+" length")
	parts := make([]string, n)
	for i := range parts {
		parts[i] = rapid.SampledFrom([]string{"a", "b", "c", "a", "b", "c", "a", "b", "c", ".", ".."}).Draw(t, label)
	}
	path := strings.Join(parts, "/")
	if rapid.IntRange(0, 9).Draw(t, label+" slash") == 0 {
		path += "/"
	}
	return path
}

// endsInDots reports whether POSIX leaves the path's error open.
func endsInDots(path string) bool {
	last := path[strings.LastIndexByte(strings.TrimRight(path, "/"), '/')+1:]
	return strings.HasPrefix(last, ".")
}

func (m *model) at(path string) string { return m.dir + "/" + path }

func (m *model) same(t *rapid.T, what string, got errno, host error) {
	t.Helper()
	wanted, ok := errnos[host]
	if !ok {
		t.Fatalf("%s: host: %v", what, host)
	}
	if got != wanted {
		t.Fatalf("%s: errno %d, host: %v", what, got, host)
	}
}

func TestTreeBehavesLikeLinux(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		base, err := os.MkdirTemp("", "wasi")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(base)
		scratch := base + "/scratch"
		if err := os.Mkdir(scratch, 0o700); err != nil {
			t.Fatal(err)
		}
		c, err := makeCaller(Config{Scratch: scratch})
		if err != nil {
			t.Fatal(err)
		}
		defer c.s.Close()
		m := &model{c: c, dir: "out/" + nest}
		path, at := base, "out"
		for _, n := range strings.Split(nest, "/") {
			path, at = path+"/"+n, at+"/"+n
			if err := os.Mkdir(path, 0o777); err != nil {
				t.Fatal(err)
			}
			m.c.mkdir(at)
		}
		if m.host, err = unix.Open(path, unix.O_DIRECTORY|unix.O_RDONLY, 0); err != nil {
			t.Fatal(err)
		}
		defer func() {
			for _, p := range m.open {
				unix.Close(p.host)
			}
			unix.Close(m.host)
		}()
		t.Repeat(map[string]func(*rapid.T){
			"":         func(t *rapid.T) { m.compare(t, ".", m.host) },
			"mkdir":    m.mkdir,
			"mkdir2":   m.mkdir,
			"rmdir":    m.rmdir,
			"unlink":   m.unlink,
			"rename":   m.rename,
			"symlink":  m.symlink,
			"readlink": m.readlink,
			"stat":     m.stat,
			"open":     m.openFile,
			"open2":    m.openFile,
			"close":    m.closeFile,
			"read":     m.read,
			"write":    m.write,
			"write2":   m.write,
			"seek":     m.seek,
			"truncate": m.truncate,
		})
	})
}

func (m *model) mkdir(t *rapid.T) {
	p := genPath(t, "path")
	if strings.HasSuffix(p, "/") && m.isLink(p) {
		t.Skip("Linux deviates for mkdir of a link with a slash")
	}
	m.same(t, "mkdir "+p, m.c.mkdir(m.at(p)), unix.Mkdirat(m.host, p, 0o777))
}

// isLink reports whether the path without its trailing slashes is a symlink.
func (m *model) isLink(p string) bool {
	var st unix.Stat_t
	err := unix.Fstatat(m.host, strings.TrimRight(p, "/"), &st, unix.AT_SYMLINK_NOFOLLOW)
	return err == nil && st.Mode&unix.S_IFMT == unix.S_IFLNK
}

func (m *model) rmdir(t *rapid.T) {
	p := genPath(t, "path")
	if endsInDots(p) {
		t.Skip()
	}
	m.same(t, "rmdir "+p, m.c.rmdir(m.at(p)), unix.Unlinkat(m.host, p, unix.AT_REMOVEDIR))
}

func (m *model) unlink(t *rapid.T) {
	p := genPath(t, "path")
	if endsInDots(p) {
		t.Skip()
	}
	m.same(t, "unlink "+p, m.c.unlink(m.at(p)), unix.Unlinkat(m.host, p, 0))
}

func (m *model) rename(t *rapid.T) {
	p, q := genPath(t, "from"), genPath(t, "to")
	if endsInDots(p) || endsInDots(q) {
		t.Skip()
	}
	err := unix.Renameat(m.host, p, m.host, q)
	e := m.c.rename(m.at(p), m.at(q))
	if err != nil && e != eOK {
		return // two errors apply, and POSIX leaves open which one is returned
	}
	m.same(t, fmt.Sprintf("rename %s %s", p, q), e, err)
}

func (m *model) symlink(t *rapid.T) {
	target, p := genPath(t, "target"), genPath(t, "path")
	err := unix.Symlinkat(target, m.host, p)
	e := m.c.symlink(target, m.at(p))
	if err != nil && e != eOK {
		return
	}
	m.same(t, fmt.Sprintf("symlink %s %s", target, p), e, err)
}

func (m *model) readlink(t *rapid.T) {
	p := genPath(t, "path")
	room := rapid.IntRange(1, 20).Draw(t, "room")
	b := make([]byte, room)
	n, err := unix.Readlinkat(m.host, p, b)
	s, e := m.c.readlink(m.at(p), uint64(room))
	m.same(t, "readlink "+p, e, err)
	if err == nil && s != string(b[:n]) {
		t.Fatalf("readlink %s: %q, host: %q", p, s, b[:n])
	}
}

func (m *model) stat(t *rapid.T) {
	p := genPath(t, "path")
	follow := rapid.IntRange(0, 1).Draw(t, "follow")
	flags := unix.AT_SYMLINK_NOFOLLOW * (1 - follow)
	var st unix.Stat_t
	err := unix.Fstatat(m.host, p, &st, flags)
	got, e := m.c.stat(m.at(p), uint64(follow))
	m.same(t, fmt.Sprintf("stat %s %d", p, follow), e, err)
	if err == nil {
		m.sameStat(t, p, got, &st)
	}
}

func (m *model) sameStat(t *rapid.T, p string, got stat, st *unix.Stat_t) {
	t.Helper()
	kind := map[uint32]fileType{unix.S_IFDIR: typeDirectory, unix.S_IFREG: typeRegular, unix.S_IFLNK: typeSymlink}[st.Mode&unix.S_IFMT]
	if got.kind != kind || kind != typeDirectory && (got.size != uint64(st.Size) || got.nlink != uint64(st.Nlink)) {
		t.Fatalf("stat %s: %+v, host: kind %d, size %d, %d names", p, got, kind, st.Size, st.Nlink)
	}
}

func (m *model) openFile(t *rapid.T) {
	if len(m.open) > 12 {
		m.closeFile(t)
	}
	p := genPath(t, "path")
	rights := rapid.SampledFrom([]uint64{rightRead, rightWrite, rw}).Draw(t, "rights")
	oflags := rapid.SampledFrom([]uint64{0, 0, oCreat, oCreat, oCreat | oTrunc, oCreat | oExcl, oDirectory}).Draw(t, "oflags")
	appends := rapid.IntRange(0, 3).Draw(t, "append") == 0
	flags := map[uint64]int{rightRead: unix.O_RDONLY, rightWrite: unix.O_WRONLY, rw: unix.O_RDWR}[rights]
	for bit, flag := range map[uint64]int{oCreat: unix.O_CREAT, oTrunc: unix.O_TRUNC, oExcl: unix.O_EXCL, oDirectory: unix.O_DIRECTORY} {
		if oflags&bit != 0 {
			flags |= flag
		}
	}
	var fdflags uint64
	if appends {
		flags, fdflags = flags|unix.O_APPEND, fdAppend
	}
	host, err := unix.Openat(m.host, p, flags, 0o666)
	fd, e := m.c.openAt(rootFD, m.at(p), oflags, rights, fdflags)
	if err != nil && e != eOK && (strings.HasSuffix(p, "/") || oflags&oCreat != 0) {
		return // two errors apply, and POSIX leaves open which one is returned
	}
	m.same(t, fmt.Sprintf("open %s %b %b", p, oflags, rights), e, err)
	if err != nil {
		return
	}
	var st unix.Stat_t
	_ = unix.Fstat(host, &st)
	m.open = append(m.open, pair{fd, host, st.Mode&unix.S_IFMT == unix.S_IFDIR})
}

// pick draws an open file.
func (m *model) pick(t *rapid.T) (int, pair) {
	if len(m.open) == 0 {
		t.Skip()
	}
	i := rapid.IntRange(0, len(m.open)-1).Draw(t, "file")
	return i, m.open[i]
}

func (m *model) closeFile(t *rapid.T) {
	i, p := m.pick(t)
	m.same(t, "close", m.c.close(p.fd), unix.Close(p.host))
	m.open = slices.Delete(m.open, i, i+1)
}

func (m *model) read(t *rapid.T) {
	_, p := m.pick(t)
	size := rapid.IntRange(1, 200).Draw(t, "size")
	b := make([]byte, size)
	var n int
	var err error
	var s string
	var e errno
	if rapid.Bool().Draw(t, "at offset") {
		off := int64(rapid.IntRange(0, 300).Draw(t, "offset"))
		n, err = unix.Pread(p.host, b, off)
		s, e = m.c.pread(p.fd, size, off)
	} else {
		n, err = unix.Read(p.host, b)
		s, e = m.c.read(p.fd, size)
	}
	m.same(t, "read", e, err)
	if err == nil && s != string(b[:n]) {
		t.Fatalf("read: %q, host: %q", s, b[:n])
	}
}

func (m *model) write(t *rapid.T) {
	_, p := m.pick(t)
	s := strings.Repeat(rapid.StringMatching(`[a-z]{1,9}`).Draw(t, "data"), rapid.SampledFrom([]int{1, 7, 9000}).Draw(t, "times"))
	var st unix.Stat_t
	_ = unix.Fstat(p.host, &st)
	if st.Size > 1<<20 {
		t.Skip()
	}
	flags, _ := unix.FcntlInt(uintptr(p.host), unix.F_GETFL, 0)
	var n, got int
	var err error
	var e errno
	if flags&unix.O_APPEND == 0 && rapid.Bool().Draw(t, "at offset") { // Linux appends in this case, contrary to POSIX
		off := int64(rapid.IntRange(0, 300).Draw(t, "offset"))
		n, err = unix.Pwrite(p.host, []byte(s), off)
		got, e = m.c.pwrite(p.fd, s, off)
	} else {
		n, err = unix.Write(p.host, []byte(s))
		got, e = m.c.write(p.fd, s)
	}
	m.same(t, "write", e, err)
	if err == nil && n != got {
		t.Fatalf("write: %d bytes, host: %d", got, n)
	}
}

func (m *model) seek(t *rapid.T) {
	_, p := m.pick(t)
	if p.dir {
		t.Skip()
	}
	off, origin := int64(rapid.IntRange(-50, 300).Draw(t, "offset")), rapid.IntRange(0, 2).Draw(t, "origin")
	n, err := unix.Seek(p.host, off, origin)
	got, e := m.c.seek(p.fd, off, origin)
	m.same(t, "seek", e, err)
	if err == nil && n != got {
		t.Fatalf("seek: %d, host: %d", got, n)
	}
}

func (m *model) truncate(t *rapid.T) {
	_, p := m.pick(t)
	size := int64(rapid.SampledFrom([]int{0, 1, 100, 5000, 70_000}).Draw(t, "size"))
	m.same(t, "truncate", m.c.truncate(p.fd, size), unix.Ftruncate(p.host, size))
}

// compare walks both directories and compares everything, including the stats of open files.
func (m *model) compare(t *rapid.T, path string, host int) {
	for _, p := range m.open {
		var st unix.Stat_t
		_ = unix.Fstat(p.host, &st)
		got, e := m.c.fstat(p.fd)
		m.same(t, "fstat", e, nil)
		m.sameStat(t, "open file", got, &st)
	}
	m.compareDir(t, path, host)
}

func (m *model) compareDir(t *rapid.T, path string, host int) {
	f := os.NewFile(uintptr(dup(t, host)), path)
	ents, err := f.ReadDir(-1)
	f.Close()
	if err != nil {
		t.Fatal(err)
	}
	fd, e := m.c.open(m.at(path), oDirectory, 0)
	m.same(t, "open "+path, e, nil)
	list, e := m.c.list(fd, 0, uint32(rapid.SampledFrom([]int{64, 200, 4096}).Draw(t, "buffer")))
	m.same(t, "list "+path, e, nil)
	m.c.close(fd)
	list = list[2:]
	sort.Slice(list, func(i, j int) bool { return list[i].name < list[j].name })
	sort.Slice(ents, func(i, j int) bool { return ents[i].Name() < ents[j].Name() })
	if len(ents) != len(list) {
		t.Fatalf("%s: got %v, host: %v", path, list, ents)
	}
	for i, ent := range ents {
		below := path + "/" + ent.Name()
		if list[i].name != ent.Name() {
			t.Fatalf("%s: got %v, host: %v", path, list, ents)
		}
		var st unix.Stat_t
		if err := unix.Fstatat(m.host, below, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			t.Fatal(err)
		}
		got, e := m.c.stat(m.at(below), 0)
		m.same(t, "stat "+below, e, nil)
		m.sameStat(t, below, got, &st)
		if got.kind != list[i].kind || got.ino != list[i].ino {
			t.Fatalf("%s: listed as %+v, stat %+v", below, list[i], got)
		}
		if ent.IsDir() {
			sub, err := unix.Openat(m.host, below, unix.O_DIRECTORY|unix.O_RDONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			m.compareDir(t, below, sub)
			unix.Close(sub)
		}
	}
}

func dup(t *rapid.T, fd int) int {
	n, err := unix.Openat(fd, ".", unix.O_DIRECTORY|unix.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
