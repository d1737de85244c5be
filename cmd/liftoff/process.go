//go:build !windows

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/ipfs-liftoff/liftoff/node"
	"github.com/ipfs-liftoff/liftoff/node/api"
	"github.com/ipfs-liftoff/liftoff/runtime/wasm"
)

// process is what a command sees of the operating system.
type process struct {
	stdin  io.Reader
	stdout *answer
	stderr io.Writer
	getenv func(string) string
	rest   []string // the arguments behind "--", which belong to a guest
	dashes bool     // there was a "--"

	interrupted sync.Once    // the user was told
	linger      atomic.Int64 // how long the end in order may take, a time.Duration; 0: grace
}

func newProcess(stdin io.Reader, stdout, stderr io.Writer, getenv func(string) string) *process {
	return &process{stdin: stdin, stdout: &answer{w: stdout}, stderr: stderr, getenv: getenv}
}

// command runs the command that args name.
func (p *process) command(ctx context.Context, args []string) error {
	if len(args) == 2 && args[1] == compileCommand {
		return wasm.CompileChild(ctx, p.stdin, p.stdout)
	}
	app := newApp(p)
	if len(args) == 3 && args[1] == manCommand {
		return p.writeShare(args[2])
	}
	if len(args) > 1 && args[1] == completeCommand {
		return p.complete(ctx, app, args[2:])
	}
	line, err := parseLine(app, args[1:])
	if err != nil {
		return err
	}
	p.rest, p.dashes = line.rest, line.dashes
	return app.RunContext(ctx, append([]string{app.Name}, line.args...))
}

// answer is standard output. It remembers that its reader has gone away.
type answer struct {
	w    io.Writer
	gone atomic.Bool
}

func (a *answer) Write(b []byte) (int, error) {
	n, err := a.w.Write(b)
	if errors.Is(err, syscall.EPIPE) {
		a.gone.Store(true)
	}
	if err != nil {
		return n, fmt.Errorf("write to stdout: %w", err)
	}
	return n, nil
}

// repo returns the folder of the repo.
func (p *process) repo() (string, error) {
	dir := p.getenv("LIFTOFF_PATH")
	if dir == "" {
		home := p.getenv("HOME")
		if home == "" {
			return "", hinted(errors.New("neither LIFTOFF_PATH nor HOME is set"), "export LIFTOFF_PATH=/path/to/a/folder")
		}
		dir = filepath.Join(home, ".liftoff")
	}
	return filepath.Abs(dir)
}

// with makes the action of a command that needs the repo: it joins, acts, says what
// went wrong and leaves.
//
// Leaving may mean waiting: the owner of a repo serves the commands attached to it
// until they are done. One of them may be reading this very process's output, as in
// "liftoff cat a | liftoff add -", so that is closed first.
func (p *process) with(act func(c *cli.Context, s *node.Session) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		s, err := p.join(c)
		if err != nil {
			return err
		}
		code := p.fail(c.Context, p.guard(func() error {
			if err := attachFlags(c, s); err != nil {
				return err
			}
			return act(c, s)
		}))
		p.hangUp()
		stop := context.AfterFunc(c.Context, func() { s.Abort() })
		defer stop()
		if err := s.Close(); err != nil && code == 0 {
			return err
		}
		return exited(code)
	}
}

// join begins the session of a command: with the node that --api names, or else with the
// repo here.
func (p *process) join(c *cli.Context) (*node.Session, error) {
	dir, err := p.repo()
	if err != nil {
		return nil, err
	}
	all, err := p.settle(c, dir, "")
	if err != nil {
		return nil, err
	}
	if addr := all["api"].text(); addr != "" {
		token, err := readToken(all["token"].text())
		if err != nil {
			return nil, err
		}
		return node.Remote(c.Context, addr, token)
	}
	compiler, err := compiler()
	if err != nil {
		return nil, err
	}
	quota, err := all.quota()
	if err != nil {
		return nil, err
	}
	return node.Join(c.Context, node.Config{Dir: dir, Version: versionName(), Compiler: compiler, Quota: quota, Plugins: p.pluginDirs()})
}

// readToken returns a token, which may be said as @FILE.
func readToken(text string) (string, error) {
	if text == "" {
		return "", hinted(usagef("--api needs a token"), "--token @FILE, with the file api.token of the repo there; or set LIFTOFF_TOKEN")
	}
	name, isFile := strings.CutPrefix(text, "@")
	if !isFile {
		return text, nil
	}
	return api.ReadToken(name)
}

// guard turns a panic of act into an error, so that the repo is left in order.
func (p *process) guard(act func() error) (err error) {
	defer func() {
		if bug := recover(); bug != nil {
			err = &bugError{bug}
		}
	}()
	return act()
}

// grace is how long a command has to end in order after it was interrupted.
const grace = time.Second

// endSoon ends the process after the grace, if it is still there: a write to a pipe that
// nobody reads cannot be stopped. The repo survives it.
func (p *process) endSoon() {
	time.Sleep(cmp.Or(time.Duration(p.linger.Load()), grace))
	p.sayInterrupted()
	os.Exit(exitInterrupted)
}

func (p *process) sayInterrupted() {
	p.interrupted.Do(func() { fmt.Fprintln(p.stderr, "liftoff: error: interrupted") })
}

// hangUp closes standard output, and standard error where that is the same pipe:
// whoever reads it sees the end.
func (p *process) hangUp() {
	out, ok := p.stdout.w.(*os.File)
	if !ok {
		return
	}
	if errs, ok := p.stderr.(*os.File); ok && sameFile(out, errs) {
		errs.Close()
	}
	out.Close()
}

func sameFile(a, b *os.File) bool {
	x, err := a.Stat()
	y, yerr := b.Stat()
	return err == nil && yerr == nil && x.Mode()&os.ModeNamedPipe != 0 && os.SameFile(x, y)
}

// input returns standard input as a reader whose Read ends when ctx does, which a
// read from a terminal or a pipe alone would not.
func (p *process) input(ctx context.Context) io.ReadCloser {
	r, w := io.Pipe()
	stop := context.AfterFunc(ctx, func() { r.CloseWithError(context.Cause(ctx)) })
	go func() {
		defer stop()
		_, err := io.CopyBuffer(w, struct{ io.Reader }{p.stdin}, make([]byte, 1<<20))
		w.CloseWithError(err)
	}()
	return r
}

// open opens the file name, or standard input for "-".
func (p *process) open(ctx context.Context, name string) (io.ReadCloser, error) {
	if name == "-" {
		return p.input(ctx), nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, pathError(name, err)
	}
	return f, nil
}

// isTerminal reports whether w is one: progress, colour and cleaning are for those alone.
func isTerminal(w io.Writer) bool {
	if a, ok := w.(*answer); ok {
		w = a.w
	}
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
