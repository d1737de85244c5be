package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"
)

// output is a flag with an output path, and a command line that writes there. In it, FILE,
// LARGE, TREE, JOB and GUEST stand for the names that newOutputs makes. The output is a file
// or, if folder is true, a folder.
type output struct {
	flag   string
	line   string
	folder bool
}

// outputs lists all flags with an output path.
var outputs = []output{
	{"get --output", "get FILE", false},
	{"get --output", "get TREE", true},
	{"job get --output", "job get JOB", true},
	{"car export --output", "car export TREE", false},
	{"receipt export --output", "receipt export JOB", false},
	{"run --output", "run -q GUEST", true},
	{"run --car", "run -q GUEST", false},
	{"job rerun --output", "job rerun -q JOB", true},
	{"job rerun --car", "job rerun -q JOB", false},
}

// TestOutputFlags compares the table above with the commands: a flag with an output path is a
// PathFlag, its command has --force, and it is in the table.
func TestOutputFlags(t *testing.T) {
	seen := 0
	var walk func(above string, cmds []*cli.Command)
	walk = func(above string, cmds []*cli.Command) {
		for _, c := range cmds {
			walk(above+c.Name+" ", c.Subcommands)
			for _, f := range c.Flags {
				name := above + c.Name + " --" + f.Names()[0]
				doc := f.(cli.DocGenerationFlag)
				_, isPath := f.(*cli.PathFlag)
				writes := doc.TakesValue() && strings.Contains(doc.GetUsage(), "` output file")
				if isPath != writes {
					t.Errorf("%s: a PathFlag: %v, help: %s", name, isPath, doc.GetUsage())
				}
				if !isPath {
					continue
				}
				seen++
				if flagNamed(c.Flags, "force") == nil {
					t.Errorf("%s: without --force", name)
				}
				if !slices.ContainsFunc(outputs, func(o output) bool { return o.flag == name }) {
					t.Errorf("%s is not in the table of outputs", name)
				}
			}
		}
	}
	walk("", newApp(testProcess()).Commands)
	if seen != 8 {
		t.Errorf("got %d flags with an output path, want 8", seen)
	}
}

// outputRepo is a repo with the content that the command lines of the table name.
type outputRepo struct {
	words *strings.Replacer
	env   []string
	tree  string // CID
}

func newOutputs(t *testing.T) *outputRepo {
	t.Helper()
	dir := t.TempDir()
	r := &outputRepo{env: append(os.Environ(), "LIFTOFF_PATH="+filepath.Join(dir, "repo")), words: strings.NewReplacer()}
	write(t, filepath.Join(dir, "file"), "content of the file\n")
	write(t, filepath.Join(dir, "large"), strings.Repeat("0123456789abcdef", 1<<16))
	if err := os.CopyFS(filepath.Join(dir, "tree"), os.DirFS("testdata/guests")); err != nil {
		t.Fatal(err)
	}
	last := func(args ...string) string {
		out, code := r.exec(t, args...)
		if code != 0 {
			t.Fatalf("%q: exit code %d", args, code)
		}
		words := strings.Fields(out)
		return words[len(words)-1]
	}
	guest := filepath.Join(dir, "tree", "hello.wasm")
	file, large := last("add", "-q", filepath.Join(dir, "file")), last("add", "-q", filepath.Join(dir, "large"))
	r.tree = last("add", "-q", filepath.Join(dir, "tree"))
	last("run", "-q", guest)
	out, _ := r.exec(t, "job", "ls")
	r.words = strings.NewReplacer("FILE", file, "LARGE", large, "TREE", r.tree, "GUEST", guest, "JOB", strings.Fields(out)[0])
	return r
}

func (r *outputRepo) command(args ...string) *exec.Cmd {
	var words []string
	for _, a := range args {
		words = append(words, r.words.Replace(a))
	}
	c := exec.Command("liftoff", words...)
	c.Env = r.env
	return c
}

// exec runs liftoff and returns what it prints and its exit code.
func (r *outputRepo) exec(t *testing.T, args ...string) (string, int) {
	t.Helper()
	c := r.command(args...)
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	err := c.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if err != nil {
		return stderr.String(), c.ProcessState.ExitCode()
	}
	return stdout.String(), 0
}

// to returns the command line of the output with path as its target.
func (o output) to(path string, more ...string) []string {
	_, flag, _ := strings.Cut(o.flag, "--")
	return slices.Concat(strings.Fields(o.line), []string{"--" + flag, path}, more)
}

// mknod makes a special file.
func mknod(t *testing.T, path string, mode uint32, dev uint64) {
	t.Helper()
	if err := unix.Mknod(path, mode|0o666, int(dev)); err != nil {
		t.Fatal(err)
	}
}

// kept fails the test unless dir holds exactly the listed files, unchanged.
func kept(t *testing.T, what, dir string, before map[string]fs.FileInfo) {
	t.Helper()
	now := look(t, dir)
	for name, info := range before {
		if now[name] == nil {
			t.Errorf("%s: %s is gone", what, name)
		} else if !os.SameFile(info, now[name]) || info.Mode() != now[name].Mode() {
			t.Errorf("%s: %s was %v, and is %v", what, name, info.Mode(), now[name].Mode())
		}
	}
	for name := range now {
		if before[name] == nil {
			t.Errorf("%s: %s was left behind", what, name)
		}
	}
}

func look(t *testing.T, dir string) map[string]fs.FileInfo {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]fs.FileInfo{}
	for _, e := range entries {
		if all[e.Name()], err = e.Info(); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// TestOutputSpecial runs every command with a target that is neither a regular file nor a
// folder, with and without --force: it is never replaced. A file is written into a device or
// a FIFO; everything else is refused.
func TestOutputSpecial(t *testing.T) {
	r := newOutputs(t)
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	link(t, "nowhere", at("dangling"))
	link(t, "loop", at("loop"))
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: at("socket"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	mknod(t, at("fifo"), syscall.S_IFIFO, 0)
	link(t, "fifo", at("tofifo"))
	refused, streams := []string{"dangling", "loop", "socket"}, []string{"fifo", "tofifo"}
	if os.Geteuid() == 0 {
		mknod(t, at("null"), syscall.S_IFCHR, unix.Mkdev(1, 3))
		link(t, at("null"), at("tonull"))
		mknod(t, at("full"), syscall.S_IFCHR, unix.Mkdev(1, 7))
		mknod(t, at("block"), syscall.S_IFBLK, unix.Mkdev(7, 250))
		refused, streams = append(refused, "block"), append(streams, "null", "tonull")
	}
	// The FIFO is open for reading and writing, so that opening it does not wait.
	reader, err := os.OpenFile(at("fifo"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	go io.Copy(io.Discard, reader)
	before := look(t, dir)
	try := func(o output, name string, want int, more ...string) {
		t.Helper()
		what := fmt.Sprintf("%q to %s", slices.Concat([]string{o.line}, more), name)
		if out, code := r.exec(t, o.to(at(name), more...)...); code != want {
			t.Errorf("%s: exit code %d, want %d: %s", what, code, want, out)
		}
		kept(t, what, dir, before)
	}
	for _, o := range outputs {
		for _, name := range refused {
			if name == "loop" {
				try(o, name, exitFault, "--force")
				continue
			}
			try(o, name, exitUsage, "--force")
		}
		for _, name := range streams {
			if o.folder {
				try(o, name, exitUsage, "--force")
				continue
			}
			try(o, name, 0, "--force")
		}
		if os.Geteuid() == 0 && !o.folder {
			try(o, "null", 0)
			try(o, "full", exitFault)
		}
		if out, code := r.exec(t, o.to("-")...); (code == 0) != strings.Contains(o.flag, "export") || code != 0 && code != exitUsage {
			t.Errorf("%q to -: exit code %d: %.200s", o.line, code, out)
		}
	}
}

// TestOutputFIFO writes into a FIFO, into one whose reader ends first, and interrupts a
// command that waits for a reader.
func TestOutputFIFO(t *testing.T) {
	r := newOutputs(t)
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	mknod(t, fifo, syscall.S_IFIFO, 0)
	before := look(t, dir)
	for _, o := range []output{{"get --output", "get FILE", false}, {"car export --output", "car export TREE", false}} {
		plain := filepath.Join(t.TempDir(), "plain")
		if out, code := r.exec(t, o.to(plain)...); code != 0 {
			t.Fatalf("%s: %s", o.line, out)
		}
		want, err := os.ReadFile(plain)
		if err != nil {
			t.Fatal(err)
		}
		got := make(chan []byte)
		go func() {
			b, _ := os.ReadFile(fifo)
			got <- b
		}()
		if out, code := r.exec(t, o.to(fifo)...); code != 0 {
			t.Errorf("%s: exit code %d: %s", o.line, code, out)
		}
		if b := <-got; !bytes.Equal(b, want) {
			t.Errorf("%s: %d bytes through the FIFO, want %d", o.line, len(b), len(want))
		}
	}

	closed := make(chan error)
	go func() {
		f, err := os.Open(fifo)
		if err == nil {
			_, err = f.Read(make([]byte, 1))
			f.Close()
		}
		closed <- err
	}()
	out, code := r.exec(t, "get", "LARGE", "-o", fifo)
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	if code != exitClosed || !strings.Contains(out, "broken pipe") {
		t.Errorf("the reader ends first: exit code %d, want %d: %s", code, exitClosed, out)
	}

	// Without a reader, opening it ends with the context.
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	to, err := findTarget(fifo)
	if err != nil {
		t.Fatal(err)
	}
	if f, err := to.open(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("opened without a reader: %v, %v", f, err)
	}

	waiting := r.command("get", "LARGE", "-o", fifo)
	if err := waiting.Start(); err != nil {
		t.Fatal(err)
	}
	// The command has opened the FIFO and waits until this reader reads.
	f, err := os.Open(fifo)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	waiting.Process.Signal(os.Interrupt)
	waiting.Wait()
	if code := waiting.ProcessState.ExitCode(); code != exitInterrupted {
		t.Errorf("interrupted: exit code %d, want %d", code, exitInterrupted)
	}
	kept(t, "after all", dir, before)
}

// TestOutputRegular replaces regular files, by name, through symlinks, and with other links to
// them: without --force nothing changes; with it the content changes, and the mode, the owner
// and the symlink stay.
func TestOutputRegular(t *testing.T) {
	r := newOutputs(t)
	for _, o := range outputs {
		if o.folder {
			continue
		}
		dir := t.TempDir()
		at := func(name string) string { return filepath.Join(dir, name) }
		plain := at("plain")
		if out, code := r.exec(t, o.to(plain)...); code != 0 {
			t.Fatalf("%s: %s", o.line, out)
		}
		want, err := os.ReadFile(plain)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(at("sub"), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, at("sub/real"), "old")
		if err := os.Chmod(at("sub/real"), 0o640); err != nil {
			t.Fatal(err)
		}
		if os.Geteuid() == 0 {
			if err := os.Chown(at("sub/real"), 1234, 4321); err != nil {
				t.Fatal(err)
			}
		}
		was, err := os.Stat(at("sub/real"))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Link(at("sub/real"), at("other")); err != nil {
			t.Fatal(err)
		}
		link(t, "sub/real", at("link"))
		if out, code := r.exec(t, o.to(at("link"))...); code != exitFault || !strings.Contains(out, "already exists") {
			t.Errorf("%s without --force: exit code %d: %s", o.line, code, out)
		}
		kept(t, o.line+" without --force", at("sub"), map[string]fs.FileInfo{"real": was})
		if out, code := r.exec(t, o.to(at("link"), "--force")...); code != 0 {
			t.Errorf("%s through a symlink: exit code %d: %s", o.line, code, out)
		}
		if to, err := os.Readlink(at("link")); err != nil || to != "sub/real" {
			t.Errorf("%s: the symlink leads to %q, %v", o.line, to, err)
		}
		got, err := os.ReadFile(at("sub/real"))
		if err != nil {
			t.Fatal(err)
		}
		// Each run makes another receipt, so that its CAR always differs.
		if same := bytes.Equal(got, want); !same && !strings.Contains(o.line, "receipt") || len(got) != len(want) {
			t.Errorf("%s: %d bytes, want %d, the same: %v", o.line, len(got), len(want), same)
		}
		now, err := os.Stat(at("sub/real"))
		if err != nil {
			t.Fatal(err)
		}
		is, wasOf := now.Sys().(*syscall.Stat_t), was.Sys().(*syscall.Stat_t)
		if now.Mode() != was.Mode() || is.Uid != wasOf.Uid || is.Gid != wasOf.Gid {
			t.Errorf("%s: mode %v of %d:%d, want %v of %d:%d", o.line, now.Mode(), is.Uid, is.Gid, was.Mode(), wasOf.Uid, wasOf.Gid)
		}
		if other, err := os.ReadFile(at("other")); err != nil || string(other) != "old" {
			t.Errorf("%s: another link to the file has %.20q, %v", o.line, other, err)
		}
		if names := look(t, at("sub")); len(names) != 1 {
			t.Errorf("%s: %d files, want 1", o.line, len(names))
		}
		if out, code := r.exec(t, o.to(at("sub"), "--force")...); code != exitUsage {
			t.Errorf("%s to a folder: exit code %d: %s", o.line, code, out)
		}
	}
}

// TestOutputTree merges folders into one in which special files have the names of files, and
// a symlink has the name of a folder: this is refused, and nothing changes.
func TestOutputTree(t *testing.T) {
	r := newOutputs(t)
	names := map[string]func(t *testing.T, path string){
		"fifo":    func(t *testing.T, path string) { mknod(t, path, syscall.S_IFIFO, 0) },
		"symlink": func(t *testing.T, path string) { link(t, "mine", path) },
		"folder":  func(t *testing.T, path string) { os.Mkdir(path, 0o700) },
	}
	if os.Geteuid() == 0 {
		names["device"] = func(t *testing.T, path string) { mknod(t, path, syscall.S_IFCHR, unix.Mkdev(1, 3)) }
	}
	files := map[string]string{"get TREE": "hello.wasm"}
	for _, o := range outputs {
		if !o.folder {
			continue
		}
		name := files[o.line]
		if name == "" {
			name = "greeting.txt"
		}
		for kind, put := range names {
			dir := t.TempDir()
			write(t, filepath.Join(dir, "mine"), "mine")
			put(t, filepath.Join(dir, name))
			before := look(t, dir)
			out, code := r.exec(t, o.to(dir, "--force")...)
			if code != exitUsage {
				t.Errorf("%s over a %s: exit code %d, want %d: %s", o.line, kind, code, exitUsage, out)
			}
			now := look(t, dir)
			for n, info := range before {
				if now[n] == nil || !os.SameFile(info, now[n]) {
					t.Errorf("%s over a %s: %s was replaced", o.line, kind, n)
				}
			}
			for n := range now {
				if strings.HasPrefix(n, ".") {
					t.Errorf("%s over a %s: %s was left behind", o.line, kind, n)
				}
			}
			if mine, err := os.ReadFile(filepath.Join(dir, "mine")); err != nil || string(mine) != "mine" {
				t.Errorf("%s over a %s: mine is %q, %v", o.line, kind, mine, err)
			}
		}
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, "real"), 0o700); err != nil {
			t.Fatal(err)
		}
		link(t, "real", filepath.Join(dir, "link"))
		if out, code := r.exec(t, o.to(filepath.Join(dir, "link"), "--force")...); code != 0 {
			t.Errorf("%s into a symlink to a folder: exit code %d: %s", o.line, code, out)
		}
		if _, err := os.Stat(filepath.Join(dir, "real", name)); err != nil {
			t.Errorf("%s: %v", o.line, err)
		}
		if to, err := os.Readlink(filepath.Join(dir, "link")); err != nil || to != "real" {
			t.Errorf("%s: the symlink leads to %q, %v", o.line, to, err)
		}
	}

	outer := t.TempDir()
	if err := os.Mkdir(filepath.Join(outer, "d"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(outer, "d", "f"), "new")
	root, code := r.exec(t, "add", "-q", outer)
	if code != 0 {
		t.Fatal(root)
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "private"), 0o700); err != nil {
		t.Fatal(err)
	}
	link(t, "private", filepath.Join(dir, "d"))
	out, code := r.exec(t, "get", strings.TrimSpace(root), "--force", "-o", dir)
	if names := look(t, filepath.Join(dir, "private")); code != exitUsage || len(names) > 0 {
		t.Errorf("through a symlink in the tree: exit code %d, %d files written: %s", code, len(names), out)
	}
}

// TestOutputStdout uses the paths of stdout as targets, for a pipe and for a file.
func TestOutputStdout(t *testing.T) {
	r := newOutputs(t)
	want, code := r.exec(t, "car", "export", "TREE")
	if code != 0 {
		t.Fatal(want)
	}
	for _, name := range []string{"-", "/dev/stdout", "/proc/self/fd/1"} {
		if got, code := r.exec(t, "car", "export", "TREE", "-o", name); code != 0 || got != want {
			t.Errorf("%s, a pipe: exit code %d, %d bytes, want %d", name, code, len(got), len(want))
		}
		f, err := os.Create(filepath.Join(t.TempDir(), "file"))
		if err != nil {
			t.Fatal(err)
		}
		c := r.command("car", "export", "TREE", "-o", name)
		c.Stdout = f
		err = c.Run()
		got := make([]byte, len(want)+1)
		n, _ := f.ReadAt(got, 0)
		if err != nil || string(got[:n]) != want {
			t.Errorf("%s, a file: %d bytes, want %d, %v", name, n, len(want), err)
		}
		f.Close()
	}
}

// TestInstallRace swaps a regular file and a FIFO all the time while files are installed
// under that name: the FIFO is never replaced.
func TestInstallRace(t *testing.T) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	at, err := openOutDir(root)
	if err != nil {
		t.Fatal(err)
	}
	defer at.dir.Close()
	write(t, filepath.Join(dir, "name"), "old")
	mknod(t, filepath.Join(dir, "other"), syscall.S_IFIFO, 0)
	if err := swapNames(at.dir, "name", "other"); isUnsupported(err) {
		t.Skip("this file system cannot swap names")
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				swapNames(at.dir, "name", "other")
			}
		}
	}()
	replaced := 0
	for range 5000 {
		write(t, filepath.Join(dir, "temporary"), "new")
		if at.install("temporary", "name", true) == nil {
			replaced++
		} else if err := root.Remove("temporary"); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	<-stopped
	fifos := 0
	for _, info := range look(t, dir) {
		if info.Mode()&fs.ModeNamedPipe != 0 {
			fifos++
		}
	}
	if fifos != 1 || replaced == 0 {
		t.Errorf("%d FIFOs, want 1; %d files replaced", fifos, replaced)
	}
}
