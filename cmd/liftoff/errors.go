//go:build !windows

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"github.com/ipfs-liftoff/liftoff/host/store"
	"github.com/ipfs-liftoff/liftoff/internal/dag"
	"github.com/ipfs-liftoff/liftoff/internal/diskfs"
	"github.com/ipfs-liftoff/liftoff/node/api"
	"github.com/ipfs-liftoff/liftoff/runtime"
)

// The exit codes of every command. `liftoff run` passes a guest's own code through.
const (
	exitTrap        = 120
	exitFuel        = 121
	exitLimit       = 122
	exitDisagree    = 123
	exitTimeout     = 124
	exitFault       = 125
	exitRefused     = 126
	exitNotFound    = 127
	exitUsage       = 129
	exitInterrupted = 130
	exitClosed      = 141 // as a shell reports a death by SIGPIPE
)

const exitCodes = `EXIT CODES:
   0    done
   120  the guest trapped                          (run)
   121  the guest ran out of fuel                  (run)
   122  the guest reached another limit            (run)
   123  peers disagree: runs came to different outcomes, or what was printed is
        not what the outcome says                  (run, job logs --follow)
   124  the time of --timeout was over             (run)
   125  this machine, its repo, the network or a missing or damaged block is to blame
   126  the module was refused                     (run)
   127  not found: a path, or content that is not in the repo
   129  the command line makes no sense
   130  interrupted
   141  the reader of stdout, or of a FIFO that is written to, has ended
   A guest's own exit code, 1 to 255, is the exit code of run; run --json tells a
   guest's 120 from a trap.
`

// usageError is a command line that makes no sense.
type usageError struct{ message string }

func (e *usageError) Error() string { return e.message }

func usagef(format string, a ...any) error { return &usageError{fmt.Sprintf(format, a...)} }

// codeError gives an error an exit code of its own.
type codeError struct {
	error
	code int
}

func (e *codeError) Unwrap() error { return e.error }

func notFound(err error) error { return &codeError{err, exitNotFound} }

// exited ends the program with a code and no further word: all has been said.
type exited int

func (e exited) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// hintError carries the command to type next.
type hintError struct {
	error
	hint string
}

func (e *hintError) Unwrap() error { return e.error }

func hinted(err error, format string, a ...any) error {
	return &hintError{err, fmt.Sprintf(format, a...)}
}

// fail says what went wrong and returns the exit code.
func (p *process) fail(ctx context.Context, err error) int {
	var silent exited
	switch {
	case err == nil:
		return 0
	case errors.As(err, &silent):
		return int(silent)
	case p.stdout.gone.Load():
		return exitClosed
	case ctx.Err() != nil:
		p.sayInterrupted()
		return exitInterrupted
	}
	fmt.Fprintf(p.stderr, "liftoff: error: %s\n", clean(err.Error()))
	if hint := hintOf(err); hint != "" {
		fmt.Fprintf(p.stderr, "liftoff: hint: %s\n", clean(hint))
	}
	return codeOf(err)
}

// codeOf chooses the exit code of an error.
func codeOf(err error) int {
	var (
		coded   *codeError
		usage   *usageError
		remote  *api.Error
		refused *runtime.RefusedError
		notFile *dag.NotFileError
		notDir  *dag.NotDirError
	)
	switch {
	case errors.As(err, &coded):
		return coded.code
	case errors.As(err, &usage), errors.As(err, &notFile), errors.As(err, &notDir):
		return exitUsage
	case errors.As(err, &refused):
		return exitRefused
	case errors.Is(err, fs.ErrNotExist):
		return exitNotFound
	case errors.Is(err, runtime.ErrTimeout):
		return exitTimeout
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.As(err, &remote):
		return codeOfAPI(remote.Code)
	}
	return exitFault
}

func codeOfAPI(code api.Code) int {
	switch code {
	case api.CodeMissing:
		return exitNotFound
	case api.CodeRefused:
		return exitRefused
	case api.CodeTimeout:
		return exitTimeout
	case api.CodeInterrupted:
		return exitInterrupted
	case api.CodeUsage:
		return exitUsage
	case api.CodeDisagree, api.CodeMismatch:
		return exitDisagree
	}
	return exitFault
}

// hintOf returns the next command to type after an error, or "".
func hintOf(err error) string {
	var (
		hint    *hintError
		remote  *api.Error
		missing *dag.NotFoundError
		damaged *dag.DamagedError
		outside *store.AttachedError
		bug     *bugError
		notFile *dag.NotFileError
		car     *dag.CARError
		locked  *store.ReadOnlyError
	)
	switch {
	case errors.As(err, &hint):
		return hint.hint
	case errors.As(err, &car): // its damage is not the repo's
		return "get the CAR again: nothing of it is pinned"
	case errors.As(err, &locked):
		return "make it writable, or choose another repo: export LIFTOFF_PATH=/path/to/a/folder"
	case errors.As(err, &remote) && remote.Hint != "":
		return remote.Hint
	case errors.As(err, &notFile):
		return fmt.Sprintf("liftoff ls %s", notFile.CID)
	case errors.As(err, &outside):
		return outside.Hint()
	case errors.As(err, &damaged):
		return "liftoff store verify"
	case errors.As(err, &missing):
		return "liftoff car import FILE.car, one that holds it"
	case errors.Is(err, syscall.EADDRINUSE):
		return "another process listens there: end it, or choose another port"
	case diskfs.Full(err):
		return "make room on the disk; on that of the repo: liftoff pin rm NAME for what is not needed, then liftoff gc"
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return "check who owns the path, or choose another repo: export LIFTOFF_PATH=/path/to/a/folder"
	case errors.As(err, &bug):
		return "this is a bug in liftoff: please report it with the command line and the output of: liftoff version"
	}
	return ""
}

// pathError says what is wrong with a local path that the user named.
func pathError(path string, err error) error {
	var inner *fs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &inner):
		err = inner.Err
	case errors.As(err, &link):
		err = link.Err
	}
	return fmt.Errorf("%s: %w", quote(path), err)
}

// isNotDir reports that a part of a path is a file, so that nothing is below it.
func isNotDir(err error) bool {
	return errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ENAMETOOLONG)
}
