// Command guest is an ordinary Go program that tests typical uses of files, time and
// randomness. Its first argument names the trial; a trial that fails prints the reason and
// exits with 1.
package main

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

var trials = map[string]func(){
	"files":   files,
	"dirs":    dirs,
	"links":   links,
	"many":    many,
	"deep":    deep,
	"clock":   clock,
	"random":  random,
	"words":   words,
	"stdin":   stdin,
	"tree":    tree,
	"sum":     sum,
	"escape":  escape,
	"flood":   flood,
	"sparse":  sparse,
	"inodes":  inodes,
	"tmp":     tmp,
	"fill":    fill,
	"exit":    func() { os.Exit(7) },
	"missing": func() { read(os.Args[2]) },
}

func main() {
	trials[os.Args[1]]()
}

func check(err error) {
	if err != nil {
		fail("%v", err)
	}
}

func fail(format string, a ...any) {
	fmt.Printf("FAIL "+format+"\n", a...)
	os.Exit(1)
}

func wants(what string, err, wanted error) {
	if !errors.Is(err, wanted) {
		fail("%s: %v, want %v", what, err, wanted)
	}
}

func read(path string) string {
	b, err := os.ReadFile(path)
	check(err)
	return string(b)
}

func holds(path, wanted string) {
	if got := read(path); got != wanted {
		fail("%s holds %q, want %q", path, got, wanted)
	}
}

func files() {
	check(os.WriteFile("/out/a", []byte("hello"), 0o644))
	f, err := os.OpenFile("/out/a", os.O_APPEND|os.O_WRONLY, 0)
	check(err)
	_, err = f.WriteString(" world")
	check(err)
	check(f.Close())
	holds("/out/a", "hello world")

	_, err = os.OpenFile("/out/a", os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	wants("create what exists", err, fs.ErrExist)
	_, err = os.Open("/out/none")
	wants("open what does not exist", err, fs.ErrNotExist)

	f, err = os.OpenFile("/out/a", os.O_RDWR, 0)
	check(err)
	_, err = f.Seek(6, io.SeekStart)
	check(err)
	_, err = f.WriteString("earth")
	check(err)
	_, err = f.WriteAt([]byte("J"), 0)
	check(err)
	check(f.Truncate(9))
	st, err := f.Stat()
	check(err)
	if st.Size() != 9 || !st.Mode().IsRegular() || !st.ModTime().Equal(time.Unix(0, 0)) {
		fail("stat: %d %v %v", st.Size(), st.Mode(), st.ModTime())
	}
	check(f.Truncate(12))
	check(f.Sync())
	check(f.Close())
	holds("/out/a", "Jello ear\x00\x00\x00")

	check(os.Rename("/out/a", "/out/b"))
	_, err = os.Stat("/out/a")
	wants("stat of the old name", err, fs.ErrNotExist)
	check(os.WriteFile("/out/c", []byte("over"), 0o644))
	check(os.Rename("/out/c", "/out/b"))
	holds("/out/b", "over")
	check(os.Chtimes("/out/b", time.Now(), time.Now()))

	f, err = os.Open("/out/b")
	check(err)
	check(os.Remove("/out/b"))
	b, err := io.ReadAll(f)
	check(err)
	if string(b) != "over" {
		fail("an open file without a name holds %q", b)
	}
	check(f.Close())
	_, err = f.Write([]byte("x"))
	wants("write to a closed file", err, fs.ErrClosed)
	f, err = os.Open("/in/text")
	check(err)
	if _, err = f.Write([]byte("x")); err == nil {
		fail("a file opened to read takes writes")
	}
	t, err := os.CreateTemp("", "x*")
	check(err)
	_, err = t.WriteString("through a temporary file")
	check(err)
	check(t.Close())
	check(os.Rename(t.Name(), "/out/final"))
	holds("/out/final", "through a temporary file")
	wants("link", os.Link("/out/final", "/out/hard"), syscall.ENOTSUP)
}

func dirs() {
	check(os.MkdirAll("/out/x/y/z", 0o755))
	wants("mkdir of what exists", os.Mkdir("/out/x", 0o755), fs.ErrExist)
	check(os.MkdirAll("/out", 0o755))
	check(os.WriteFile("/out/x/y/f", nil, 0o644))
	wants("remove of a full directory", os.Remove("/out/x/y"), syscall.ENOTEMPTY)
	wants("a directory into itself", os.Rename("/out/x", "/out/x/y/x"), syscall.EINVAL)
	wants("a directory across", os.Rename("/out/x", "/tmp/x"), syscall.EXDEV)
	check(os.Rename("/out/x/y", "/out/w"))
	var seen []string
	check(filepath.WalkDir("/out", func(p string, d fs.DirEntry, err error) error {
		check(err)
		seen = append(seen, p)
		return nil
	}))
	if want := []string{"/out", "/out/w", "/out/w/f", "/out/w/z", "/out/x"}; !slices.Equal(seen, want) {
		fail("walk: %q, want %q", seen, want)
	}
	d, err := os.Open("/out")
	check(err)
	one, err := d.ReadDir(1)
	check(err)
	two, err := d.ReadDir(-1)
	check(err)
	_, err = d.Seek(0, io.SeekStart)
	check(err)
	all, err := d.ReadDir(-1)
	check(err)
	if len(one) != 1 || len(two) != 1 || len(all) != 2 {
		fail("readdir by parts: %v %v %v", one, two, all)
	}
	check(os.RemoveAll("/out/x"))
	check(os.Chdir("/out/w"))
	holds("f", "")
	check(os.CopyFS("/out/copy", os.DirFS("/in/tree")))
	holds("/out/copy/sub/leaf", "leaf")
	for _, p := range []string{"/x", "/in/x", "/in/tree/x"} {
		wants("mkdir "+p, os.Mkdir(p, 0o755), syscall.EROFS)
		wants("create "+p, os.WriteFile(p, nil, 0o644), syscall.EROFS)
	}
	wants("remove /in/text", os.Remove("/in/text"), syscall.EROFS)
	wants("truncate /in/text", os.Truncate("/in/text", 0), syscall.EROFS)
}

func links() {
	check(os.WriteFile("/out/f", []byte("target"), 0o644))
	check(os.Symlink("f", "/out/l"))
	check(os.Symlink("/out/l", "/out/abs"))
	check(os.Symlink("../in/text", "/out/in"))
	check(os.Symlink("new", "/out/dangling"))
	holds("/out/l", "target")
	holds("/out/abs", "target")
	holds("/out/in", "some text")
	check(os.WriteFile("/out/dangling", []byte("made"), 0o644))
	holds("/out/new", "made")
	st, err := os.Lstat("/out/l")
	check(err)
	if st.Mode().Type() != fs.ModeSymlink || st.Size() != 1 {
		fail("lstat: %v %d", st.Mode(), st.Size())
	}
	long := strings.Repeat("long/", 200)
	check(os.Symlink(long, "/out/long"))
	if to, err := os.Readlink("/out/long"); err != nil || to != long {
		fail("a long link is %q, %v", to, err)
	}
	check(os.Symlink("loop2", "/out/loop1"))
	check(os.Symlink("loop1", "/out/loop2"))
	_, err = os.Stat("/out/loop1")
	wants("stat of a loop", err, syscall.ELOOP)

	holds("/in/tree/sub/up", "leaf") // ../sub/leaf
	for _, p := range []string{"out", "abs"} {
		_, err := os.Stat("/in/tree/" + p)
		wants("a link out of its input, "+p, err, fs.ErrNotExist)
		_, err = os.Readlink("/in/tree/" + p)
		check(err)
	}
}

func many() {
	for i := range 10_000 {
		check(os.WriteFile(fmt.Sprintf("/out/%05d", i), []byte(fmt.Sprint(i)), 0o644))
	}
	ents, err := os.ReadDir("/out")
	check(err)
	if len(ents) != 10_000 {
		fail("%d entries", len(ents))
	}
	for i, e := range ents {
		st, err := e.Info()
		check(err)
		if e.Name() != fmt.Sprintf("%05d", i) || st.Size() != int64(len(fmt.Sprint(i))) {
			fail("entry %d is %s of %d bytes", i, e.Name(), st.Size())
		}
	}
	ents, err = os.ReadDir("/in/big")
	check(err)
	if len(ents) != 10_000 {
		fail("/in/big: %d entries", len(ents))
	}
	for _, e := range ents {
		holds("/in/big/"+e.Name(), "body of "+e.Name())
	}
	wants("remove of /out itself", os.RemoveAll("/out"), syscall.EROFS)
	if ents, err = os.ReadDir("/out"); err != nil || len(ents) != 0 {
		fail("%d entries are left, %v", len(ents), err)
	}
}

func deep() {
	path := "/out"
	for range 200 {
		path += "/d"
		check(os.Mkdir(path, 0o755))
	}
	check(os.WriteFile(path+"/f", []byte("down here"), 0o644))
	holds(path+"/f", "down here")
	for range 40 {
		path += "/d"
		check(os.Mkdir(path, 0o755))
	}
	wants("one too deep", os.Mkdir(path+"/d", 0o755), syscall.ENAMETOOLONG)
	check(os.Rename("/out/d/d", "/out/e"))
	wants("a tree made too deep", os.Rename("/out/e", "/out/d/x"), nil)
	check(os.Rename("/out/d/x", "/out/e"))
	check(os.MkdirAll("/out/1/2/3", 0o755))
	wants("a tree made too deep", os.Rename("/out/e", "/out/1/2/3/e"), syscall.ENAMETOOLONG)
	check(os.RemoveAll("/out/e"))
}

func clock() {
	t := time.Now()
	fmt.Println(t.UTC().Format(time.RFC3339))
	time.Sleep(time.Hour)
	if d := time.Since(t); d < time.Hour || d > time.Hour+time.Second {
		fail("an hour took %v", d)
	}
	select {
	case <-time.After(24 * time.Hour):
	}
	tick := time.NewTicker(time.Minute)
	for range 10 {
		<-tick.C
	}
	fmt.Println(time.Now().UTC().Format(time.RFC3339))
}

func random() {
	b := make([]byte, 32)
	_, err := rand.Read(b)
	check(err)
	fmt.Printf("%x\n", b)
	m := map[int]int{}
	for i := range 20 {
		m[i] = i
	}
	for k := range m { // an order that depends on the runtime's own randomness
		fmt.Print(k, " ")
	}
}

func words() {
	fmt.Printf("%q %q\n", os.Args[2:], os.Environ())
	fmt.Fprintln(os.Stderr, "to stderr")
}

func stdin() {
	n, err := io.Copy(os.Stdout, os.Stdin)
	check(err)
	fmt.Println(n)
}

func tree() {
	check(filepath.WalkDir("/", func(p string, d fs.DirEntry, err error) error {
		check(err)
		st, err := d.Info()
		check(err)
		fmt.Println(p, d.Type(), st.Mode().Type(), st.Size())
		return nil
	}))
}

func sum() {
	f, err := os.Open(os.Args[2])
	check(err)
	h := sha256.New()
	_, err = io.Copy(h, bufio.NewReaderSize(f, 64<<10))
	check(err)
	fmt.Printf("%x\n", h.Sum(nil))
	b := make([]byte, 10)
	_, err = f.ReadAt(b, 1<<20-5)
	check(err)
	_, err = f.Seek(-10, io.SeekEnd)
	check(err)
	c, err := io.ReadAll(f)
	check(err)
	fmt.Printf("%x %x\n", b, c)
}

func escape() {
	for _, p := range []string{
		"/etc/passwd", "/../etc/passwd", "../../../../etc/passwd", "/in/../../etc/passwd", "/out/../../../etc/passwd",
		"/proc/self/environ", "/in/9", "/in/00", "/in/-1", "/in/+1", "/in/text\x00",
	} {
		if b, err := os.ReadFile(p); err == nil {
			fail("%q can be read: %q", p, b)
		}
	}
	check(os.Symlink("/../../../../etc", "/out/etc"))
	if _, err := os.Stat("/out/etc/passwd"); !errors.Is(err, fs.ErrNotExist) {
		fail("a link leads out: %v", err)
	}
	holds("/in/../in/./tree/../text", "some text")
	holds("/../in/text", "some text")
	wants("a name that is too long", os.WriteFile("/out/"+strings.Repeat("x", 256), nil, 0o644), syscall.ENAMETOOLONG)
	check(os.WriteFile("/out/"+strings.Repeat("x", 255), nil, 0o644))
	wants("a name that is not UTF-8", os.WriteFile("/out/\xff", nil, 0o644), syscall.EILSEQ)
	wants("a path that is too long", os.WriteFile("/out/"+strings.Repeat("x/", 3000), nil, 0o644), syscall.ENAMETOOLONG)
	wants("remove of /out", os.Remove("/out"), syscall.EROFS)
	wants("rename of /out", os.Rename("/out", "/tmp/out"), syscall.EROFS)
}

func flood() {
	var open []*os.File
	for {
		f, err := os.OpenFile(fmt.Sprintf("/tmp/%d", len(open)), os.O_CREATE|os.O_RDWR, 0o644)
		if err != nil {
			wants("a descriptor too many", err, syscall.EMFILE)
			break
		}
		open = append(open, f)
	}
	fmt.Println(len(open))
	for i, f := range open {
		_, err := f.Write(bytes.Repeat([]byte{byte(i)}, 100))
		check(err)
	}
	for i, f := range open {
		b := make([]byte, 100)
		_, err := f.ReadAt(b, 0)
		check(err)
		if b[99] != byte(i) {
			fail("file %d holds %d", i, b[99])
		}
		check(f.Close())
	}
	_, err := os.Create("/tmp/again")
	check(err)
}

func sparse() {
	f, err := os.Create(os.Args[2])
	check(err)
	fmt.Println("begun")
	_ = f.Truncate(1 << 50)
	fail("a petabyte fits")
}

func fill() {
	f, err := os.Create("/out/f")
	check(err)
	b := make([]byte, 1<<20)
	for {
		if _, err := f.Write(b); err != nil {
			fail("a limit can be seen: %v", err)
		}
	}
}

func inodes() {
	for i := 0; ; i++ {
		if err := os.Mkdir(fmt.Sprintf("/out/%d", i), 0o755); err != nil {
			fail("a limit can be seen: %v", err)
		}
	}
}

func tmp() {
	check(os.WriteFile("/tmp/a", make([]byte, 1<<20), 0o644))
	check(os.Remove("/tmp/a"))
	check(os.WriteFile("/tmp/b", make([]byte, 1000), 0o644))
}
