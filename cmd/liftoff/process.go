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

	"github.com/ipfs-liftoff/liftoff/node"
	"github.com/ipfs-liftoff/liftoff/node/api"
	"github.com/ipfs-liftoff/liftoff/runtime/wasm"
)

// process holds the streams and the environment of a command.
type process struct {
	stdin   io.Reader
	stdout  *answer
	stderr  io.Writer
	getenv  func(string) string
	environ func() []string // NAME=VALUE of all variables
	rest    []string        // the arguments after "--", for a guest
	dashes  bool            // there was a "--"

	interrupted sync.Once    // the interruption was reported
	linger      atomic.Int64 // time.Duration that an orderly shutdown may take; 0: grace
}

func newProcess(stdin io.Reader, stdout, stderr io.Writer, getenv func(string) string) *process {
	return &process{stdin: stdin, stdout: &answer{w: stdout}, stderr: stderr, getenv: getenv, environ: os.Environ}
}

// command runs the command in args.
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
	if found, err := p.printTopic(args[1:]); found {
		return err
	}
	line, err := parseLine(app, args[1:])
	if err != nil {
		return err
	}
	p.rest, p.dashes = line.rest, line.dashes
	return app.RunContext(ctx, append([]string{app.Name}, line.args...))
}

// answer is standard output. It records whether its reader has closed the pipe.
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

// Unwrap returns the stream itself.
func (a *answer) Unwrap() io.Writer { return a.w }

// repo returns the path of the repo.
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

// with returns the action of a command that needs the repo: it begins a session, acts,
// reports the error and closes the session.
//
// Closing may wait: the owner of a repo serves attached commands until they are done.
// One of them may read the output of this process, as in "liftoff cat a | liftoff add -",
// so that stdout is closed first.
func (p *process) with(act func(c *cli.Context, s *node.Session) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		s, err := p.join(c)
		if err != nil {
			return repoError(err)
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

// repoError is an error about the repo or the node of --api, not about something that the command names. Its exit code
// is never that of "not found".
func repoError(err error) error {
	if codeOf(err) == exitNotFound {
		return &codeError{err, exitFault}
	}
	return err
}

// join begins the session of a command, on the node that --api names or on the local repo.
func (p *process) join(c *cli.Context) (*node.Session, error) {
	return p.joinAs(c, node.Config{})
}

// joinAs is join with the fields of cfg that are set.
func (p *process) joinAs(c *cli.Context, cfg node.Config) (*node.Session, error) {
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
	cfg.Dir, cfg.Version, cfg.Compiler, cfg.Quota, cfg.Plugins = dir, versionName(), compiler, quota, p.pluginDirs()
	return node.Join(c.Context, cfg)
}

// readToken returns a token, which may be written as @FILE.
func readToken(text string) (string, error) {
	if text == "" {
		return "", hinted(usagef("--api needs a token"), "add --token @FILE with the file api.token of that node's repo, or set LIFTOFF_TOKEN")
	}
	name, isFile := strings.CutPrefix(text, "@")
	if !isFile {
		return text, nil
	}
	return api.ReadToken(name)
}

// guard turns a panic of act into an error, so that the session is closed.
func (p *process) guard(act func() error) (err error) {
	defer func() {
		if bug := recover(); bug != nil {
			err = &bugError{bug}
		}
	}()
	return act()
}

// grace is the time that an interrupted command gets for an orderly shutdown.
const grace = time.Second

// endSoon ends the process after the grace: a write to a pipe without a reader cannot be
// stopped. The repo survives it.
func (p *process) endSoon() {
	time.Sleep(cmp.Or(time.Duration(p.linger.Load()), grace))
	p.sayInterrupted()
	os.Exit(exitInterrupted)
}

func (p *process) sayInterrupted() {
	p.interrupted.Do(func() { fmt.Fprintln(p.stderr, "liftoff: error: interrupted") })
}

// hangUp closes standard output, and standard error if it is the same pipe, so that its
// reader sees the end.
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

// input returns standard input as a reader whose Read ends when ctx does, even on a
// terminal or a pipe.
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
