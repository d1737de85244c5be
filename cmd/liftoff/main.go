//go:build !windows

// Command liftoff stores content-addressed data and runs WebAssembly over it.
//
// This package is the command line and nothing else: it reads flags, calls a
// node.Session, prints answers and chooses exit codes. Each command has a file. Shared
// code is in app.go (the list of commands and their help), topics.go (help topics),
// exitcodes.go (exit codes of each command), line.go (order of flags and arguments),
// errors.go (messages and hints), process.go (streams and environment), ref.go
// (references to content) and print.go.
//
// Standard output holds the answer and nothing else, one item per line; everything else
// goes to standard error.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := untilInterrupted()
	code := run(ctx, os.Args, os.Stdin, os.Stdout, os.Stderr, os.Getenv)
	stop()
	os.Exit(code)
}

// untilInterrupted returns a context that the first SIGINT or SIGTERM cancels; the
// second one ends the process at once, by the signal's default action. SIGPIPE is
// ignored, so that a closed stdout is an error from Write: the owner of a repo serves
// attached commands before it ends.
func untilInterrupted() (context.Context, context.CancelFunc) {
	signal.Ignore(syscall.SIGPIPE)
	signals := []os.Signal{syscall.SIGTERM}
	if !signal.Ignored(os.Interrupt) { // as in a background job of a shell
		signals = append(signals, os.Interrupt)
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

// run is the whole program. args[0] is its name; it returns the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, getenv func(string) string) int {
	p := newProcess(stdin, stdout, stderr, getenv)
	stop := context.AfterFunc(ctx, p.endSoon)
	defer stop()
	return p.fail(ctx, p.guard(func() error { return p.command(ctx, args) }))
}

// bugError is a panic of our own code. Its message is one line.
type bugError struct{ value any }

func (e *bugError) Error() string { return fmt.Sprintf("internal: %v", e.value) }
