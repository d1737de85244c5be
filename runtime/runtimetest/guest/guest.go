// Package guest is the guest of the suite for other engines: its first argument says what it
// does. It is built into an image, or run by a plugin of the tests.
package guest

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Env is the environment of a guest.
type Env struct {
	Root           string // in, out and tmp are below it: "/" in a container
	Args           []string
	Env            []string
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// verbs are the guest's actions, by their first argument.
var verbs = map[string]func(ctx context.Context, w Env) error{
	"ok":     func(context.Context, Env) error { return nil },
	"exit":   func(_ context.Context, w Env) error { return codeError(w.number(1)) },
	"copy":   copyTree,
	"stdin":  func(_ context.Context, w Env) error { _, err := io.Copy(w.Stdout, w.Stdin); return err },
	"words":  words,
	"print":  printBoth,
	"lines":  printLines,
	"fill":   fill,
	"files":  manyFiles,
	"sparse": sparse,
	"socket": leaveSocket,
	"spin":   spin,
	"memory": takeMemory,
	"forks":  forks,
	"who":    who,
	"dial":   dial,
	"write":  write,
}

// Act does what w.Args say and returns the exit code. Cancelling ctx ends it if it runs in the
// caller's process.
func Act(ctx context.Context, w Env) int {
	err := fmt.Errorf("no verb in %q", w.Args)
	if len(w.Args) > 0 && verbs[w.Args[0]] != nil {
		err = verbs[w.Args[0]](ctx, w)
	}
	if code, ok := err.(codeError); ok {
		return int(code)
	}
	if err != nil {
		fmt.Fprintln(w.Stderr, err)
		return 1
	}
	return 0
}

type codeError int

func (e codeError) Error() string { return strconv.Itoa(int(e)) }

func (w Env) path(parts ...string) string {
	return filepath.Join(append([]string{w.Root}, parts...)...)
}

func (w Env) number(i int) int {
	n, err := strconv.Atoi(w.Args[i])
	if err != nil {
		panic(err) // a bug in the test
	}
	return n
}

// copyTree copies all inputs to out, symlinks as symlinks.
func copyTree(_ context.Context, w Env) error {
	in := w.path("in")
	return filepath.WalkDir(in, func(name string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(in, name)
		to := w.path("out", rel)
		switch {
		case err != nil || rel == ".":
			return err
		case d.IsDir():
			return os.Mkdir(to, 0o755)
		case d.Type() == fs.ModeSymlink:
			target, err := os.Readlink(name)
			if err != nil {
				return err
			}
			return os.Symlink(target, to)
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		return os.WriteFile(to, b, 0o600) // the executor has to read files with mode 0600, too
	})
}

// words prints its arguments and the environment variables that begin with T_.
func words(_ context.Context, w Env) error {
	for _, a := range w.Args[1:] {
		fmt.Fprintf(w.Stdout, "%q\n", a)
	}
	slices.Sort(w.Env)
	for _, e := range w.Env {
		if strings.HasPrefix(e, "T_") {
			fmt.Fprintf(w.Stdout, "%q\n", e)
		}
	}
	return nil
}

func printBoth(_ context.Context, w Env) error {
	fmt.Fprint(w.Stdout, "hello\n")
	fmt.Fprint(w.Stderr, "oops\x00")
	return codeError(3)
}

// printLines prints endlessly.
func printLines(ctx context.Context, w Env) error {
	for ctx.Err() == nil {
		if _, err := fmt.Fprintln(w.Stderr, "line"); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// fill writes to out or tmp endlessly.
func fill(ctx context.Context, w Env) error {
	f, err := os.Create(w.path(w.Args[1], "large"))
	if err != nil {
		return err
	}
	defer f.Close()
	chunk := bytes.Repeat([]byte("0123456789abcdef"), 1<<12)
	for ctx.Err() == nil {
		if _, err := f.Write(chunk); err != nil {
			return err
		}
		time.Sleep(time.Millisecond)
	}
	return ctx.Err()
}

// manyFiles creates empty files in out endlessly.
func manyFiles(ctx context.Context, w Env) error {
	for i := 0; ctx.Err() == nil; i++ {
		if err := os.WriteFile(w.path("out", strconv.Itoa(i)), nil, 0o644); err != nil {
			return err
		}
		time.Sleep(100 * time.Microsecond)
	}
	return ctx.Err()
}

// sparse leaves a sparse file whose apparent size is its argument.
func sparse(_ context.Context, w Env) error {
	f, err := os.Create(w.path("out", "sparse"))
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Truncate(int64(w.number(1)))
}

func leaveSocket(_ context.Context, w Env) error {
	if err := os.Chdir(w.path("out")); err != nil { // socket paths are limited in length
		return err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: "s", Net: "unix"})
	if err != nil {
		return err
	}
	l.SetUnlinkOnClose(false)
	return l.Close()
}

// spin uses a processor endlessly.
func spin(ctx context.Context, w Env) error {
	fmt.Fprintln(w.Stdout, "spinning")
	for n := uint64(0); ; n++ {
		if n%(1<<20) == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// takeMemory touches as many MiB as its argument says.
func takeMemory(_ context.Context, w Env) error {
	var all [][]byte
	for range w.number(1) {
		b := make([]byte, 1<<20)
		for i := 0; i < len(b); i += 1024 {
			b[i] = 1
		}
		all = append(all, b)
	}
	fmt.Fprintln(w.Stdout, len(all))
	return nil
}

// forks starts as many processes of this program as its argument says.
func forks(_ context.Context, w Env) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	for i := range w.number(1) {
		if _, err := os.StartProcess(self, []string{self, "spin"}, &os.ProcAttr{Files: []*os.File{nil, nil, nil}}); err != nil {
			fmt.Fprintf(w.Stdout, "%d\n", i)
			return fmt.Errorf("process %d: %w", i, err)
		}
	}
	return nil
}

// who prints what the kernel reports about this process.
func who(_ context.Context, w Env) error {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		return err
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		for _, p := range []string{"Uid:", "Gid:", "CapEff:", "CapBnd:", "NoNewPrivs:", "Seccomp:"} {
			if strings.HasPrefix(s.Text(), p) {
				fmt.Fprintln(w.Stdout, strings.Join(strings.Fields(s.Text())[:2], " "))
			}
		}
	}
	return nil
}

// dial prints the network interfaces, and whether an address can be reached.
func dial(_ context.Context, w Env) error {
	interfaces, err := net.Interfaces()
	if err != nil {
		return err
	}
	for _, i := range interfaces {
		fmt.Fprintln(w.Stdout, i.Name)
	}
	c, err := net.DialTimeout("tcp", w.Args[1], time.Second)
	if err != nil {
		return err
	}
	return c.Close()
}

// write tries to write to every path in its arguments, and prints those where it succeeded.
func write(_ context.Context, w Env) error {
	for _, name := range w.Args[1:] {
		if f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY, 0o644); err == nil {
			f.Close()
			fmt.Fprintln(w.Stdout, name)
		}
	}
	return nil
}
